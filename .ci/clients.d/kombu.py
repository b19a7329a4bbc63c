#!/usr/bin/python3 -P
"""kombu, over py-amqp as in Celery. What it shows: see README.md."""

import os
import socket
import sys
import time

import amqp
import kombu

HEARTBEAT = 2  # seconds
PREFETCH = 2
HEADERS = {"text": "grüße", "int": -7, "big": 1 << 40, "half": 0.5, "yes": True, "none": None,
           "list": [1, "two", False], "table": {"deep": {"er": 1}}}
PROPERTIES = {"delivery_mode": 2, "priority": 3, "correlation_id": "c", "reply_to": "r", "message_id": "m",
              "type": "t", "app_id": "a"}
BODIES = [b"", b"hello", bytes(range(256)), "grüße".encode(), os.urandom(300_000)]


def check(what, got, want):
    if got != want:
        sys.exit(f"{what}: got {str(got)[:300]!r}, want {str(want)[:300]!r}")


def drain(connection, seconds):
    """Handles what comes within so many seconds, and the heartbeats of both sides."""
    try:
        connection.drain_events(timeout=seconds)
    except socket.timeout:
        pass
    connection.heartbeat_check(rate=5)


def wait_for(what, connection, done):
    deadline = time.monotonic() + 10
    while not done():
        if time.monotonic() > deadline:
            sys.exit(f"{what}: nothing after 10 s")
        drain(connection, 0.1)


def connect(**options):
    options["client_properties"] = {"connection_name": "clients/kombu"}
    return kombu.Connection(os.environ["WARREN_URL"], heartbeat=HEARTBEAT, transport_options=options)


def publish_in_transactions(exchange):
    """On a connection of its own: py-amqp turns on confirms for a whole connection."""
    connection = connect()
    channel = connection.channel()
    channel.tx_select()
    producer = kombu.Producer(channel, exchange)
    for body, end in ((b"undone", channel.tx_rollback), (b"done", channel.tx_commit)):
        producer.publish(body, "key.3")
        end()
    channel.close()
    connection.release()


def delay_for(connection, queue_type, seconds):
    """Celery's native delayed delivery: levels of queues in which messages expire. kombu has it from
    5.5 on; here are the same declarations for older ones, with a prefix, and as few levels as will do."""
    channel = connection.channel()
    levels = max(seconds).bit_length()
    prefix = f"clients.kombu.{os.getpid()}.{queue_type}"
    delivery = kombu.Exchange(prefix + ".delivery", "topic")(channel)
    delivery.declare()
    exchanges, queues = [delivery], []
    for level in range(levels):  # the lowest waits for a second
        exchange = kombu.Exchange(f"{prefix}.{level}", "topic")(channel)
        exchange.declare()
        arguments = {"x-queue-type": queue_type, "x-overflow": "reject-publish",
                     "x-message-ttl": 1000 << level, "x-dead-letter-exchange": exchanges[-1].name}
        if queue_type == "quorum":
            arguments["x-dead-letter-strategy"] = "at-least-once"
        queue = kombu.Queue(exchange.name, queue_arguments=arguments)(channel)
        queue.declare()
        queue.bind_to(exchange.name, "*." * (levels - 1 - level) + "1.#")
        exchanges[-1].bind_to(exchange.name, "*." * (levels - 1 - level) + "0.#")
        exchanges.append(exchange)
        queues.append(queue)
    target = kombu.Exchange(prefix + ".tasks", "topic")(channel)
    tasks = kombu.Queue(prefix + ".tasks", target, "#.tasks", queue_arguments={"x-queue-type": queue_type})(channel)
    tasks.declare()
    target.bind_to(delivery.name, "#.tasks")

    arrived = []
    consumer = kombu.Consumer(channel, [tasks], on_message=lambda m: arrived.append((m, time.monotonic() - start)))
    consumer.consume()
    start = time.monotonic()
    for delay in seconds:
        key = ".".join(f"{delay:0{levels}b}") + ".tasks"
        kombu.Producer(channel, exchanges[-1]).publish(str(delay), key, delivery_mode=2)
    deadline = start + max(seconds) + 5
    while len(arrived) < len(seconds) and time.monotonic() < deadline:
        drain(connection, 0.1)
    check("delayed messages", [int(m.body) for m, _ in arrived], sorted(seconds))
    for message, after in arrived:
        message.ack()
        late = after - int(message.body)
        check(f"delay of {message.body} s was {after:.2f} s, late", -0.01 < late < 1, True)
    consumer.cancel()
    for thing in [tasks, *queues, target, *exchanges]:
        thing.delete()
    channel.close()


