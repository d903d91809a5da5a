"""What a handler raises when a delivery does not succeed."""

from __future__ import annotations

from datetime import timedelta
from typing import TypeAlias

Duration: TypeAlias = timedelta | float
"""A `timedelta`, or a number of seconds."""


def milliseconds(duration: Duration) -> int:
    """The duration as the host wants it, rounded to a millisecond. A negative one is a `ValueError`."""
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else float(duration)
    if not seconds >= 0:
        raise ValueError(f"a duration must not be negative: {duration}")
    return round(seconds * 1000)


class Failure(Exception):
    """Why a delivery did not succeed. What the handler published and stored in this attempt is void."""


class Retry(Failure):
    """Something passing: try again later. Uses up an attempt.

    `reason` is kept with the attempt, up to 4 KiB. `after` is how long to wait at least, up to 7 days; without it the
    consumer's backoff decides.
    """

    def __init__(self, reason: str, *, after: Duration | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after_ms = None if after is None else milliseconds(after)


class Defer(Failure):
    """Not now: try again after so long. Uses up no attempt."""

    def __init__(self, after: Duration) -> None:
        super().__init__(f"again after {after}")
        self.after_ms = milliseconds(after)


class Throttle(Failure):
    """Not now, and nothing else of this message's key either, for so long. Uses up no attempt.

    Without a key, or when the consumer keeps no order by key, the consumer takes nothing at all for so long.
    """

    def __init__(self, after: Duration) -> None:
        super().__init__(f"nothing of this key for {after}")
        self.after_ms = milliseconds(after)


class Reject(Failure):
    """It can never succeed: put it in quarantine at once, with this reason (up to 4 KiB)."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BadData(Reject):
    """A message's data is not what it was read as: no UTF-8, no JSON, or JSON of another shape."""
