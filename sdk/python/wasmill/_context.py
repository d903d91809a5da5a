"""What a handler can do besides reading its message."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from wasmill._config import Config
from wasmill._failures import Duration, milliseconds
from wasmill._host import Host, Outgoing
from wasmill._messages import Delivery, Message
from wasmill._state import State, to_json

Headers = Mapping[str, str] | Iterable[tuple[str, str]]

_NOTHING: Final[Any] = object()


class BatchContext:
    """What a handler can do. What it publishes and stores belongs to the call as a whole."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.state = State(host)
        self.config = Config(host)

    def publish(
        self,
        topic: str,
        data: bytes = b"",
        *,
        json: Any = _NOTHING,
        text: str | None = None,
        key: str | None = None,
        content_type: str | None = None,
        headers: Headers = (),
        delay: Duration | None = None,
        expires_after: Duration | None = None,
    ) -> str:
        """Publish a message when, and only when, the delivery commits. Answers with its id, the same in each attempt.

        The data is one of `data`, `json` (content type `application/json`; a dataclass is an object) and `text`
        (`text/plain`). `delay` holds the message back, at most 10 years; after `expires_after` nobody handles it any more.

        Raises `InvalidTopic`, `InvalidMessage` or `TooLarge` for what the host could never queue.
        """
        if sum((bool(data), json is not _NOTHING, text is not None)) > 1:
            raise TypeError("publish takes one of data, json and text")
        if json is not _NOTHING:
            data, content_type = to_json(json), content_type or "application/json"
        elif text is not None:
            data, content_type = text.encode(), content_type or "text/plain"
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        return self._host.publish(
            Outgoing(
                topic=topic,
                data=bytes(data),
                key=key,
                content_type=content_type,
                headers=tuple((str(name), str(value)) for name, value in pairs),
                delay_ms=None if delay is None else milliseconds(delay),
                expires_after_ms=None if expires_after is None else milliseconds(expires_after),
            )
        )


class Context(BatchContext):
    """What a handler of one delivery can do, and which delivery it is."""

    def __init__(self, host: Host, delivery: Delivery) -> None:
        super().__init__(host)
        self.delivery = delivery

    @property
    def message(self) -> Message:
        """The message that was delivered."""
        return self.delivery.message

    @property
    def is_last_attempt(self) -> bool:
        """Whether a further `Retry` puts the delivery in quarantine."""
        return self.delivery.attempt >= self.delivery.max_attempts
