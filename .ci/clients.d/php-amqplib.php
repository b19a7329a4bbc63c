#!/usr/bin/env php
<?php
// php-amqplib over a stream. What it shows: see README.md.
declare(strict_types=1);

require 'PhpAmqpLib/autoload.php';

use PhpAmqpLib\Channel\AMQPChannel;
use PhpAmqpLib\Connection\AMQPConnectionConfig;
use PhpAmqpLib\Connection\AMQPStreamConnection;
use PhpAmqpLib\Exception\AMQPBasicCancelException;
use PhpAmqpLib\Exception\AMQPProtocolChannelException;
use PhpAmqpLib\Exception\AMQPTimeoutException;
use PhpAmqpLib\Message\AMQPMessage;
use PhpAmqpLib\Package;
use PhpAmqpLib\Wire\AMQPTable;

const HEARTBEAT = 2; // seconds
const TIMEOUT = 10; // seconds
const PREFETCH = 2;
const HEADERS = [
    'text' => 'grüße', 'int' => -7, 'big' => 1 << 40, 'yes' => true, 'none' => null,
    'list' => [1, 'two', false], 'table' => ['deep' => ['er' => 1]],
];
const PROPERTIES = [
    'content_type' => 'text/plain', 'content_encoding' => 'utf-8', 'delivery_mode' => 2, 'priority' => 3,
    'correlation_id' => 'c', 'reply_to' => 'r', 'message_id' => 'm', 'timestamp' => 1234567890, 'type' => 't',
    'app_id' => 'a',
];

function fail(string $message): never
{
    fwrite(STDERR, $message . "\n");
    exit(1);
}

function check(string $what, mixed $got, mixed $want): void
{
    if ($got !== $want) {
        fail(sprintf('%s: got %.300s, want %.300s', $what, var_export($got, true), var_export($want, true)));
    }
}

/** Handles what comes within so many seconds, and the heartbeats of both sides. */
function idle(AMQPChannel $channel, float $seconds): void
{
    for ($end = microtime(true) + $seconds; microtime(true) < $end;) {
        try {
            $channel->wait(null, false, 0.2);
        } catch (AMQPTimeoutException) {
        }
        $channel->getConnection()->checkHeartBeat();
    }
}

/** Wants a request to close its channel, and nothing else, with a 404. */
function absent(AMQPChannel $channel, string $text, callable $request): void
{
    try {
        $request($channel);
    } catch (AMQPProtocolChannelException $error) {
        check('error', [$error->amqp_reply_code, str_starts_with($error->amqp_reply_text, $text)], [404, true]);
        return;
    }
    fail("there is $text");
}

echo 'php-amqplib ', Package::VERSION, "\n";
$url = parse_url(getenv('WARREN_URL'));
$user = urldecode($url['user'] ?? 'guest');
$config = new AMQPConnectionConfig();
$config->setConnectionName('clients/php-amqplib');
$connection = new AMQPStreamConnection(
    $url['host'],
    $url['port'] ?? 5672,
    $user,
    urldecode($url['pass'] ?? 'guest'),
    urldecode(substr($url['path'] ?? '/%2f', 1)),
    heartbeat: HEARTBEAT,
    read_write_timeout: TIMEOUT,
    channel_rpc_timeout: TIMEOUT,
    config: $config,
);
$capabilities = $connection->getServerProperties()['capabilities'][1];
foreach (['publisher_confirms', 'basic.nack', 'consumer_cancel_notify', 'exchange_exchange_bindings'] as $name) {
    check($name, (bool) $capabilities[$name][1], true);
}

$channel = $connection->channel();
$exchange = 'clients.php-amqplib.' . getmypid();
$channel->exchange_declare($exchange, 'topic', auto_delete: true);
[$queue] = $channel->queue_declare('', exclusive: true, auto_delete: false);
check('generated queue name', str_starts_with($queue, 'amq.gen-'), true);
$channel->queue_bind($queue, $exchange, 'key.*');

