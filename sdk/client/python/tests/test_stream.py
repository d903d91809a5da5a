"""Against a real host, whose URL is in WASMILL_URL: queue ``work`` that binds ``work.#``, with the pull consumer ``outside``."""

from __future__ import annotations

import asyncio
import os
import unittest
from datetime import timedelta

from wasmill_client import (
    Client,
    Defer,
    Delivery,
    Disconnected,
    Nack,
    Refused,
    Reject,
    Subscription,
    TooLarge,
    connect,
)

URL = os.environ["WASMILL_URL"]


async def take(subscription: Subscription, count: int) -> list[Delivery]:
    """So many deliveries, whatever lists they come in."""
    taken: list[Delivery] = []
    while len(taken) < count:
        taken.extend(await asyncio.wait_for(anext(subscription), 30))
    return taken


async def publish(client: Client, count: int) -> None:
    await asyncio.gather(*(client.publish("work.x", str(n)) for n in range(count)))


class Stream(unittest.IsolatedAsyncioTestCase):
    async def test_messages_keep_the_order_of_the_calls(self) -> None:
        async with connect(URL) as client:
            await publish(client, 2_500)
            async with client.subscribe("work", "outside", credit=1_000) as deliveries:
                seen: list[str] = []
                while len(seen) < 2_500:
                    batch = await asyncio.wait_for(anext(deliveries), 30)
                    seen.extend(delivery.text for delivery in batch)
                    await deliveries.ack(batch)
        self.assertEqual(seen, [str(n) for n in range(2_500)])

    async def test_a_message_arrives_with_everything_it_was_given(self) -> None:
        async with connect(URL) as client:
            await client.publish(
                "work.x", b"\x00\x9f\xff", id="17", key="ключ", content_type="application/x", headers=[("A", "1"), ("a", "ü")]
            )
            async with client.subscribe("work", "outside") as deliveries:
                (delivery,) = await take(deliveries, 1)
                await deliveries.ack(delivery)
        self.assertEqual((delivery.id, delivery.topic, delivery.key), ("17", "work.x", "ключ"))
        self.assertEqual((delivery.data, delivery.content_type), (b"\x00\x9f\xff", "application/x"))
        self.assertEqual(delivery.headers, [("a", "1"), ("a", "ü")])
        self.assertEqual(delivery.attempt, 1)

    async def test_each_message_is_answered_for_itself(self) -> None:
        async with connect(URL) as client:
            answers = await asyncio.gather(
                client.publish("work.x", "a", id="1"),
                client.publish("nowhere", "b"),
                client.publish("work..x", "c"),
                client.publish("work.x", "a", id="1"),
                client.publish(None, "d", queue="work"),
                return_exceptions=True,
            )
            async with client.subscribe("work", "outside") as deliveries:
                await deliveries.ack(await take(deliveries, 2))
        codes = [answer.code if isinstance(answer, Refused) else getattr(answer, "duplicate", None) for answer in answers]
        self.assertEqual(codes, [False, "unroutable", "invalid-topic", True, False])

    async def test_every_way_to_settle(self) -> None:
        async with connect(URL) as client:
            await publish(client, 4)
            async with client.subscribe("work", "outside") as deliveries:
                taken = await take(deliveries, 4)
                await deliveries.ack(taken[0])
                await deliveries.fail(taken[1], Nack("not yet", after=timedelta(milliseconds=1)))
                await deliveries.fail(taken[2], Defer(timedelta(milliseconds=1)))
                await deliveries.fail(taken[3], Reject("never"))
                both = await take(deliveries, 2)
                again = {delivery.text: delivery.attempt for delivery in both}
                with self.assertRaises(Refused) as refused:
                    await deliveries.ack(taken[0])
                await deliveries.extend(both, timedelta(seconds=60))
                await deliveries.ack(both)
        self.assertEqual(again, {"1": 2, "2": 1})
        self.assertEqual(refused.exception.code, "stale-fence")

    async def test_what_is_not_settled_goes_back(self) -> None:
        async with connect(URL) as client:
            await publish(client, 3)
            async with client.subscribe("work", "outside") as deliveries:
                await take(deliveries, 3)
            async with client.subscribe("work", "outside") as deliveries:
                again = await take(deliveries, 3)
                await deliveries.ack(again)
        self.assertEqual([delivery.attempt for delivery in again], [1, 1, 1])

    async def test_a_subscription_that_cannot_be_says_why(self) -> None:
        async with connect(URL) as client:
            async with client.subscribe("work", "missing") as deliveries:
                with self.assertRaises(Refused) as refused:
                    await asyncio.wait_for(anext(deliveries), 30)
            await publish(client, 1)
            async with client.subscribe("work", "outside") as deliveries:
                await deliveries.ack(await take(deliveries, 1))
        self.assertEqual(refused.exception.code, "unknown-consumer")
        with self.assertRaises(Disconnected):
            await client.publish("work.x")

    async def test_a_subscription_that_has_ended_takes_no_place(self) -> None:
        async with connect(URL) as client:
            for _ in range(100):
                async with client.subscribe("work", "missing") as deliveries:
                    with self.assertRaises(Refused) as refused:
                        await asyncio.wait_for(anext(deliveries), 30)
                self.assertEqual(refused.exception.code, "unknown-consumer")

    async def test_a_message_beyond_the_hosts_frames(self) -> None:
        async with connect(URL) as client:
            with self.assertRaises(TooLarge):
                await client.publish("work.x", bytes(6 * 1024 * 1024))
            with self.assertRaises(Refused) as refused:
                await client.publish("nowhere")
        self.assertEqual(refused.exception.code, "unroutable")

    async def test_a_host_that_is_not_there(self) -> None:
        with self.assertRaises(Disconnected):
            async with connect("http://127.0.0.1:1"):
                pass
        with self.assertRaises(ValueError):
            async with connect("127.0.0.1:1"):
                pass


if __name__ == "__main__":
    unittest.main()
