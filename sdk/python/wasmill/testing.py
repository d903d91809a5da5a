"""Unit tests of handlers, as plain Python: a context in memory instead of a host.

    def test_a_strong_quake_is_published() -> None:
        ctx = wasmill.testing.context(config={"magnitude-min": "6"})
        on_quake(wasmill.testing.message("quakes", json={"magnitude": 6.1, "place": "Hualien"}), ctx)
        assert ctx.published[0].json() == {"magnitude": 6.1, "place": "Hualien"}

What the host refuses by its form is refused here too. Nothing is durable, there are no commits and no limits on what a
delivery may use: for those, `wasmill test` runs the component on the real engine and store.
"""

from __future__ import annotations

import contextlib
import json as json_
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

import wasmill.http as http_
from wasmill._context import BatchContext, Context
from wasmill._host import InvalidKey, InvalidMessage, InvalidTopic, NotAnInteger, Outgoing, TooLarge
from wasmill._messages import Delivery, Message
from wasmill._state import to_json

NAME_BYTES_MAX = 255
DATA_BYTES_MAX = STATE_VALUE_BYTES_MAX = 1024 * 1024
HEADERS_MAX = 64
HEADER_BYTES_MAX = 16 * 1024
KEYS_PAGE_MAX = 1000
INTEGER_MAX = 2**63 - 1
NEW_YEAR = datetime(2026, 1, 1, tzinfo=timezone.utc)


class Published(Outgoing):
    """A message that the handler published."""

    def json(self) -> Any:
        """Its data as JSON."""
        return json_.loads(self.data)

    @property
    def text(self) -> str:
        """Its data as text."""
        return self.data.decode()


class MemoryHost:
    """A host in memory."""

    def __init__(self, config: Mapping[str, str], secrets: Mapping[str, str], state: Mapping[str, bytes]) -> None:
        self.configured = dict(config)
        self.secrets = dict(secrets)
        self.stored = dict(state)
        self.published: list[Published] = []

    def publish(self, message: Outgoing) -> str:
        _check_topic(message.topic)
        if message.key is not None and not 1 <= len(message.key.encode()) <= NAME_BYTES_MAX:
            raise InvalidMessage("the key must be 1 to 255 bytes long")
        header_bytes = sum(len(name.encode()) + len(value.encode()) for name, value in message.headers)
        if len(message.headers) > HEADERS_MAX or header_bytes > HEADER_BYTES_MAX:
            raise InvalidMessage("a message has at most 64 headers, 16 KiB together")
        if len(message.data) > DATA_BYTES_MAX:
            raise TooLarge(DATA_BYTES_MAX)
        headers = tuple((name.lower(), value) for name, value in message.headers)
        self.published.append(Published(**{**vars(message), "headers": headers}))
        return f"test-message/{len(self.published)}"

    def state_get(self, key: str) -> bytes | None:
        return self.stored.get(_checked(key))

    def state_set(self, key: str, value: bytes) -> None:
        if len(value) > STATE_VALUE_BYTES_MAX:
            raise TooLarge(STATE_VALUE_BYTES_MAX)
        self.stored[_checked(key)] = value

    def state_delete(self, key: str) -> None:
        self.stored.pop(_checked(key), None)

    def state_exists(self, key: str) -> bool:
        return _checked(key) in self.stored

    def state_increment(self, key: str, delta: int) -> None:
        value = self.stored.get(_checked(key), b"0")
        if not value.removeprefix(b"-").isdigit():
            raise NotAnInteger
        self.stored[key] = str(max(-INTEGER_MAX - 1, min(INTEGER_MAX, int(value) + delta))).encode()

    def state_list_keys(self, prefix: str, after: str | None) -> tuple[list[str], str | None]:
        start = (after or "").encode()
        found = [key for key in sorted(self.stored, key=str.encode) if key.startswith(prefix)]
        keys = [key for key in found if after is None or key.encode() > start]
        return keys[:KEYS_PAGE_MAX], keys[KEYS_PAGE_MAX - 1] if len(keys) > KEYS_PAGE_MAX else None

    def config_get(self, name: str) -> str | None:
        return self.secrets.get(name, self.configured.get(name))

    def config_all(self) -> list[tuple[str, str]]:
        return sorted(self.configured.items())