def main():
    print("kombu", kombu.__version__, "with py-amqp", amqp.__version__)
    connection = connect(confirm_publish=True)
    connection.connect()
    capabilities = connection.connection.server_properties["capabilities"]
    for name in ("publisher_confirms", "basic.nack", "consumer_cancel_notify", "exchange_exchange_bindings"):
        check(name, capabilities[name], True)

    channel = connection.channel()
    name = f"clients.kombu.{os.getpid()}"
    exchange = kombu.Exchange(name, "topic", durable=False, auto_delete=True)
    queue = kombu.Queue(name, exchange, "key.*", durable=False)(channel)
    queue.declare()  # declares the exchange, declares the queue and binds it

    # Confirms: publish returns after the ack; a return comes before it.
    returned = []
    producer = kombu.Producer(channel, exchange, on_return=lambda *arguments: returned.append(arguments))
    for body in BODIES:
        producer.publish(body, "key.1", mandatory=True, content_type="text/plain", content_encoding="binary",
                         headers=HEADERS, timestamp=1234567890, user_id=connection.userid, **PROPERTIES)
    check("returns of routed messages", returned, [])
    producer.publish(b"lost", "nowhere", mandatory=True)
    check("number of returns", len(returned), 1)
    error, to, key, message = returned[0]
    check("returned", (error.reply_code, error.reply_text, to, key, message.body),
          (312, "NO_ROUTE", name, "nowhere", b"lost"))

    # Manual acks: never more than the prefetch count is on its way.
    got = []
    consumer = kombu.Consumer(channel, [queue], on_message=got.append, prefetch_count=PREFETCH)
    consumer.consume()
    want = 0
    while want < len(BODIES):
        want = min(want + PREFETCH, len(BODIES))
        wait_for(f"delivery {want}", connection, lambda: len(got) >= want)
        ready = channel.queue_declare(name, passive=True).message_count
        check("deliveries, and messages left in the queue", (len(got), ready), (want, len(BODIES) - want))
        got[-1].ack(multiple=True)
    for number, message in enumerate(got):
        info = message.delivery_info
        check("delivery", (message.delivery_tag, info["redelivered"], info["exchange"], info["routing_key"]),
              (number + 1, False, name, "key.1"))
        check("headers", message.headers, HEADERS)
        check("properties", {key: message.properties[key] for key in PROPERTIES}, PROPERTIES)
        check("body", message.body or b"", BODIES[number])  # py-amqp makes "" of no bytes

    consumer.cancel()
    producer.publish(b"again", "key.2")
    drain(connection, 0.1)
    check("deliveries after cancel", len(got), len(BODIES))

    # One at a time, back into the queue, and out of it.
    for redelivered in (False, True):
        message = queue.get()
        check("get", (message.delivery_info["redelivered"], message.delivery_info["message_count"], message.body),
              (redelivered, 0, b"again"))
        if not redelivered:
            message.requeue()
    message.reject()
    check("get from an empty queue", queue.get(), None)

    publish_in_transactions(exchange)
    message = queue.get()
    check("get after transactions", (message.delivery_info["message_count"], message.body), (0, b"done"))
    message.ack()

    # An error closes its channel and nothing else.
    broken = connection.channel()
    try:
        broken.queue_declare(name + ".absent", passive=True)
        sys.exit("an absent queue was found")
    except amqp.exceptions.NotFound as error:
        check("error", error.reply_text.startswith(f"NOT_FOUND - no queue '{name}.absent' in vhost '"), True)

    # Heartbeats alone keep an idle connection.
    idle = time.monotonic() + 3.25 * HEARTBEAT
    while time.monotonic() < idle:
        drain(connection, 0.2)

    # The broker tells a consumer that its queue is gone.
    cancelled = []
    channel.basic_consume(name, "last", on_cancel=cancelled.append)
    check("messages in the deleted queue", queue.delete(), 0)
    wait_for("cancel by the broker", connection, lambda: cancelled)
    check("cancelled consumer", cancelled, ["last"])

    delay_for(connection, "classic", [3, 1, 2])
    delay_for(connection, "quorum", [3, 1, 2])

    # The exchange went with its last binding.
    try:
        channel.exchange_declare(name, "topic", passive=True)
        sys.exit("an automatically deleted exchange is still there")
    except amqp.exceptions.NotFound:
        pass

    last = connection.channel()
    last.close()
    connection.release()


main()
