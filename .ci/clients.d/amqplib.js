#!/usr/bin/env node
// amqplib with promises. What it shows: see README.md.
'use strict';

const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const path = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');
const amqp = require('amqplib');

const HEARTBEAT = 2; // seconds
const PREFETCH = 2;
const HEADERS = {
  text: 'grüße', int: -7, big: 2 ** 40, half: 0.5, yes: true, none: null,
  list: [1, 'two', false], table: { deep: { er: 1 } }, bytes: Buffer.from([0, 255]),
};
const PROPERTIES = {
  contentType: 'text/plain', contentEncoding: 'utf-8', headers: HEADERS, deliveryMode: 2, priority: 3,
  correlationId: 'c', replyTo: 'r', messageId: 'm', timestamp: 1234567890, type: 't', appId: 'a',
};
const BODIES = [
  Buffer.alloc(0), Buffer.from('hello'), Buffer.from(Array.from({ length: 256 }, (_, i) => i)),
  Buffer.from('grüße'), crypto.randomBytes(300_000),
];

async function waitFor(what, done) {
  for (const deadline = Date.now() + 10_000; !done(); await sleep(5)) {
    if (Date.now() > deadline) throw new Error(`${what}: nothing after 10 s`);
  }
}

// The properties that a message has; amqplib sets all others to undefined.
function present(properties) {
  return Object.fromEntries(Object.entries(properties).filter(([, value]) => value !== undefined));
}

// A channel that expects to be closed by the broker with `code`.
async function refused(connection, code, text, request) {
  const channel = await connection.createChannel();
  const failed = new Promise((resolve) => channel.once('error', resolve));
  await assert.rejects(request(channel));
  const error = await failed;
  assert.equal(error.code, code);
  assert.ok(error.message.includes(text), error.message);
}

async function main() {
  const { version } = require(path.join(path.dirname(require.resolve('amqplib')), 'package.json'));
  console.log('amqplib', version);
  const connection = await amqp.connect(`${process.env.WARREN_URL}?heartbeat=${HEARTBEAT}`, {
    clientProperties: { connection_name: 'clients/amqplib' },
  });
  let broken = null;
  connection.on('error', (error) => { broken = error; });
  const { capabilities } = connection.connection.serverProperties;
  for (const name of ['publisher_confirms', 'basic.nack', 'consumer_cancel_notify', 'exchange_exchange_bindings']) {
    assert.equal(capabilities[name], true, name);
  }

  const channel = await connection.createConfirmChannel();
  const exchange = `clients.amqplib.${process.pid}`;
  await channel.assertExchange(exchange, 'topic', { durable: false, autoDelete: true });
  const { queue } = await channel.assertQueue('', { exclusive: true });
  assert.match(queue, /^amq\.gen-/);
  await channel.bindQueue(queue, exchange, 'key.*');

  // Confirms, and a return before the confirm of what no queue took.
  const events = [];
  channel.on('return', (message) => events.push(message));
  const userId = new URL(process.env.WARREN_URL).username;
  for (const body of BODIES) channel.publish(exchange, 'key.1', body, { ...PROPERTIES, userId, mandatory: true });
  channel.publish(exchange, 'nowhere', Buffer.from('lost'), { mandatory: true }, (error) => events.push(error));
  await channel.waitForConfirms();
  assert.equal(events.length, 2, 'one return and its confirm');
  const [returned, confirmed] = events;
  assert.equal(confirmed, null);
  assert.deepEqual({ ...returned.fields }, { replyCode: 312, replyText: 'NO_ROUTE', exchange, routingKey: 'nowhere' });
  assert.equal(returned.content.toString(), 'lost');

  // Manual acks: never more than the prefetch count is on its way.
  const got = [];
  await channel.prefetch(PREFETCH);
  const { consumerTag } = await channel.consume(queue, (message) => got.push(message));
  for (let want = 0; want < BODIES.length;) {
    want = Math.min(want + PREFETCH, BODIES.length);
    await waitFor(`delivery ${want}`, () => got.length >= want);
    const { messageCount } = await channel.checkQueue(queue);
    assert.deepEqual([got.length, messageCount], [want, BODIES.length - want], 'deliveries, and messages left');
    channel.ack(got.at(-1), true);
  }
  got.forEach(({ fields, properties, content }, index) => {
    assert.deepEqual({ ...fields }, { consumerTag, deliveryTag: index + 1, redelivered: false, exchange, routingKey: 'key.1' });
    assert.deepEqual(present(properties), { ...PROPERTIES, userId });
    assert.ok(content.equals(BODIES[index]), `body ${index}`);
  });

  await channel.cancel(consumerTag);
  channel.publish(exchange, 'key.2', Buffer.from('again'));
  await channel.waitForConfirms();
  assert.equal(got.length, BODIES.length, 'deliveries after cancel');

  // One at a time, back into the queue, and out of it.
  for (const redelivered of [false, true]) {
    const message = await channel.get(queue);
    assert.deepEqual([message.fields.redelivered, message.fields.messageCount, message.content.toString()], [redelivered, 0, 'again']);
    if (redelivered) channel.reject(message, false);
    else channel.nack(message, false, true);
  }
  assert.equal(await channel.get(queue), false, 'get from an empty queue');

  // An error closes its channel and nothing else. (amqplib has no transactions.)
  await refused(connection, 404, `NOT_FOUND - no queue '${exchange}.absent' in vhost`, (c) => c.checkQueue(`${exchange}.absent`));

  // Heartbeats alone keep an idle connection.
  await sleep(3250 * HEARTBEAT);
  assert.equal(broken, null);

  // The broker tells a consumer that its queue is gone.
  const cancels = [];
  await channel.consume(queue, (message) => cancels.push(message));
  assert.deepEqual({ ...(await channel.deleteQueue(queue)) }, { messageCount: 0 });
  await waitFor('cancel by the broker', () => cancels.length > 0);
  assert.deepEqual(cancels, [null]);

  // The exchange went with its last binding.
  await refused(connection, 404, 'NOT_FOUND - no exchange', (c) => c.checkExchange(exchange));

  await channel.close();
  await connection.close();
  assert.equal(broken, null);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