class _Observed(BatchContext):
    """What a test reads of a context."""

    _host: MemoryHost

    @property
    def published(self) -> list[Published]:
        """All that the handler published, in order."""
        return self._host.published

    @property
    def stored(self) -> dict[str, bytes]:
        """All keys and values of the state."""
        return self._host.stored


class TestContext(_Observed, Context):
    """A context for a handler, in memory."""

    __test__ = False  # it is no test, whatever pytest thinks of its name


class TestBatchContext(_Observed):
    """A context for a batch handler, in memory."""

    __test__ = False


def context(
    message: Message | None = None,
    *,
    config: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
    state: Mapping[str, bytes | str] | None = None,
    attempt: int = 1,
    max_attempts: int = 5,
) -> TestContext:
    """A context for one call of a handler, or for several, which then share state and what is published."""
    given = delivery(message or _message("test", b""), attempt=attempt, max_attempts=max_attempts)
    return TestContext(_memory(config, secrets, state), given)


def batch_context(
    *,
    config: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
    state: Mapping[str, bytes | str] | None = None,
) -> TestBatchContext:
    """A context for one call of a batch handler."""
    return TestBatchContext(_memory(config, secrets, state))


def message(
    topic: str,
    data: bytes = b"",
    *,
    json: Any = None,
    text: str | None = None,
    id: str = "test",
    key: str | None = None,
    content_type: str | None = None,
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    published_at: datetime = NEW_YEAR,
) -> Message:
    """A message as the host would give it."""
    if json is not None:
        data, content_type = to_json(json), content_type or "application/json"
    elif text is not None:
        data, content_type = text.encode(), content_type or "text/plain"
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    lower = tuple((name.lower(), value) for name, value in pairs)
    return _message(topic, data, id=id, key=key, content_type=content_type, headers=lower, published_at=published_at)


def delivery(message: Message, *, queue: str = "test", sequence: int = 1, attempt: int = 1, max_attempts: int = 5) -> Delivery:
    """A delivery of that message."""
    return Delivery(message=message, queue=queue, sequence=sequence, attempt=attempt, max_attempts=max_attempts)


@contextlib.contextmanager
def http(answer: Callable[[http_.Request], http_.Response]) -> Iterator[list[http_.Request]]:
    """What `wasmill.http.request` gets inside of `with`; gives a list of the requests that were sent."""
    sent: list[http_.Request] = []

    def send(request: http_.Request) -> http_.Response:
        sent.append(request)
        return answer(request)

    before, http_.send = http_.send, send
    try:
        yield sent
    finally:
        http_.send = before


def _message(topic: str, data: bytes, **fields: Any) -> Message:
    defaults = {"id": "test", "published_at": NEW_YEAR}
    return Message(topic=topic, data=data, **{**defaults, **fields})


def _memory(
    config: Mapping[str, str] | None, secrets: Mapping[str, str] | None, state: Mapping[str, bytes | str] | None
) -> MemoryHost:
    stored = {key: value.encode() if isinstance(value, str) else value for key, value in (state or {}).items()}
    return MemoryHost(config or {}, secrets or {}, stored)


def _checked(key: str) -> str:
    if not 1 <= len(key.encode()) <= NAME_BYTES_MAX:
        raise InvalidKey("it must be 1 to 255 bytes long")
    return key


def _check_topic(topic: str) -> None:
    if len(topic.encode()) > NAME_BYTES_MAX:
        raise InvalidTopic("it is longer than 255 bytes")
    if not all(topic.split(".")):
        raise InvalidTopic("it has an empty word; give words with dots between, for example orders.created")
    if any(letter.isspace() or not letter.isprintable() or letter in "*#" for letter in topic):
        raise InvalidTopic("it holds white space, a control character or a wildcard")
    if topic.split(".")[0] == "$sys":
        raise InvalidTopic("topics under $sys are the host's own")