// Confirms, and a return before the confirm of what no queue took.
$bodies = ['', 'hello', implode(array_map('chr', range(0, 255))), 'grüße', random_bytes(300_000)];
$acked = $events = [];
$channel->confirm_select();
$channel->set_ack_handler(function (AMQPMessage $message) use (&$acked, &$events) {
    $acked[] = $message->getBody();
    $events[] = 'ack';
});
$channel->set_nack_handler(fn () => fail('a nack'));
$channel->set_return_listener(function (...$arguments) use (&$events) {
    $events[] = [...array_slice($arguments, 0, 4), $arguments[4]->getBody()];
});
foreach ($bodies as $body) {
    $properties = PROPERTIES + ['user_id' => $user, 'application_headers' => new AMQPTable(HEADERS)];
    $channel->basic_publish(new AMQPMessage($body, $properties), $exchange, 'key.1', mandatory: true);
}
$channel->wait_for_pending_acks_returns(TIMEOUT);
sort($acked);
$sorted = $bodies;
sort($sorted);
check('acked messages are those published', $acked === $sorted, true);
$events = [];
$channel->basic_publish(new AMQPMessage('lost'), $exchange, 'nowhere', mandatory: true);
$channel->wait_for_pending_acks_returns(TIMEOUT);
check('return, then confirm', $events, [[312, 'NO_ROUTE', $exchange, 'nowhere', 'lost'], 'ack']);

// Manual acks: never more than the prefetch count is on its way.
$got = [];
$channel->basic_qos(0, PREFETCH, false);
$tag = $channel->basic_consume($queue, callback: function (AMQPMessage $message) use (&$got) {
    $got[] = $message;
});
for ($want = 0; $want < count($bodies);) {
    $want = min($want + PREFETCH, count($bodies));
    while (count($got) < $want) {
        $channel->wait(null, false, TIMEOUT);
    }
    [, $ready] = $channel->queue_declare($queue, passive: true);
    check('deliveries, and messages left in the queue', [count($got), $ready], [$want, count($bodies) - $want]);
    end($got)->ack(multiple: true);
}
foreach ($got as $index => $message) {
    check(
        'delivery',
        [$message->getConsumerTag(), $message->getDeliveryTag(), $message->isRedelivered(), $message->getExchange(),
            $message->getRoutingKey()],
        [$tag, $index + 1, false, $exchange, 'key.1']
    );
    $properties = $message->get_properties();
    check('headers', $properties['application_headers']->getNativeData(), HEADERS);
    foreach (PROPERTIES + ['user_id' => $user] as $name => $value) {
        check($name, $properties[$name], $value);
    }
    check("body $index as it was published", $message->getBody() === $bodies[$index], true);
}

$channel->basic_cancel($tag);
$channel->basic_publish(new AMQPMessage('again'), $exchange, 'key.2');
$channel->wait_for_pending_acks(TIMEOUT);
check('deliveries after cancel', count($got), count($bodies));

// One at a time, back into the queue, and out of it.
foreach ([false, true] as $redelivered) {
    $message = $channel->basic_get($queue);
    check('get', [$message->isRedelivered(), $message->getMessageCount(), $message->getBody()], [$redelivered, 0, 'again']);
    $redelivered ? $message->reject(false) : $message->nack(true);
}
check('get from an empty queue', $channel->basic_get($queue), null);

$transaction = $connection->channel();
$transaction->tx_select();
foreach (['undone' => 'tx_rollback', 'done' => 'tx_commit'] as $body => $end) {
    $transaction->basic_publish(new AMQPMessage($body), $exchange, 'key.3');
    $transaction->$end();
}
$message = $transaction->basic_get($queue);
check('get after transactions', [$message->getMessageCount(), $message->getBody()], [0, 'done']);
$message->ack();
$transaction->tx_commit();
$transaction->close();

absent(
    $connection->channel(),
    "NOT_FOUND - no queue '$exchange.absent' in vhost '",
    fn ($broken) => $broken->queue_declare("$exchange.absent", passive: true)
);

// Heartbeats alone keep an idle connection.
idle($channel, 3.25 * HEARTBEAT);

// The broker tells a consumer that its queue is gone.
$channel->basic_consume($queue, 'last', callback: fn () => fail('a delivery from an empty queue'));
try {
    check('messages in the deleted queue', $channel->queue_delete($queue), 0);
    $channel->wait(null, false, TIMEOUT);
    fail('no cancel by the broker');
} catch (AMQPBasicCancelException $cancel) {
    check('cancelled consumer', $cancel->consumerTag, 'last');
}

// The exchange went with its last binding.
absent(
    $connection->channel(),
    "NOT_FOUND - no exchange '$exchange' in vhost '",
    fn ($broken) => $broken->exchange_declare($exchange, 'topic', passive: true)
);

$last = $connection->channel();
$last->close();
$connection->close();
