"""Messages that leave together: how they become frames, and who is told what became of each."""

from __future__ import annotations

import asyncio
from typing import Any, Callable, Iterable, Iterator, NamedTuple, Union

from ._errors import Refused, TooLarge, WasmillError
from ._messages import Frame, Outgoing, Published

MESSAGES_MAX = 1_000
"""Messages of one frame."""
FRAME_BYTES = 256 * 1024
"""Messages that come together go into frames of about so many bytes, unless one alone is larger."""
ENVELOPE_BYTES = 64
"""What a frame has besides its messages, at most. What they all say the same of is not besides: they say it no more."""

DURABLE = Published(duplicate=False)
DUPLICATE = Published(duplicate=True)

Answer = Union[Published, WasmillError]
"""What became of a message."""
One = asyncio.Future[Published]
"""Who waits for one message."""


class Many(NamedTuple):
    """Who waits for messages that are next to each other in a frame."""

    length: int
    answers: asyncio.Future[list[Answer]]


class Group(NamedTuple):
    """Messages that go into one frame, and their bytes in it."""

    messages: list[Frame]
    size: int


class Batch:
    """Messages that become one frame, and who waits for them, in the same order."""

    def __init__(self) -> None:
        self._messages: list[Frame] = []
        self._size = 0
        self._replies: list[One | Many] = []

    def __len__(self) -> int:
        return len(self._messages)

    def has_room(self, group: Group) -> bool:
        return fit(len(self) + len(group.messages), self._size + group.size)

    def add(self, group: Group, reply: One | Many) -> None:
        self._messages += group.messages
        self._size += group.size
        self._replies.append(reply)

    def frame(self, request: int) -> Frame:
        """To be taken once: what the frame says for all messages they say no more."""
        said: Frame = {"request": request}
        # What goes to a queue by name takes no topic from the frame.
        is_to_queue = any("queue" in message for message in self._messages)
        for name in ("content_type",) if is_to_queue else ("topic", "content_type"):
            value = said_by_all(self._messages, name)
            if value is not None:
                said[name] = value
        return {"publish": {**said, "messages": self._messages}}

    def answer(self, said: Frame | WasmillError) -> None:
        """Tell everybody who waits. Whoever does not wait any more is passed over."""
        answers = iter(self._answers(said))
        for reply in self._replies:
            if isinstance(reply, Many):
                several = [next(answers) for _ in range(reply.length)]
                if not reply.answers.done():
                    reply.answers.set_result(several)
                continue
            answer = next(answers)
            if reply.done():
                continue
            if isinstance(answer, WasmillError):
                reply.set_exception(answer)
            else:
                reply.set_result(answer)

    def _answers(self, said: Frame | WasmillError) -> list[Answer]:
        if isinstance(said, WasmillError):
            return [said] * len(self)
        answers: list[Answer] = [DURABLE] * len(self)
        for index, exception in said.get("exceptions", ()):
            answers[index] = DUPLICATE if exception == "duplicate" else refusal(exception) or DURABLE
        return answers


def fit(count: int, size: int) -> bool:
    """Whether so many messages of so many bytes go into one frame."""
    return count <= MESSAGES_MAX and size <= FRAME_BYTES


def said_by_all(messages: list[Frame], name: str) -> Any:
    """What several messages all say the same of is said once, by the frame."""
    said = {message.get(name) for message in messages}
    value = said.pop()
    if said or value is None or len(messages) < 2:
        return None
    for message in messages:
        del message[name]
    return value


def frames(messages: Iterable[Outgoing], pack: Callable[[Frame], bytes]) -> Iterator[tuple[Frame, int]]:
    """Each message as it is sent, and its bytes. Says of what cannot be sent which message it is."""
    for index, message in enumerate(messages):
        if not isinstance(message, Outgoing):
            raise TypeError(f"message {index}: it is an Outgoing, not {type(message).__name__}")
        try:
            frame = message.frame()
            size = len(pack(frame))
        except TypeError as error:
            raise TypeError(f"message {index}: {error}") from error
        except ValueError as error:
            raise ValueError(f"message {index}: {error}") from error
        yield frame, size


def groups(messages: Iterable[tuple[Frame, int]], frame_bytes_max: int) -> Iterator[Group | TooLarge]:
    """Messages as they go into frames: some that fit into one, or why one fits into none."""
    together: list[Frame] = []
    together_size = 0
    for message, size in messages:
        error = too_large(size, frame_bytes_max)
        if together and (error or not fit(len(together) + 1, together_size + size)):
            yield Group(together, together_size)
            together, together_size = [], 0
        if error:
            yield error
            continue
        together.append(message)
        together_size += size
    if together:
        yield Group(together, together_size)


def too_large(size: int, frame_bytes_max: int) -> TooLarge | None:
    """Why a message of so many bytes fits into no frame, if it does not."""
    size += ENVELOPE_BYTES
    return TooLarge(size, frame_bytes_max) if size > frame_bytes_max else None


def refusal(exception: Any) -> Refused | None:
    """The refusal that one of many was answered with, if it was."""
    if isinstance(exception, dict) and "refused" in exception:
        return Refused.of_frame(exception["refused"])
    return None
