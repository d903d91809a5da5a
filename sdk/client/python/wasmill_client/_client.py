"""The connection."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, AsyncIterator, Callable, Iterable, Mapping, Union

import msgpack
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_websocket
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI, WebSocketException

from ._errors import Disconnected, Refused, TooLarge, WasmillError
from ._messages import Frame, Outgoing, Published, text
from ._publishing import MESSAGES_MAX, Batch, Group, Many, One, frames, groups, too_large
from ._subscription import Subscription

PATH = "/v1/stream"
SUBPROTOCOL = "wasmill.v1.msgpack"
REQUESTS_OPEN_MAX = 1_000
"""Requests that wait for an answer; what comes then waits for its turn."""
WELCOME_SECONDS_MAX = 10.0
"""How long a host may take to say what it takes."""

Reply = Callable[[Union[Frame, WasmillError]], None]
"""Takes what the host said, or why it said nothing."""


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
    except InvalidURI as error:
        raise ValueError(f"this is no URL of a host: {url}") from error
    except InvalidHandshake as error:
        raise Disconnected(f"what answers at {url} takes no streams: {error}") from error
    except (OSError, TimeoutError) as error:
        raise Disconnected(f"nothing answers at {url}: {error}") from error
    client = Client(socket, await _welcome(socket))
    try:
        yield client
    finally:
        await client.close()


async def _welcome(socket: ClientConnection) -> int:
    """The largest frame that the host reads, in bytes."""
    try:
        frame = msgpack.unpackb(await asyncio.wait_for(socket.recv(), WELCOME_SECONDS_MAX))
        return int(frame["welcome"]["frame_bytes_max"])
    except Exception as error:
        await socket.close()
        raise Disconnected(f"the host does not begin with a welcome: {error!r}") from error


class Client:
    """A connection to a host; made by :func:`connect`."""

    def __init__(self, socket: ClientConnection, frame_bytes_max: int) -> None:
        self._socket = socket
        self._frame_bytes_max = frame_bytes_max
        self._packer = msgpack.Packer()
        self._last = 0
        self._waiting: dict[int, Reply] = {}
        self._subscriptions: dict[int, Subscription] = {}
        self._gathered = Batch()
        # Packed.
        self._outbox: list[bytes] = []
        self._wake = asyncio.Event()
        # Calls that wait for room, in their order, and how many of them were let in and have not gone on yet.
        self._queue: deque[asyncio.Future[None]] = deque()
        self._let_in = 0
        self._closed: Disconnected | None = None
        self._is_closing = False
        self._why: str | None = None
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
        nothing. Raises :class:`Refused` when the host takes it not, :class:`TooLarge`, and :class:`Disconnected` when it is
        not known.
        """
        message = Outgoing(
            topic,
            data,
            queue=queue,
            id=id,
            key=key,
            content_type=content_type,
            headers=headers if isinstance(headers, Mapping) else tuple(headers),
            delay=delay,
            expires_after=expires_after,
        ).frame()
        size = len(self._packer.pack(message))
        error = too_large(size, self._frame_bytes_max)
        if error is not None:
            raise error
        await self._has_room()
        reply: asyncio.Future[Published] = asyncio.get_running_loop().create_future()
        self._gather(Group([message], size), reply)
        return await reply

    async def publish_all(self, messages: Iterable[Outgoing]) -> list[Published | WasmillError]:
        """Publish many messages. Each that is answered with :class:`Published` is durable; the answers are in the order of the
        messages, and so are the messages themselves in every queue.

        This is the quickest way: a thousand messages, or 256 KiB of them, are one frame, one commit of the host and one answer.
        What is more goes in several, each of which commits for itself.

        What is wrong with one message is its answer, and says nothing about the others, as with ``asyncio.gather`` and
        ``return_exceptions``: :class:`Refused` when the host takes it not, :class:`TooLarge` when it was not sent, and
        :class:`Disconnected` when it is not known, because the connection broke before the answer. So look at all of them::

            for message, answer in zip(messages, await client.publish_all(messages)):
                if isinstance(answer, WasmillError):
                    print(message.id, answer)

        Only what is no message at all is raised, as :class:`TypeError` or :class:`ValueError` with its index; nothing is sent
        then. When the call is cancelled, frames that wait for room (1,000 requests are open) are not sent, and others are.
        """
        sized = list(frames(messages, self._packer.pack))
        parts: list[TooLarge | Many] = []
        for group in groups(sized, self._frame_bytes_max):
            parts.append(group if isinstance(group, TooLarge) else await self._leave(group))
        answers: list[Published | WasmillError] = []
        for part in parts:
            answers += [part] if isinstance(part, TooLarge) else await part.answers
        return answers

    @asynccontextmanager
    async def subscribe(self, queue: str, consumer: str, *, credit: int = 1_000) -> AsyncIterator[Subscription]:
        """Take deliveries of a pull consumer, at most ``credit`` (1 to 10,000) that are not settled.

        At the end deliveries that are not settled go back and burn no attempt.
        """
        self._check()
        if not isinstance(credit, int):
            raise TypeError(f"credit is an int, not {type(credit).__name__}")
        if not 0 <= credit < 2**32:
            raise ValueError(f"credit is from 1 to 10,000, and not {credit}")
        name = self._next()
        place = {"queue": text("a queue", queue), "consumer": text("a consumer", consumer)}
        self._send({"subscribe": {"subscription": name, **place, "credit": credit}})
        subscription = self._subscriptions[name] = Subscription(self, name)
        try:
            yield subscription
        finally:
            self._subscriptions.pop(name, None)
            # One that the host has ended may hold deliveries all the same, and one that it refused is not there.
            with suppress(Refused, Disconnected):
                await self._request(lambda request: {"release": {"request": request, "subscription": name}})

    async def close(self) -> None:
        """Wait for what was asked, and close the connection."""
        while self._closed is None and (self._waiting or self._gathered or self._outbox or self._queue or self._let_in):
            await asyncio.sleep(0.001)
        self._is_closing = True
        await self._socket.close()
        await asyncio.gather(self._reading, self._writing)

    async def _request(self, frame: Callable[[int], Frame]) -> list[tuple[int, Any]]:
        """Ask what is answered for each of its parts; answers what did not go the usual way."""
        await self._has_room()
        reply: asyncio.Future[list[tuple[int, Any]]] = asyncio.get_running_loop().create_future()

        def answer(said: Frame | WasmillError) -> None:
            if reply.done():
                return
            if isinstance(said, WasmillError):
                reply.set_exception(said)
            else:
                reply.set_result([(index, exception) for index, exception in said.get("exceptions", ())])

        request = self._next()
        self._send(frame(request))
        self._waiting[request] = answer
        return await reply

    def _check(self) -> None:
        if self._closed is not None:
            raise self._closed

    async def _has_room(self) -> None:
        """Wait until fewer than REQUESTS_OPEN_MAX requests are open, and until whoever came before has gone on."""
        self._check()
        if len(self._waiting) < REQUESTS_OPEN_MAX and not self._queue and not self._let_in:
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        finally:
            if turn.done() and not turn.cancelled():
                self._let_in -= 1
                if not self._let_in:
                    self._let_some_in()
        self._check()

    def _let_some_in(self) -> None:
        """Several at once, so that their messages leave in one frame."""
        while self._queue and (self._closed or (len(self._waiting) < REQUESTS_OPEN_MAX and self._let_in < MESSAGES_MAX)):
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                self._let_in += 1

    def _next(self) -> int:
        self._last += 1
        return self._last

    def _send(self, frame: Frame) -> None:
        """After what was gathered so far."""
        packed = self._packer.pack(frame)
        self._flush()
        self._outbox.append(packed)
        self._wake.set()

    async def _leave(self, group: Group) -> Many:
        """Gather it once there is room for one more frame."""
        waiting = Many(len(group.messages), asyncio.get_running_loop().create_future())
        try:
            await self._has_room()
            self._gather(group, waiting)
        except Disconnected as closed:
            waiting.answers.set_result([closed] * waiting.length)
        return waiting

    def _gather(self, group: Group, reply: One | Many) -> None:
        """Messages that leave in this turn, in one frame with others if they fit."""
        if not self._gathered.has_room(group):
            self._flush()
        self._gathered.add(group, reply)
        self._wake.set()

    def _flush(self) -> None:
        if not self._gathered:
            return
        request, batch = self._next(), self._gathered
        self._gathered = Batch()
        self._outbox.append(self._packer.pack(batch.frame(request)))
        self._waiting[request] = batch.answer

    async def _write(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                self._flush()
                frames, self._outbox = self._outbox, []
                for frame in frames:
                    await self._socket.send(frame)
        except asyncio.CancelledError:
            pass
        except Exception as error:
            self._fail(error)
            await self._socket.close()

    async def _read(self) -> None:
        error: Exception = Disconnected("the host closed it")
        try:
            async for packed in self._socket:
                if isinstance(packed, str):
                    raise WasmillError("the host sent text")
                self._take(msgpack.unpackb(packed))
        except Exception as broken:
            error = broken
        self._fail(error)
        self._writing.cancel()
        await self._socket.close()

    def _fail(self, error: Exception) -> None:
        """Nothing is answered any more: tell everybody who waits."""
        if self._closed is not None:
            return
        is_known = isinstance(error, (WebSocketException, WasmillError))
        reason = self._why or (str(error) if is_known else repr(error))
        self._closed = Disconnected(f"the connection is closed: {reason}")
        self._closed.__cause__ = error
        self._flush()
        for answer in list(self._waiting.values()):
            answer(self._closed)
        self._waiting.clear()
        for subscription in self._subscriptions.values():
            subscription._end(None if self._is_closing else self._closed)
        self._let_some_in()

    def _take(self, frame: Frame) -> None:
        (kind, said), = frame.items()
        if kind == "deliveries":
            subscription = self._subscriptions.get(said["subscription"])
            if subscription is not None:
                subscription._put(said["deliveries"])
        elif kind == "ended":
            self._end(said["subscription"], said["refusal"])
        elif kind == "refused":
            if said["request"] == 0:
                # The last that the host says.
                self._why = said["refusal"]["detail"]
            elif said["request"] in self._waiting:
                self._answer(said["request"], Refused.of_frame(said["refusal"]))
            else:
                self._end(said["request"], said["refusal"])
        elif kind in ("published", "settled"):
            self._answer(said["request"], said)
        elif kind == "closing":
            self._why = said["detail"]
        if self._queue:
            self._let_some_in()

    def _answer(self, request: int, said: Frame | WasmillError) -> None:
        answer = self._waiting.get(request)
        if answer is not None:
            # It waits on if what was said cannot be understood, for then the connection ends.
            answer(said)
            del self._waiting[request]

    def _end(self, name: int, why: Frame) -> None:
        subscription = self._subscriptions.pop(name, None)
        if subscription is not None:
            subscription._end(Refused.of_frame(why))
