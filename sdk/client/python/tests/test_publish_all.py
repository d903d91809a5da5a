"""Many messages in one call: what is sent, by a host of a few lines, and what becomes of them, by a real one (see test_stream)."""

from __future__ import annotations

import asyncio
import os
import unittest
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import msgpack
from stand_in import PATIENCE, Talk, a_host, hear, say
from websockets.asyncio.server import ServerConnection

from wasmill_client import (
    Client,
    Delivery,
    Disconnected,
    Outgoing,
    Published,
    Refused,
    TooLarge,
    WasmillError,
    connect,
)

URL = os.environ["WASMILL_URL"]
FRAME_BYTES = 256 * 1024


def remembering(frames: list[Any]) -> Talk:
    """Answers what is published, and keeps it."""

    async def talk(socket: ServerConnection) -> None:
        async for packed in socket:
            said = msgpack.unpackb(packed)["publish"]
            frames.append(said)
            await say(socket, "published", request=said["request"])

    return talk


def what_became(answer: Published | WasmillError | BaseException) -> Any:
    return answer.code if isinstance(answer, Refused) else getattr(answer, "duplicate", type(answer))


class WhatIsSent(unittest.IsolatedAsyncioTestCase):
    async def test_what_all_messages_of_a_frame_say_is_said_once(self) -> None:
        def message(topic: str, size: int = 0) -> Outgoing:
            return Outgoing(topic, bytes(size), content_type="text/plain")

        messages = [message("a") for _ in range(1_001)]
        messages += [message("b"), message("c", FRAME_BYTES), message("d", 1 << 20), message("e")]
        frames: list[Any] = []

        async def talk(socket: ServerConnection) -> None:
            async for packed in socket:
                frames.append(msgpack.unpackb(packed)["publish"])
                await say(socket, "published", request=frames[-1]["request"], exceptions=[[0, "duplicate"]])

        async with a_host(talk, frame_bytes_max=1 << 20) as client:
            answers = await asyncio.wait_for(client.publish_all(messages), PATIENCE)
        seen = [(said.get("topic"), said["messages"][0].get("topic"), len(said["messages"])) for said in frames]
        self.assertEqual(seen, [("a", None, 1_000), (None, "a", 2), (None, "c", 1), (None, "e", 1)])
        for said in frames:
            for sent in said["messages"]:
                self.assertNotEqual("content_type" in sent, "content_type" in said)
        self.assertEqual(frames[0]["messages"][0], {"data": b""})
        self.assertEqual(len(answers), 1_005)
        duplicates = [n for n, answer in enumerate(answers) if isinstance(answer, Published) and answer.duplicate]
        self.assertEqual(duplicates, [0, 1_000, 1_002, 1_004])
        self.assertIsInstance(answers[1_003], TooLarge)

    async def test_frames_keep_to_their_bytes(self) -> None:
        frames: list[Any] = []
        async with a_host(remembering(frames), frame_bytes_max=1 << 20) as client:
            # 256 of a kibibyte would fit if they had nothing besides.
            answers = await asyncio.wait_for(client.publish_all([Outgoing("t", bytes(1024))] * 600), PATIENCE)
        counts = [len(said["messages"]) for said in frames]
        self.assertEqual((len(answers), sum(counts), len(counts)), (600, 600, 3))
        for said in frames:
            self.assertLessEqual(len(msgpack.packb({"publish": said})), FRAME_BYTES)

    async def test_calls_of_one_turn_share_frames_and_keep_their_order(self) -> None:
        frames: list[Any] = []
        async with a_host(remembering(frames)) as client:
            calls = (
                client.publish("t", "0"),
                client.publish_all([Outgoing("t", "1"), Outgoing("t", "2")]),
                client.publish("t", "3"),
                client.publish_all([]),
                client.publish_all([Outgoing("t", str(n)) for n in range(4, 1_002)]),
                client.publish("t", "1002"),
            )
            await asyncio.wait_for(asyncio.gather(*calls), PATIENCE)
        self.assertEqual([(said["topic"], len(said["messages"])) for said in frames], [("t", 4), ("t", 999)])
        sent = [int(message["data"]) for said in frames for message in said["messages"]]
        self.assertEqual(sent, list(range(1_003)))

    async def test_nothing_is_sent_for_no_messages(self) -> None:
        frames: list[Any] = []
        async with a_host(remembering(frames)) as client:
            self.assertEqual(await asyncio.wait_for(client.publish_all([]), PATIENCE), [])
            await asyncio.wait_for(client.publish("t"), PATIENCE)
        self.assertEqual(len(frames), 1)

    async def test_a_message_to_a_queue_keeps_its_topic(self) -> None:
        frames: list[Any] = []
        async with a_host(remembering(frames)) as client:
            both = [Outgoing("t", queue="q", content_type="x"), Outgoing("t", content_type="x")]
            await asyncio.wait_for(client.publish_all(both), PATIENCE)
        (said,) = frames
        self.assertEqual((said.get("topic"), said["content_type"]), (None, "x"))
        self.assertEqual([message.get("topic") for message in said["messages"]], ["t", "t"])

    async def test_everything_that_a_message_says(self) -> None:
        frames: list[Any] = []
        message = Outgoing(
            None,
            b"\xff",
            queue="q",
            id="i",
            key="k",
            content_type="x",
            headers=[("a", "b"), ("a", "c")],
            delay=timedelta(seconds=1),
            expires_after=timedelta(milliseconds=2),
        )
        async with a_host(remembering(frames)) as client:
            # Publishing takes nothing from a message.
            for _ in range(2):
                await asyncio.wait_for(client.publish_all([message, message]), PATIENCE)
        said: dict[str, Any] = {"data": b"\xff", "queue": "q", "id": "i", "key": "k", "headers": [["a", "b"], ["a", "c"]]}
        said.update(delay_ms=1_000, expires_after_ms=2)
        for frame in frames:
            self.assertEqual((frame["content_type"], frame["messages"]), ("x", [said, said]))
        self.assertEqual(len(frames), 2)


