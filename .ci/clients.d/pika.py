#!/usr/bin/python3 -P
"""pika with its blocking connection. What it shows: see README.md."""

import os
import sys
import time

import pika

HEARTBEAT = 2  # seconds
PREFETCH = 2
HEADERS = {"text": "grüße", "int": -7, "big": 1 << 40, "yes": True, "none": None,
           "list": [1, "two", False], "table": {"deep": {"er": 1}}}
BODIES = [b"", b"hello", bytes(range(256)), "grüße".encode(), os.urandom(300_000)]


def check(what, got, want):
    if got != want:
        sys.exit(f"{what}: got {str(got)[:300]!r}, want {str(want)[:300]!r}")


def wait_for(what, connection, done):
    deadline = time.monotonic() + 10
    while not done():
        if time.monotonic() > deadline:
            sys.exit(f"{what}: nothing after 10 s")
        connection.process_data_events(time_limit=0.1)


def main():
    print("pika", pika.__version__)
    params = pika.URLParameters(os.environ["WARREN_URL"])
    params.heartbeat = HEARTBEAT
    params.client_properties = {"connection_name": "clients/pika"}
    connection = pika.BlockingConnection(params)
    for capability in ("publisher_confirms_supported", "basic_nack_supported",
                       "consumer_cancel_notify_supported", "exchange_exchange_bindings_supported"):
        check(capability, getattr(connection, capability), True)

    channel = connection.channel()
    exchange = f"clients.pika.{os.getpid()}"
    channel.exchange_declare(exchange, "topic", auto_delete=True)
    queue = channel.queue_declare("", exclusive=True).method.queue
    check("generated queue name", queue.startswith("amq.gen-"), True)
    channel.queue_bind(queue, exchange, "key.*")

    # Confirms: publish returns after the ack, and raises for a return.
    channel.confirm_delivery()
    properties = pika.BasicProperties(
        content_type="text/plain", content_encoding="utf-8", headers=HEADERS, delivery_mode=2,
        priority=3, correlation_id="c", reply_to="r", expiration="600000", message_id="m",
        timestamp=1234567890, type="t", user_id=params.credentials.username, app_id="a")
    for body in BODIES:
        channel.basic_publish(exchange, "key.1", body, properties, mandatory=True)
    try:
        channel.basic_publish(exchange, "nowhere", b"lost", mandatory=True)
        sys.exit("a mandatory message without a queue was not returned")
    except pika.exceptions.UnroutableError as error:
        returned = error.messages[0]
        check("returned", (returned.method.reply_code, returned.method.reply_text, returned.method.exchange,
                           returned.method.routing_key, returned.body),
              (312, "NO_ROUTE", exchange, "nowhere", b"lost"))

    # Manual acks: never more than the prefetch count is on its way.
    got = []
    channel.basic_qos(prefetch_count=PREFETCH)
    tag = channel.basic_consume(queue, lambda _, *delivery: got.append(delivery))
    want = 0
    while want < len(BODIES):
        want = min(want + PREFETCH, len(BODIES))
        wait_for(f"delivery {want}", connection, lambda: len(got) >= want)
        ready = channel.queue_declare(queue, passive=True).method.message_count
        check("deliveries, and messages left in the queue", (len(got), ready), (want, len(BODIES) - want))
        channel.basic_ack(got[-1][0].delivery_tag, multiple=True)
    for number, (method, props, body) in enumerate(got):
        check("delivery", (method.consumer_tag, method.delivery_tag, method.redelivered, method.exchange,
                           method.routing_key), (tag, number + 1, False, exchange, "key.1"))
        check("properties", props, properties)
        check("body", body, BODIES[number])

    channel.basic_cancel(tag)
    channel.basic_publish(exchange, "key.2", b"again")
    connection.process_data_events()
    check("deliveries after cancel", len(got), len(BODIES))

    # One at a time, back into the queue, and out of it.
    for redelivered in (False, True):
        method, _, body = channel.basic_get(queue)
        check("get", (method.redelivered, method.message_count, body), (redelivered, 0, b"again"))
        if not redelivered:
            channel.basic_nack(method.delivery_tag, requeue=True)
    channel.basic_reject(method.delivery_tag, requeue=False)
    check("get from an empty queue", channel.basic_get(queue), (None, None, None))

    transaction = connection.channel()
    transaction.tx_select()
    for body, end in ((b"undone", transaction.tx_rollback), (b"done", transaction.tx_commit)):
        transaction.basic_publish(exchange, "key.3", body)
        end()
    method, _, body = transaction.basic_get(queue)
    check("get after transactions", (method.message_count, body), (0, b"done"))
    transaction.basic_ack(method.delivery_tag)
    transaction.tx_commit()
    transaction.close()

    # An error closes its channel and nothing else.
    broken = connection.channel()
    try:
        broken.queue_declare(exchange + ".absent", passive=True)
        sys.exit("an absent queue was found")
    except pika.exceptions.ChannelClosedByBroker as error:
        check("error", (error.reply_code, error.reply_text),
              (404, f"NOT_FOUND - no queue '{exchange}.absent' in vhost '{params.virtual_host}'"))

    # Heartbeats alone keep an idle connection.
    idle = time.monotonic() + 3.25 * HEARTBEAT
    while time.monotonic() < idle:
        connection.process_data_events(time_limit=0.2)

    # The broker tells a consumer that its queue is gone.
    cancelled = []
    channel.add_on_cancel_callback(cancelled.append)
    tag = channel.basic_consume(queue, lambda *_: None)
    check("messages in the deleted queue", channel.queue_delete(queue).method.message_count, 0)
    wait_for("cancel by the broker", connection, lambda: cancelled)
    check("cancelled consumer", cancelled[0].method.consumer_tag, tag)

    # The exchange went with its last binding.
    try:
        channel.exchange_declare(exchange, passive=True)
        sys.exit("an automatically deleted exchange is still there")
    except pika.exceptions.ChannelClosedByBroker as error:
        check("error", error.reply_code, 404)

    last = connection.channel()
    last.close()
    connection.close()


main()
