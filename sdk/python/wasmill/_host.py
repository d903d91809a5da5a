"""What the SDK needs of a host: the component's imports, or what `wasmill.testing` has instead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol


class Refused(Exception):
    """The host does not do what it was asked to, and the handler may go on. `code` is the error's name in the contract."""

    code: ClassVar[str] = "refused"


class InvalidTopic(Refused):
    """A topic to publish to that is none: words with dots between, no wildcards, at most 255 bytes."""

    code = "invalid-topic"


class InvalidMessage(Refused):
    """A key, content type or headers that no message can have."""

    code = "invalid-message"


class InvalidKey(Refused):
    """A key of the state that is none: 1 to 255 bytes."""

    code = "invalid-key"


class TooLarge(Refused):
    """Data to publish, or a value to store, of more than `bytes_max` bytes."""

    code = "too-large"

    def __init__(self, bytes_max: int) -> None:
        super().__init__(f"it is larger than {bytes_max} bytes")
        self.bytes_max = bytes_max


class NotAnInteger(Refused):
    """A value that is to be incremented and is no decimal integer."""

    code = "not-an-integer"

    def __init__(self) -> None:
        super().__init__("the value is not a decimal integer")


class Unavailable(Refused):
    """The host could not read its store. The attempt will be run again and is not counted."""

    code = "unavailable"


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """A message to be published when the delivery commits."""

    topic: str
    data: bytes
    key: str | None
    content_type: str | None
    headers: tuple[tuple[str, str], ...]
    delay_ms: int | None
    expires_after_ms: int | None


class Host(Protocol):
    """The imports of a handler. Each raises `Refused` when the host refuses."""

    def publish(self, message: Outgoing) -> str: ...

    def state_get(self, key: str) -> bytes | None: ...

    def state_set(self, key: str, value: bytes) -> None: ...

    def state_delete(self, key: str) -> None: ...

    def state_exists(self, key: str) -> bool: ...

    def state_increment(self, key: str, delta: int) -> None: ...

    def state_list_keys(self, prefix: str, after: str | None) -> tuple[list[str], str | None]: ...

    def config_get(self, name: str) -> str | None: ...

    def config_all(self) -> list[tuple[str, str]]: ...
