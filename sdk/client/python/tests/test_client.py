"""What the client does with a host that is newer, that refuses, or that goes: a host of a few lines stands in for it."""

from __future__ import annotations

import asyncio
import unittest
from typing import Any
from unittest.mock import patch

import msgpack
from stand_in import PATIENCE, a_host, answer_publishes, hear, say
from websockets.asyncio.server import ServerConnection

from wasmill_client import Disconnected, Refused, TooLarge, connect


class AClient(unittest.IsolatedAsyncioTestCase):
    async def test_what_it_cannot_send_it_says_to_the_caller(self) -> None:
        async with a_host(answer_publishes) as client:
            wrong: list[dict[str, Any]] = [
                {"topic": 7},
                {"topic": "t", "data": 5},
                {"topic": "t", "data": None},
                {"topic": "t", "key": b"k"},
                {"topic": "t", "headers": {"a": 1}},
                {"topic": "t", "delay": 5},
            ]
            for arguments in wrong:
                with self.assertRaises(TypeError, msg=str(arguments)):
                    await asyncio.wait_for(client.publish(**arguments), PATIENCE)
            with self.assertRaises(UnicodeEncodeError):
                await asyncio.wait_for(client.publish("\ud800"), PATIENCE)
            with self.assertRaises(TypeError):
                async with client.subscribe("q", "c", credit="1"):  # type: ignore[arg-type]
                    pass
            await asyncio.wait_for(client.publish("t"), PATIENCE)

    async def test_a_message_that_the_host_does_not_read_is_not_sent(self) -> None:
        async with a_host(answer_publishes) as client:
            with self.assertRaises(TooLarge):
                await asyncio.wait_for(client.publish("t", bytes(10_000)), PATIENCE)
            with self.assertRaises(TooLarge):
                await asyncio.wait_for(client.publish("t", key="k" * 10_000), PATIENCE)
            await asyncio.wait_for(client.publish("t", bytes(9_900)), PATIENCE)

    async def test_everybody_who_waits_is_told_why_the_host_goes(self) -> None:
        async def talk(socket: ServerConnection) -> None:
            await hear(socket)
            await hear(socket)
            await say(socket, "closing", detail="gone to lunch")
            await socket.close(1001)

        async with a_host(talk) as client:
            async with client.subscribe("q", "c") as deliveries:
                with self.assertRaisesRegex(Disconnected, "gone to lunch"):
                    await asyncio.wait_for(client.publish("t"), PATIENCE)
                with self.assertRaisesRegex(Disconnected, "gone to lunch"):
                    async for _ in deliveries:
                        self.fail("nothing was delivered")

    async def test_what_is_no_frame_ends_the_connection(self) -> None:
        async def talk(socket: ServerConnection) -> None:
            await hear(socket)
            await say(socket, "published")
            await socket.wait_closed()

        async with a_host(talk) as client:
            with self.assertRaises(Disconnected):
                await asyncio.wait_for(client.publish("t"), PATIENCE)

    async def test_an_answer_that_cannot_be_understood_ends_the_connection(self) -> None:
        async def talk(socket: ServerConnection) -> None:
            said = (await hear(socket))["publish"]
            await say(socket, "published", request=said["request"], exceptions=7)
            await socket.wait_closed()

        async with a_host(talk) as client:
            with self.assertRaises(Disconnected):
                await asyncio.wait_for(client.publish("t"), PATIENCE)

    async def test_what_a_newer_host_says_besides_is_ignored(self) -> None:
        delivery = {"sequence": 1, "fence": 2, "attempt": 1, "lease_until_ms": 3, "id": "i", "topic": "t", "data": b"d"}

        async def talk(socket: ServerConnection) -> None:
            ((_, said),) = (await hear(socket)).items()
            await say(socket, "news", anything=1)
            more = {**delivery, "published_at_ms": 4, "unknown": 5}
            await say(socket, "deliveries", subscription=said["subscription"], deliveries=[more], unknown=1)
            why = {"code": "unroutable", "status": 404, "detail": "no", "unknown": 1}
            ((_, said),) = (await hear(socket)).items()
            await say(socket, "refused", request=said["request"], refusal=why)
            ((_, said),) = (await hear(socket)).items()
            await say(socket, "settled", request=said["request"])
            await socket.wait_closed()

        async with a_host(talk) as client:
            async with client.subscribe("q", "c") as deliveries:
                (taken,) = await asyncio.wait_for(anext(deliveries), PATIENCE)
                with self.assertRaises(Refused) as refused:
                    await asyncio.wait_for(client.publish("t"), PATIENCE)
        self.assertEqual((taken.text, refused.exception.code), ("d", "unroutable"))

    async def test_calls_that_wait_for_room_keep_their_order(self) -> None:
        seen: list[int] = []

        async def talk(socket: ServerConnection) -> None:
            async for packed in socket:
                said = msgpack.unpackb(packed)["publish"]
                seen.extend(int(message["data"]) for message in said["messages"])
                await say(socket, "published", request=said["request"])

        small = patch.multiple("wasmill_client._client", REQUESTS_OPEN_MAX=3, MESSAGES_MAX=4)
        with small, patch("wasmill_client._publishing.MESSAGES_MAX", 4):
            async with a_host(talk) as client:
                calls = []
                for n in range(1_000):
                    calls.append(asyncio.create_task(client.publish("t", str(n))))
                    if n == 50:
                        calls[-1].cancel()
                    # One comes in each turn, and others wait.
                    await asyncio.sleep(0)
                answers = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), PATIENCE)
        self.assertEqual([n for n, answer in enumerate(answers) if isinstance(answer, BaseException)], [50])
        self.assertEqual(seen, sorted(seen))
        self.assertEqual(len(seen), 999)

    async def test_what_is_not_a_host(self) -> None:
        async def garbage(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 mail.example ready\r\n\r\n")
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(garbage, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            with self.assertRaises(Disconnected):
                async with connect(f"http://127.0.0.1:{port}"):
                    pass


if __name__ == "__main__":
    unittest.main()