class WhatGoesWrong(unittest.IsolatedAsyncioTestCase):
    async def test_what_is_no_message_is_raised_and_nothing_is_sent(self) -> None:
        frames: list[Any] = []
        wrong: list[tuple[Any, type[Exception]]] = [
            ({"topic": "t"}, TypeError),
            (Outgoing(7), TypeError),  # type: ignore[arg-type]
            (Outgoing("t", None), TypeError),  # type: ignore[arg-type]
            (Outgoing("t", headers={"a": 1}), TypeError),  # type: ignore[dict-item]
            (Outgoing("t", headers=iter([("a", "b")])), TypeError),  # type: ignore[arg-type]
            (Outgoing("\ud800"), ValueError),
            (Outgoing("t", delay=timedelta(seconds=-1)), ValueError),
        ]
        async with a_host(remembering(frames)) as client:
            for message, error in wrong:
                messages = [Outgoing("t")] * 1_500 + [message]
                with self.assertRaisesRegex(error, "^message 1500: "):
                    await asyncio.wait_for(client.publish_all(messages), PATIENCE)
            await asyncio.wait_for(client.publish("t"), PATIENCE)
        self.assertEqual(len(frames), 1)

    async def test_what_was_not_answered_when_the_host_goes_is_not_known(self) -> None:
        async def talk(socket: ServerConnection) -> None:
            said = (await hear(socket))["publish"]
            refused = {"refused": {"code": "unroutable", "status": 404, "detail": "no"}}
            await say(socket, "published", request=said["request"], exceptions=[[1, refused]])
            await hear(socket)
            await say(socket, "closing", detail="gone to lunch")
            await socket.close(1001)

        async with a_host(talk) as client:
            answers = await asyncio.wait_for(client.publish_all([Outgoing("t")] * 2_500), PATIENCE)
            self.assertEqual([what_became(answer) for answer in answers[:3]], [False, "unroutable", False])
            self.assertEqual({what_became(answer) for answer in answers[2:1_000]}, {False})
            self.assertEqual({what_became(answer) for answer in answers[1_000:]}, {Disconnected})
            self.assertRegex(str(answers[-1]), "gone to lunch")
            answers = await asyncio.wait_for(client.publish_all([Outgoing("t"), Outgoing("t", bytes(10_000))]), PATIENCE)
            self.assertEqual([what_became(answer) for answer in answers], [Disconnected, TooLarge])

    async def test_a_frame_that_is_refused_is_refused_for_each_of_its_messages(self) -> None:
        async def talk(socket: ServerConnection) -> None:
            for n in range(2):
                said = (await hear(socket))["publish"]
                refusal = {"code": "stopping", "status": 503, "detail": "no more"}
                if n == 0:
                    await say(socket, "refused", request=said["request"], refusal=refusal)
                else:
                    await say(socket, "published", request=said["request"])
            await socket.wait_closed()

        async with a_host(talk) as client:
            answers = await asyncio.wait_for(client.publish_all([Outgoing("t")] * 1_002), PATIENCE)
        self.assertEqual([what_became(answer) for answer in answers], ["stopping"] * 1_000 + [False] * 2)

    async def test_frames_wait_for_room_and_a_call_that_is_cancelled_sends_no_more(self) -> None:
        frames: list[Any] = []
        may_answer = asyncio.Event()

        async def talk(socket: ServerConnection) -> None:
            async for packed in socket:
                frames.append(msgpack.unpackb(packed)["publish"])
                await may_answer.wait()
                await say(socket, "published", request=frames[-1]["request"])

        small = patch.multiple("wasmill_client._client", REQUESTS_OPEN_MAX=2)
        with small, patch("wasmill_client._publishing.MESSAGES_MAX", 4):
            async with a_host(talk) as client:
                cancelled = asyncio.create_task(client.publish_all([Outgoing("t", "c")] * 40))
                waiting = asyncio.create_task(client.publish_all([Outgoing("t", str(n)) for n in range(40)]))
                after = asyncio.create_task(client.publish("t", "40"))
                while not frames:
                    await asyncio.sleep(0)
                cancelled.cancel()
                may_answer.set()
                with self.assertRaises(asyncio.CancelledError):
                    await cancelled
                answers = await asyncio.wait_for(waiting, PATIENCE)
                await asyncio.wait_for(after, PATIENCE)
        sent = [message["data"] for said in frames for message in said["messages"]]
        own = [int(data) for data in sent if data not in (b"c", b"40")]
        self.assertEqual((own, [what_became(answer) for answer in answers]), (list(range(40)), [False] * 40))
        # Two were open, and a third was gathered.
        self.assertLessEqual(sent.count(b"c"), 12)


