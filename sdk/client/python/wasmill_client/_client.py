"""The connection."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, AsyncIterator, Callable, Iterable, Mapping

import msgpack
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_websocket
from websockets.exceptions import ConnectionClosed, InvalidStatus

from ._errors import Disconnected, Refused, WasmillError
from ._messages import Frame, Published, ms
from ._subscription import Subscription

PATH = "/v1/stream"
SUBPROTOCOL = "wasmill.v1.msgpack"
MESSAGES_MAX = 1_000
"""Messages of one frame."""
FRAME_BYTES = 256 * 1024
"""Messages of one turn go into frames of about so many bytes, unless one alone is larger."""
REQUESTS_OPEN_MAX = 1_000
"""Requests that wait for an answer; what comes then waits for its turn."""

Answer = Callable[[Any, "BaseException | None"], None]


@asynccontextmanager
async def connect(url: str) -> AsyncIterator[Client]:
    """Connect to the host at ``url``, for example ``http://127.0.0.1:7500``.

    At the end what was asked is answered, and deliveries that are not settled go back and burn no attempt. Raises
    :class:`Disconnected` when nothing answers there.
    """
    if not url.startswith("http://"):
        raise ValueError(f"a URL begins with http:// here, and this one does not: {url}")
    try:
        socket = await connect_websocket(
            "ws://" + url.removeprefix("http://").rstrip("/") + PATH,
            subprotocols=[SUBPROTOCOL],  # type: ignore[list-item]
            max_size=64 * 1024 * 1024,
            compression=None,
        )
    except InvalidStatus as error:
        body = (error.response.body or b"").decode(errors="replace")
        raise Disconnected(f"the host answers {error.response.status_code}: {body}") from error
    except OSError as error:
        raise Disconnected(f"nothing answers at {url}: {error}") from error
    client = Client(socket)
    try:
        yield client
    finally:
        await client.close()


class Client:
    """A connection to a host; made by :func:`connect`."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._last = 0
        self._waiting: dict[int, Answer] = {}
        self._subscriptions: dict[int, Subscription] = {}
        self._gathered: list[Frame] = []
        self._replies: list[asyncio.Future[Published]] = []
        self._gathered_bytes = 0
        self._outbox: list[bytes] = []
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._closed: Disconnected | None = None
        self._reading = asyncio.create_task(self._read())
        self._writing = asyncio.create_task(self._write())

    async def publish(
        self,
        topic: str | None,
        data: bytes | str = b"",
        *,
        queue: str | None = None,
        id: str | None = None,
        key: str | None = None,
        content_type: str | None = None,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        delay: timedelta | None = None,
        expires_after: timedelta | None = None,
    ) -> Published:
        """Publish a message, to whatever queues bind ``topic``, or with ``topic=None`` to ``queue`` and no other.

        It is durable when this returns. With an ``id`` (at most 255 bytes) publishing it again within the host's window adds
        nothing. Raises :class:`Refused` when the host takes it not, :class:`Disconnected` when it is not known.
        """
        pairs = list(headers.items()) if isinstance(headers, Mapping) else [tuple(pair) for pair in headers]
        message: Frame = {"data": data.encode() if isinstance(data, str) else bytes(data)}
        named = {"topic": topic, "queue": queue, "id": id, "key": key, "content_type": content_type}
        message.update((name, value) for name, value in named.items() if value is not None)
        if pairs:
            message["headers"] = pairs
        if delay is not None:
            message["delay_ms"] = ms(delay)
        if expires_after is not None:
            message["expires_after_ms"] = ms(expires_after)
        await self._has_room()
        reply: asyncio.Future[Published] = asyncio.get_running_loop().create_future()
        size = len(message["data"]) + 256
        if len(self._gathered) == MESSAGES_MAX or self._gathered_bytes + size > FRAME_BYTES:
            self._flush()
        self._gathered.append(message)
        self._replies.append(reply)
        self._gathered_bytes += size
        self._wake.set()
        return await reply

    @asynccontextmanager
    async def subscribe(self, queue: str, consumer: str, *, credit: int = 1_000) -> AsyncIterator[Subscription]:
        """Take deliveries of a pull consumer, at most ``credit`` (1 to 10,000) that are not settled.

        At the end deliveries that are not settled go back and burn no attempt.
        """
        self._check()
        name = self._next()
        subscription = Subscription(self, name)
        self._subscriptions[name] = subscription
        self._send({"subscribe": {"subscription": name, "queue": queue, "consumer": consumer, "credit": credit}})
        try:
            yield subscription
        finally:
            is_there = self._subscriptions.pop(name, None) is not None
            if is_there and self._closed is None:
                await self._request(lambda request: {"release": {"request": request, "subscription": name}})

    async def close(self) -> None:
        """Wait for what was asked, and close the connection."""
        while self._closed is None and (self._waiting or self._gathered or self._outbox):
            await asyncio.sleep(0.001)
        await self._socket.close()
        await asyncio.gather(self._reading, self._writing)

    async def _request(self, frame: Callable[[int], Frame]) -> list[tuple[int, Any]]:
        """Ask what is answered for each of its parts; answers what did not go the usual way."""
        await self._has_room()
        reply: asyncio.Future[list[tuple[int, Any]]] = asyncio.get_running_loop().create_future()

        def answer(settled: Any, error: BaseException | None) -> None:
            if reply.done():
                return
            if error is None:
                reply.set_result([(index, exception) for index, exception in settled.get("exceptions", ())])
            else:
                reply.set_exception(error)

        request = self._next()
        self._waiting[request] = answer
        self._send(frame(request))
        return await reply

    def _check(self) -> None:
        if self._closed is not None:
            raise self._closed

    async def _has_room(self) -> None:
        self._check()
        while len(self._waiting) >= REQUESTS_OPEN_MAX:
            self._room.clear()
            await self._room.wait()
            self._check()

    def _next(self) -> int:
        self._last += 1
        return self._last

    def _send(self, frame: Frame) -> None:
        """After what was gathered so far."""
        self._flush()
        self._outbox.append(msgpack.packb(frame))
        self._wake.set()

    def _flush(self) -> None:
        if not self._gathered:
            return
        request, replies = self._next(), self._replies
        self._outbox.append(msgpack.packb({"publish": {"request": request, "messages": self._gathered}}))
        self._gathered, self._replies, self._gathered_bytes = [], [], 0

        def answer(published: Any, error: BaseException | None) -> None:
            exceptions = {} if error else {index: exception for index, exception in published.get("exceptions", ())}
            for index, reply in enumerate(replies):
                if reply.done():
                    continue
                exception = exceptions.get(index)
                refused = error or refusal(exception)
                if refused is not None:
                    reply.set_exception(refused)
                else:
                    reply.set_result(Published(duplicate=exception == "duplicate"))

        self._waiting[request] = answer

    async def _write(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                self._flush()
                frames, self._outbox = self._outbox, []
                for frame in frames:
                    await self._socket.send(frame)
        except (ConnectionClosed, asyncio.CancelledError):
            pass

    async def _read(self) -> None:
        reason = "the host closed it"
        try:
            async for packed in self._socket:
                if isinstance(packed, str):
                    raise WasmillError("the host sent text")
                self._take(msgpack.unpackb(packed))
        except (ConnectionClosed, WasmillError, ValueError) as error:
            reason = str(error)
        self._closed = Disconnected(f"the connection is closed: {reason}")
        self._writing.cancel()
        self._flush()
        for answer in list(self._waiting.values()):
            answer(None, self._closed)
        self._waiting.clear()
        for subscription in self._subscriptions.values():
            subscription._end(None)
        self._room.set()

    def _take(self, frame: Frame) -> None:
        (kind, said), = frame.items()
        if kind == "deliveries":
            subscription = self._subscriptions.get(said["subscription"])
            if subscription is not None:
                subscription._put(said["deliveries"])
        elif kind == "ended":
            self._end(said["subscription"], said["refusal"])
        elif kind == "refused":
            answer = self._waiting.pop(said["request"], None)
            if answer is None:
                self._end(said["request"], said["refusal"])
            else:
                answer(None, Refused(**said["refusal"]))
        elif kind in ("published", "settled"):
            answer = self._waiting.pop(said["request"], None)
            if answer is not None:
                answer(said, None)
        self._room.set()

    def _end(self, name: int, why: Frame) -> None:
        subscription = self._subscriptions.pop(name, None)
        if subscription is not None:
            subscription._end(Refused(**why))


def refusal(exception: Any) -> Refused | None:
    """The refusal that one of many was answered with, if it was."""
    if isinstance(exception, dict) and "refused" in exception:
        return Refused(**exception["refused"])
    return None
