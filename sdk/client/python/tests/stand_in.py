"""A host of a few lines, which says what a test wants it to say."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import Any, AsyncIterator, Awaitable, Callable

import msgpack
from websockets.asyncio.server import ServerConnection, serve

from wasmill_client import Client, connect

Talk = Callable[[ServerConnection], Awaitable[None]]
PATIENCE = 30.0


async def say(socket: ServerConnection, kind: str, **said: Any) -> None:
    await socket.send(msgpack.packb({kind: said}))


async def hear(socket: ServerConnection) -> Any:
    return msgpack.unpackb(await socket.recv())


@asynccontextmanager
async def a_host(talk: Talk, frame_bytes_max: int = 10_000) -> AsyncIterator[Client]:
    """A client of a host that talks so."""

    async def welcome(socket: ServerConnection) -> None:
        await say(socket, "welcome", frame_bytes_max=frame_bytes_max, data_bytes_max=5_000, unknown=1)
        await talk(socket)

    async with serve(welcome, "127.0.0.1", 0, subprotocols=["wasmill.v1.msgpack"]) as server:  # type: ignore[list-item]
        port = server.sockets[0].getsockname()[1]
        async with connect(f"http://127.0.0.1:{port}") as client:
            yield client


async def answer_publishes(socket: ServerConnection) -> None:
    async for packed in socket:
        ((_, said),) = msgpack.unpackb(packed).items()
        await say(socket, "published", request=said["request"])
