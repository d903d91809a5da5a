"""What is published, taken and settled."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
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
        return cls(headers=headers, **frame)


@dataclass(frozen=True)
class Nack:
    """Try again, after so long or after the consumer's backoff. Burns an attempt."""

    reason: str = ""
    after: timedelta | None = None

    def frame(self) -> Frame:
        after = {} if self.after is None else {"after_ms": ms(self.after)}
        return {"nack": {"reason": self.reason, **after}}


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
        return {"reject": {"reason": self.reason}}


Failure = Union[Nack, Defer, Reject]


def ms(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)
