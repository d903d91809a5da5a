"""What can go wrong."""

from __future__ import annotations

from typing import Any


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

    @classmethod
    def of_frame(cls, frame: dict[str, Any]) -> Refused:
        return cls(frame["code"], frame["status"], frame["detail"])


class TooLarge(WasmillError):
    """The message is larger than the frames that this host reads. Nothing was sent."""

    def __init__(self, size: int, size_max: int) -> None:
        super().__init__(f"the message takes {size} bytes in a frame; this host reads at most {size_max}")
        self.size = size
        self.size_max = size_max


class Disconnected(WasmillError):
    """The connection is closed. Whether what was asked is done is not known."""
