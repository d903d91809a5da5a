"""What can go wrong."""

from __future__ import annotations


class WasmillError(Exception):
    """The base of what this package raises."""


class Refused(WasmillError):
    """The host refused it; nothing of it was done.

    ``code`` is one of the codes of the HTTP API, for example ``unroutable``; ``status`` the HTTP status that goes with it.
    """

    def __init__(self, code: str, status: int, detail: str) -> None:
        super().__init__(f"{detail} ({code})")
        self.code = code
        self.status = status
        self.detail = detail


class Disconnected(WasmillError):
    """The connection is closed. Whether what was asked is done is not known."""
