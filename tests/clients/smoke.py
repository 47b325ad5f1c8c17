"""Ordinary use through pika: declare, publish with confirms, consume, reject, get, return."""

import sys
import time

import pika


def main(port: int) -> None:
    parameters = pika.ConnectionParameters(
        "127.0.0.1", port, heartbeat=30, client_properties={"connection_name": "smoke@pika"}
    )
    connection = pika.BlockingConnection(parameters)
    channel = connection.channel()
    channel.confirm_delivery()

    channel.queue_declare("smoke.dead", durable=True)
    channel.queue_declare(
        "smoke.work",
        durable=True,
        arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "smoke.dead"},
    )
    channel.exchange_declare("smoke.topic", "topic", durable=True)
    channel.queue_bind("smoke.work", "smoke.topic", "order.#")
    channel.queue_purge("smoke.work")
    channel.queue_purge("smoke.dead")

    persistent = pika.BasicProperties(
        delivery_mode=2, message_id="m-1", headers={"tenant": "eu", "n": 7, "nested": {"a": [1, "x"]}}
    )
    for n in range(100):
        channel.basic_publish("smoke.topic", "order.created", f"order {n}".encode(), persistent)

    try:
        channel.basic_publish("smoke.topic", "nowhere", b"lost", mandatory=True)
        raise AssertionError("an unroutable mandatory message was not returned")
    except pika.exceptions.UnroutableError as error:
        assert error.messages[0].body == b"lost"

    channel.basic_qos(prefetch_count=10)
    seen = []
    for method, properties, body in channel.consume("smoke.work", inactivity_timeout=5):
        assert method is not None, f"only {len(seen)} of 100 messages came"
        assert properties.headers["nested"] == {"a": [1, "x"]}
        seen.append(body.decode())
        if len(seen) == 50:
            channel.basic_nack(method.delivery_tag, requeue=False)
        else:
            channel.basic_ack(method.delivery_tag)
        if len(seen) == 100:
            break
    assert seen == [f"order {n}" for n in range(100)], seen[:5]
    assert channel.cancel() == 0

    deadline = time.monotonic() + 5
    method = None
    while method is None and time.monotonic() < deadline:
        method, properties, body = channel.basic_get("smoke.dead", auto_ack=True)
    assert body == b"order 49", body
    death = properties.headers["x-death"][0]
    assert (death["queue"], death["reason"], death["count"]) == ("smoke.work", "rejected", 1), death

    large = bytes(range(256)) * 4096
    channel.basic_publish("", "smoke.work", large, persistent)
    method, _, body = channel.basic_get("smoke.work", auto_ack=True)
    assert body == large

    try:
        channel.queue_declare("smoke.work", durable=False)
        raise AssertionError("a contradicting declare was accepted")
    except pika.exceptions.ChannelClosedByBroker as error:
        assert error.reply_code == 406, error
    channel = connection.channel()
    assert channel.queue_delete("smoke.work") is not None
    channel.queue_delete("smoke.dead")
    channel.exchange_delete("smoke.topic")
    connection.close()
    print("pika publishes and consumes")


if __name__ == "__main__":
    main(int(sys.argv[1]))
