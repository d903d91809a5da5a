"""The handler's durable state."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, overload

from wasmill._host import Host
from wasmill._shapes import shaped

T = TypeVar("T")


@dataclass(frozen=True)
class KeyPage:
    """At most 1,000 keys in ascending order; `next` is what to give as `after` for the next ones, None at the end."""

    keys: list[str]
    next: str | None


class State:
    """Durable keys and values of this handler, shared by all its deliveries and kept when it is replaced.

    What a delivery stores appears when it commits, all of it or none; the handler itself sees it at once. Keys are 1 to 255
    bytes, values at most 1 MiB. Values are bytes; text is stored as UTF-8.

    It can be used like a dict as far as that is true: `state["k"]`, `"k" in state`, `state["k"] = b"v"`, and `for key in
    state`, which reads page after page. It has no length, which would be to read all keys.
    """

    def __init__(self, host: Host) -> None:
        self._host = host

    @overload
    def get(self, key: str) -> bytes | None: ...

    @overload
    def get(self, key: str, default: T) -> bytes | T: ...

    def get(self, key: str, default: Any = None) -> Any:
        """The value, or `default` when there is none."""
        value = self._host.state_get(key)
        return default if value is None else value

    @overload
    def get_text(self, key: str) -> str | None: ...

    @overload
    def get_text(self, key: str, default: T) -> str | T: ...

    def get_text(self, key: str, default: Any = None) -> Any:
        """The value as text, or `default` when there is none."""
        value = self._host.state_get(key)
        return default if value is None else value.decode()

    def get_int(self, key: str, default: int = 0) -> int:
        """What `increment` counts. Reading it makes this delivery conflict with others that increment it."""
        value = self._host.state_get(key)
        return default if value is None else int(value)

    def get_json(self, key: str, default: Any = None, *, shape: Any = None) -> Any:
        """The value as JSON, or `default` when there is none; with a dataclass as `shape`, as that."""
        value = self._host.state_get(key)
        if value is None:
            return default
        loaded = json.loads(value)
        return loaded if shape is None else shaped(loaded, shape)

    def set(self, key: str, value: bytes | str) -> None:
        """Store it."""
        self._host.state_set(key, value.encode() if isinstance(value, str) else bytes(value))

    def set_json(self, key: str, value: Any) -> None:
        """Store it as JSON; a dataclass as an object."""
        self.set(key, to_json(value))

    def delete(self, key: str) -> None:
        """Forget it. A key that does not exist is no error."""
        self._host.state_delete(key)

    def increment(self, key: str, by: int = 1) -> None:
        """Add to a decimal integer; a missing key counts as 0.

        It answers nothing on purpose: increments that read nothing never conflict with each other.
        """
        self._host.state_increment(key, by)

    def keys(self, prefix: str = "") -> Iterator[str]:
        """All keys that begin with `prefix`, in ascending order, read page after page."""
        after: str | None = None
        while True:
            page = self.page(prefix, after)
            yield from page.keys
            if page.next is None:
                return
            after = page.next

    def page(self, prefix: str = "", after: str | None = None) -> KeyPage:
        """At most 1,000 keys that begin with `prefix`, from the first one after `after`."""
        return KeyPage(*self._host.state_list_keys(prefix, after))

    def __contains__(self, key: str) -> bool:
        return self._host.state_exists(key)

    def __getitem__(self, key: str) -> bytes:
        value = self._host.state_get(key)
        if value is None:
            raise KeyError(key)
        return value

    def __setitem__(self, key: str, value: bytes | str) -> None:
        self.set(key, value)

    def __iter__(self) -> Iterator[str]:
        return self.keys()


def to_json(value: Any) -> bytes:
    """As short as JSON can be said, in UTF-8. `NaN` and infinities, which JSON does not have, are a `ValueError`."""
    return json.dumps(value, default=_plain, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    raise TypeError(f"{type(value).__name__} is nothing that JSON has")
