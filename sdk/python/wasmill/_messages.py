"""What a handler is given."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn, TypeVar, overload

from wasmill._failures import BadData
from wasmill._shapes import Mismatch, shaped
from wasmill.cloudevents import CloudEvent, is_structured, read, read_structured

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Message:
    """What was published. It never changes."""

    id: str
    topic: str
    data: bytes
    key: str | None = None
    content_type: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    """In the order they were given; names are lower case and may repeat."""
    published_at: datetime
    """When the host accepted it, to a millisecond, in UTC."""

    @property
    def text(self) -> str:
        """The data as text. Data that is no UTF-8 is rejected (`BadData`)."""
        try:
            return self.data.decode()
        except UnicodeDecodeError as error:
            raise BadData(f"the data is not text: {error}") from error

    @overload
    def json(self) -> Any: ...

    @overload
    def json(self, shape: type[T]) -> T: ...

    def json(self, shape: Any = None) -> Any:
        """The data as JSON; with a dataclass (or `list[int]`, a `TypedDict` …) as that.

        Data that is no JSON, or of another shape, is rejected: `BadData`, which says where. Members that the dataclass does
        not have are ignored; those with a default may be missing.
        """
        try:
            value = json.loads(self.data, parse_constant=_no_json)
        except ValueError as error:
            raise BadData(f"the data is not JSON: {error}") from error
        except RecursionError as error:
            raise BadData("the data is not JSON: it is nested too deeply") from error
        try:
            return value if shape is None else shaped(value, shape)
        except Mismatch as mismatch:
            raise BadData(str(mismatch)) from mismatch

    def header(self, name: str, default: str | None = None) -> str | None:
        """The first value of this header."""
        return next(self.header_values(name), default)

    def header_values(self, name: str) -> Iterator[str]:
        """All values of this header."""
        wanted = name.lower()
        return (value for each, value in self.headers if each == wanted)

    @property
    def cloud_event(self) -> CloudEvent | None:
        """The CloudEvent that it is; None when it is none, or lacks a required attribute.

        The host keeps an event as headers and data. One that came another way, as one JSON object, is read too; `BadData` when
        that is broken.
        """
        if is_structured(self.content_type):
            return read_structured(self.json())
        return read(self.headers, self.content_type, self.data)


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One message for this handler, now."""

    message: Message
    queue: str
    """The queue it comes from."""
    sequence: int
    """Its place in that queue, from 1."""
    attempt: int
    """Which run it is, from 1. Deferred and interrupted runs are not counted."""
    max_attempts: int
    """How many attempts the consumer's policy allows."""


def _no_json(constant: str) -> NoReturn:
    """Python would take NaN and Infinity, and write them again, for others to fail on."""
    raise ValueError(f"{constant} is no JSON")
