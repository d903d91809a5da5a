"""CloudEvents 1.0: the host keeps an event's attributes as headers `ce-…`, and its data as the message's data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class CloudEvent:
    """The attributes of an event. Its data is the message's."""

    id: str
    source: str
    type: str
    specversion: str = "1.0"
    subject: str | None = None
    time: datetime | None = None
    dataschema: str | None = None
    datacontenttype: str | None = None
    extensions: Mapping[str, str] = field(default_factory=dict)

    def headers(self) -> list[tuple[str, str]]:
        """The headers that a message carries which is this event: `ctx.publish(…, headers=event.headers())`."""
        attributes = {"specversion": self.specversion, "id": self.id, "source": self.source, "type": self.type}
        time = None if self.time is None else self.time.isoformat()
        optional = {"subject": self.subject, "dataschema": self.dataschema, "time": time}
        attributes.update({name: value for name, value in optional.items() if value is not None})
        attributes.update(self.extensions)
        return [(f"ce-{name}", value) for name, value in attributes.items()]


def read(headers: Iterable[tuple[str, str]], content_type: str | None) -> CloudEvent | None:
    """The event that these headers carry; None when there is none, or a required attribute is missing."""
    attributes = {name.removeprefix("ce-"): value for name, value in headers if name.startswith("ce-")}
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
    )


def _time(text: str | None) -> datetime | None:
    """RFC 3339; what is none is left out rather than to fail on an attribute that nobody may need."""
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError:
        return None
