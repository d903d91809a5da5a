"""CloudEvents 1.0: the host keeps an event's attributes as headers `ce-…`, and its data as the message's data.

A message that was published another way may be an event as one JSON object (structured mode).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from wasmill._failures import BadData


@dataclass(frozen=True, kw_only=True)
class CloudEvent:
    """An event: its attributes, and the data of one that was received."""

    id: str
    source: str
    type: str
    specversion: str = "1.0"
    subject: str | None = None
    time: datetime | None = None
    dataschema: str | None = None
    datacontenttype: str | None = None
    extensions: Mapping[str, str] = field(default_factory=dict)
    data: bytes = b""
    """The message's data, or of an event that is one JSON object what that has as `data` or `data_base64`."""

    def headers(self) -> list[tuple[str, str]]:
        """The headers that a message carries which is this event: `ctx.publish(…, headers=event.headers())`."""
        attributes = {"specversion": self.specversion, "id": self.id, "source": self.source, "type": self.type}
        time = None if self.time is None else self.time.isoformat()
        optional = {"subject": self.subject, "dataschema": self.dataschema, "time": time}
        attributes.update({name: value for name, value in optional.items() if value is not None})
        attributes.update(self.extensions)
        return [(f"ce-{name}", value) for name, value in attributes.items()]


def read(headers: Iterable[tuple[str, str]], content_type: str | None, data: bytes) -> CloudEvent | None:
    """The event that these headers carry; None when there is none, or a required attribute is missing."""
    attributes = {name.removeprefix("ce-"): value for name, value in headers if name.startswith("ce-")}
    return _event(attributes, content_type, data)


def is_structured(content_type: str | None) -> bool:
    """Whether data of this type is an event as one JSON object."""
    return _media_type(content_type) == "application/cloudevents+json"


def read_structured(event: Any) -> CloudEvent | None:
    """The event that is this JSON; None when it is none, or a required attribute is missing."""
    if not isinstance(event, dict):
        return None
    members = {name: value for name, value in event.items() if value is not None}
    data, encoded = members.pop("data", None), members.pop("data_base64", None)
    attributes = {name: _text(name, value) for name, value in members.items()}
    content_type = attributes.pop("datacontenttype", None)
    return _event(attributes, content_type, _data(data, content_type) if encoded is None else _decoded(encoded))


def _event(attributes: dict[str, str], content_type: str | None, data: bytes) -> CloudEvent | None:
    if not {"id", "source", "type", "specversion"} <= attributes.keys():
        return None
    return CloudEvent(
        id=attributes.pop("id"),
        source=attributes.pop("source"),
        type=attributes.pop("type"),
        specversion=attributes.pop("specversion"),
        subject=attributes.pop("subject", None),
        time=_time(attributes.pop("time", None)),
        dataschema=attributes.pop("dataschema", None),
        datacontenttype=content_type,
        extensions=attributes,
        data=data,
    )


def _text(name: str, value: Any) -> str:
    if isinstance(value, list | dict):
        raise BadData(f"the event's {name} is an array or an object")
    return value if isinstance(value, str) else json.dumps(value)


def _data(value: Any, content_type: str | None) -> bytes:
    """JSON stays JSON; data of another type is a JSON string around it."""
    if value is None:
        return b""
    media_type = _media_type(content_type)
    is_json = content_type is None or media_type == "application/json" or media_type.endswith("+json")
    is_text = isinstance(value, str) and not is_json
    text = value if is_text else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise BadData(f"the event's data is not text: {error}") from error


def _decoded(encoded: Any) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except (TypeError, ValueError) as error:
        raise BadData(f"the event's data_base64 is no base64: {error}") from error


def _media_type(content_type: str | None) -> str:
    return (content_type or "").partition(";")[0].strip().lower()


def _time(text: str | None) -> datetime | None:
    """RFC 3339; what is none is left out rather than to fail on an attribute that nobody may need."""
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError:
        return None