async def take_and_ack(client: Client, count: int) -> list[Delivery]:
    """Fewer than the consumer may hold at once are out at any time."""
    taken: list[Delivery] = []
    async with client.subscribe("work", "outside") as deliveries:
        while len(taken) < count:
            batch = await asyncio.wait_for(anext(deliveries), PATIENCE)
            taken += batch
            await deliveries.ack(batch)
    return taken


class OfARealHost(unittest.IsolatedAsyncioTestCase):
    async def test_messages_are_answered_one_by_one_and_keep_their_order(self) -> None:
        """Several frames, two topics, one that nothing binds and one that is none, and one message twice."""

        def message(n: int) -> Outgoing:
            if n == 5:
                return Outgoing("no one", "spaces")
            if n == 6:
                return Outgoing("nowhere", "is it")
            if n in (7, 1_500):
                return Outgoing("work.once", str(n), id="all-7")
            return Outgoing("work.x", str(n), content_type="text/plain")

        async with connect(URL) as client:
            before, answers, after = await asyncio.wait_for(
                asyncio.gather(
                    client.publish("work.x", "before"),
                    client.publish_all(message(n) for n in range(2_500)),
                    client.publish("work.x", "after"),
                ),
                PATIENCE,
            )
            taken = await take_and_ack(client, 2_499)
        self.assertEqual((before.duplicate, after.duplicate, len(answers)), (False, False, 2_500))
        special = {n: what_became(answer) for n, answer in enumerate(answers) if what_became(answer) is not False}
        self.assertEqual(special, {5: "invalid-topic", 6: "unroutable", 1_500: True})
        sent = ["before", *(str(n) for n in range(2_500) if n not in special), "after"]
        self.assertEqual([delivery.text for delivery in taken], sent)
        self.assertEqual((taken[6].topic, taken[6].content_type), ("work.once", None))
        self.assertEqual((taken[7].topic, taken[7].content_type), ("work.x", "text/plain"))

    async def test_messages_that_all_say_the_same(self) -> None:
        async with connect(URL) as client:
            shared = [Outgoing("work.all", str(n), content_type="text/plain", key=str(n)) for n in range(2_500)]
            answers = await asyncio.wait_for(client.publish_all(shared), PATIENCE)
            to_queue = [Outgoing(None, "q", queue="work"), Outgoing("work.x", "t")]
            answers += await asyncio.wait_for(client.publish_all(to_queue), PATIENCE)
            taken = await take_and_ack(client, 2_502)
        self.assertEqual(answers, [Published(duplicate=False)] * 2_502)
        seen = [(delivery.topic, delivery.content_type, delivery.key, delivery.text) for delivery in taken]
        self.assertEqual(seen[:2_500], [("work.all", "text/plain", str(n), str(n)) for n in range(2_500)])
        self.assertEqual(seen[2_500:], [("work", None, None, "q"), ("work.x", None, None, "t")])

    async def test_large_messages_among_small_ones(self) -> None:
        async with connect(URL) as client:
            self.assertEqual(await client.publish_all([]), [])
            sizes = [1, 6 * 1024 * 1024, 2, 1024 * 1024 + 1, 300 * 1024, 3]
            answers = await asyncio.wait_for(client.publish_all([Outgoing("work.x", bytes(n)) for n in sizes]), PATIENCE)
            taken = await take_and_ack(client, 4)
        self.assertEqual([what_became(answer) for answer in answers], [False, TooLarge, False, "too-large", False, False])
        self.assertEqual([len(delivery.data) for delivery in taken], [1, 2, 300 * 1024, 3])

    async def test_messages_that_were_published_before_are_not_taken_twice(self) -> None:
        messages = [Outgoing("work.again", str(n), id=f"again-{n}") for n in range(1_200)]
        async with connect(URL) as client:
            first = await asyncio.wait_for(client.publish_all(messages[:1_100]), PATIENCE)
            second = await asyncio.wait_for(client.publish_all(messages), PATIENCE)
            taken = await take_and_ack(client, 1_200)
        self.assertEqual([what_became(answer) for answer in first], [False] * 1_100)
        self.assertEqual([what_became(answer) for answer in second], [True] * 1_100 + [False] * 100)
        self.assertEqual([delivery.id for delivery in taken], [message.id for message in messages])


if __name__ == "__main__":
    unittest.main()
