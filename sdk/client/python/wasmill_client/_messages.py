"""What is published, taken and settled."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any, Union

Frame = dict[str, Any]


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
