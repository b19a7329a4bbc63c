#!/usr/bin/python3 -P
"""aio-pika, on asyncio. What it shows: see README.md."""

import asyncio
import os
import sys

import aio_pika
import aiormq

HEARTBEAT = 2  # seconds
PREFETCH = 2
# Neither a small negative number nor a float: this version breaks on the one
# and makes text of the other.
HEADERS = {"text": "grüße", "int": 7, "big": -1 << 40, "yes": True, "none": None,
           "list": [1, "two", False], "table": {"deep": {"er": 1}}}
PROPERTIES = {"content_type": "text/plain", "content_encoding": "utf-8", "delivery_mode": 2, "priority": 3,
              "correlation_id": "c", "reply_to": "r", "message_id": "m", "type": "t", "app_id": "a"}
BODIES = [b"", b"hello", bytes(range(256)), "grüße".encode(), os.urandom(300_000)]


def check(what, got, want):
    if got != want:
        sys.exit(f"{what}: got {str(got)[:300]!r}, want {str(want)[:300]!r}")


async def wait_for(what, done):
    try:
        async with asyncio.timeout(10):
            while not done():
                await asyncio.sleep(0.005)
    except TimeoutError:
        sys.exit(f"{what}: nothing after 10 s")


async def main():
    print("aio-pika", aio_pika.__version__, "with aiormq", aiormq.__version__)
    url = os.environ["WARREN_URL"]
    connection = await aio_pika.connect(f"{url}?heartbeat={HEARTBEAT}&name=clients/aio-pika")
    for name in ("publisher_confirms", "basic_nack", "consumer_cancel_notify", "exchange_exchange_bindings"):
        check(name, getattr(connection.transport.connection, name), True)

    channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
    name = f"clients.aio-pika.{os.getpid()}"
    exchange = await channel.declare_exchange(name, aio_pika.ExchangeType.TOPIC, auto_delete=True)
    queue = await channel.declare_queue("", exclusive=True)
    check("generated queue name", queue.name.startswith("amq.gen-"), True)
    await queue.bind(exchange, "key.*")

    # Confirms, all at once: publish returns after the ack, and raises for a return.
    await asyncio.gather(*(
        exchange.publish(aio_pika.Message(body, headers=HEADERS, **PROPERTIES), "key.1", mandatory=True)
        for body in BODIES))
    try:
        await exchange.publish(aio_pika.Message(b"lost"), "nowhere", mandatory=True)
        sys.exit("a mandatory message without a queue was not returned")
    except aio_pika.exceptions.DeliveryError as error:
        returned = error.message.delivery
        check("returned", (returned.reply_code, returned.reply_text, returned.exchange, returned.routing_key,
                           error.message.body), (312, "NO_ROUTE", name, "nowhere", b"lost"))

    # Manual acks: never more than the prefetch count is on its way.
    got = []
    await channel.set_qos(prefetch_count=PREFETCH)
    tag = await queue.consume(got.append)
    want = 0
    while want < len(BODIES):
        want = min(want + PREFETCH, len(BODIES))
        await wait_for(f"delivery {want}", lambda: len(got) >= want)
        ready = (await channel.declare_queue(queue.name, passive=True)).declaration_result.message_count
        check("deliveries, and messages left in the queue", (len(got), ready), (want, len(BODIES) - want))
        await got[-1].ack(multiple=True)
    check("bodies", [message.body for message in got] == BODIES, True)
    for number, message in enumerate(got):
        check("delivery", (message.consumer_tag, message.delivery_tag, message.redelivered, message.exchange,
                           message.routing_key), (tag, number + 1, False, name, "key.1"))
        check("headers", dict(message.headers), HEADERS)
        check("properties", {key: getattr(message, key) for key in PROPERTIES}, PROPERTIES)

    await queue.cancel(tag)
    await exchange.publish(aio_pika.Message(b"again"), "key.2")
    check("deliveries after cancel", len(got), len(BODIES))

    # One at a time, back into the queue, and out of it.
    for redelivered in (False, True):
        message = await queue.get()
        check("get", (message.redelivered, message.message_count, message.body), (redelivered, 0, b"again"))
        if not redelivered:
            await message.nack(requeue=True)
    await message.reject(requeue=False)
    check("get from an empty queue", await queue.get(fail=False), None)

    plain = await connection.channel(publisher_confirms=False)
    there = await plain.get_exchange(name)
    transaction = plain.transaction()
    await transaction.select()
    for body, end in ((b"undone", transaction.rollback), (b"done", transaction.commit)):
        await there.publish(aio_pika.Message(body), "key.3")
        await end()
    message = await queue.get()
    check("get after transactions", (message.message_count, message.body), (0, b"done"))
    await message.ack()
    await plain.close()

    # An error closes its channel and nothing else.
    broken = await connection.channel()
    try:
        await broken.declare_queue(name + ".absent", passive=True)
        sys.exit("an absent queue was found")
    except aiormq.exceptions.ChannelNotFoundEntity as error:
        check("error", f"NOT_FOUND - no queue '{name}.absent' in vhost '" in str(error), True)

    # Heartbeats alone keep an idle connection.
    await asyncio.sleep(3.25 * HEARTBEAT)

    # The exchange goes with its last binding.
    check("messages in the deleted queue", (await queue.delete()).message_count, 0)
    try:
        await channel.get_exchange(name, ensure=True)
        sys.exit("an automatically deleted exchange is still there")
    except aiormq.exceptions.ChannelNotFoundEntity:
        pass

    last = await connection.channel()
    await last.close()
    await connection.close()


asyncio.run(main())
