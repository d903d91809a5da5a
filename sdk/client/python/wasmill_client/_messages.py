"""What is published, taken and settled."""

from __future__ import annotations

import json
from dataclasses import KW_ONLY, dataclass, field, fields
from datetime import timedelta
from typing import Any, Mapping, Sequence, Union

Frame = dict[str, Any]


@dataclass(slots=True)
class Outgoing:
    """A message to publish with :meth:`Client.publish_all`; what is wrong with it is said there.

    It goes to whatever queues bind ``topic``, or with ``topic=None`` to ``queue`` and no other.
    """

    topic: str | None
    data: bytes | str = b""
    _: KW_ONLY
    queue: str | None = None
    id: str | None = None
    """At most 255 bytes. Publishing the same id again within the host's window adds nothing."""
    key: str | None = None
    """Messages with the same key belong together. At most 255 bytes."""
    content_type: str | None = None
    """The media type of the data."""
    headers: Mapping[str, str] | Sequence[tuple[str, str]] = ()
    """At most 64, 16 KiB together."""
    delay: timedelta | None = None
    """Hold it back for so long, in whole milliseconds, at most 10 years."""
    expires_after: timedelta | None = None
    """It is of no use after so long, in whole milliseconds."""

    def frame(self) -> Frame:
        data = self.data
        if not isinstance(data, (str, bytes, bytearray, memoryview)):
            raise TypeError(f"data is bytes or a str, not {type(data).__name__}")
        frame: Frame = {"data": data.encode() if isinstance(data, str) else bytes(data)}
        for name in ("topic", "queue", "id", "key", "content_type"):
            value = getattr(self, name)
            if value is not None:
                frame[name] = text(name, value)
        if self.headers:
            # An iterator would be empty when the message is published again.
            if not isinstance(self.headers, (Mapping, Sequence)):
                raise TypeError(f"headers are a mapping or a sequence of pairs, not {type(self.headers).__name__}")
            pairs = self.headers.items() if isinstance(self.headers, Mapping) else self.headers
            frame["headers"] = [(text("a header", name), text("a header", value)) for name, value in pairs]
        if self.delay is not None:
            frame["delay_ms"] = ms(self.delay)
        if self.expires_after is not None:
            frame["expires_after_ms"] = ms(self.expires_after)
        return frame


@dataclass(frozen=True)
class Published:
    """A message is durable."""

    duplicate: bool
    """Whether the same id was published lately, so that nothing was added now."""


@dataclass(frozen=True)
class Delivery:
    """A message that was leased."""

    sequence: int
    fence: int
    attempt: int
    lease_until_ms: int
    id: str
    topic: str
    published_at_ms: int
    data: bytes
    key: str | None = None
    content_type: str | None = None
    headers: list[tuple[str, str]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The data, which must be UTF-8."""
        return self.data.decode()

    def json(self) -> Any:
        """The data, which must be JSON."""
        return json.loads(self.data)

    @classmethod
    def of_frame(cls, frame: Frame) -> Delivery:
        headers = [(name, value) for name, value in frame.pop("headers", ())]
        try:
            return cls(headers=headers, **frame)
        except TypeError:
            # A newer host says more.
            known = {field.name for field in fields(cls)}
            return cls(headers=headers, **{name: value for name, value in frame.items() if name in known})


@dataclass(frozen=True)
class Nack:
    """Try again, after so long or after the consumer's backoff. Burns an attempt."""

    reason: str = ""
    after: timedelta | None = None

    def frame(self) -> Frame:
        after = {} if self.after is None else {"after_ms": ms(self.after)}
        return {"nack": {"reason": text("a reason", self.reason), **after}}


@dataclass(frozen=True)
class Defer:
    """Not now; again after so long. Burns no attempt."""

    after: timedelta

    def frame(self) -> Frame:
        return {"defer": {"after_ms": ms(self.after)}}


@dataclass(frozen=True)
class Reject:
    """It can never succeed: to quarantine."""

    reason: str

    def frame(self) -> Frame:
        return {"reject": {"reason": text("a reason", self.reason)}}


Failure = Union[Nack, Defer, Reject]


def ms(duration: timedelta) -> int:
    if not isinstance(duration, timedelta):
        raise TypeError(f"a duration is a timedelta, not {type(duration).__name__}")
    if duration < timedelta(0):
        raise ValueError(f"a duration is not negative, and this one is {duration}")
    return duration // timedelta(milliseconds=1)


def text(what: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what} is a str, not {type(value).__name__}")
    return value
