"""HTTP requests to where the operator lets the handler go.

    answer = wasmill.http.request("POST", "https://api.example.com/notes", json={"place": place})
    if answer.status == 429:
        raise wasmill.Throttle(answer.retry_after() or 30)
    answer.raise_for_status()

A component imports `wasi:http` only when its modules import this one.
"""

from __future__ import annotations

import json as json_
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from wasmill._failures import Duration, milliseconds
from wasmill._state import to_json


class HttpError(Exception):
    """There is no answer: the request was denied, the server is away, it took too long. Uncaught it is a retry."""


class StatusError(HttpError):
    """`raise_for_status` met a status of 400 or more."""

    def __init__(self, response: Response) -> None:
        super().__init__(f"the server answered with status {response.status}")
        self.response = response


@dataclass(frozen=True)
class Request:
    """What is sent."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    timeout_ms: int | None = None


@dataclass(frozen=True)
class Response:
    """What was answered."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    """Names are lower case."""
    body: bytes = b""

    @property
    def text(self) -> str:
        """The body as text; what is no UTF-8 in it is replaced."""
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """The body as JSON. A `ValueError` when it is none, which uncaught is a retry: it is not the message's fault."""
        return json_.loads(self.body)

    def header(self, name: str) -> str | None:
        """The first value of this header."""
        return next((value for each, value in self.headers if each == name.lower()), None)

    def retry_after(self) -> float | None:
        """The header `retry-after` in seconds; None when it is missing or a date."""
        value = self.header("retry-after") or ""
        return float(value) if value.isdecimal() else None

    def raise_for_status(self) -> None:
        """Raise `StatusError` when the status is 400 or more."""
        if self.status >= 400:
            raise StatusError(self)


def _no_network(_: Request) -> Response:
    raise HttpError("there is no network outside of a component; in unit tests, use wasmill.testing.http")


send: Callable[[Request], Response] = _no_network
"""How a request is sent: by the component's imports, or by a unit test."""


def request(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    json: Any = None,
    text: str | None = None,
    body: bytes = b"",
    timeout: Duration | None = None,
) -> Response:
    """Send a request and wait for the whole answer. `timeout` bounds the wait for its first byte.

    The body is one of `json`, `text` and `body`. Raises `HttpError` when there is no answer; a failing status is an answer.
    """
    pairs = [(str(name).lower(), str(value)) for name, value in _pairs(headers)]
    if sum((bool(body), json is not None, text is not None)) > 1:
        raise TypeError("request takes one of json, text and body")
    if json is not None:
        body, media_type = to_json(json), "application/json"
    elif text is not None:
        body, media_type = text.encode(), "text/plain; charset=utf-8"
    else:
        media_type = None
    if media_type is not None and all(name != "content-type" for name, _ in pairs):
        pairs.append(("content-type", media_type))
    return send(Request(method.upper(), url, tuple(pairs), body, None if timeout is None else milliseconds(timeout)))


def _pairs(headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    return headers.items() if isinstance(headers, Mapping) else headers
