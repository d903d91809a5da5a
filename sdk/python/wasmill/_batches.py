"""Outcomes of many deliveries."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import TypeAlias

from wasmill._failures import Failure, Retry
from wasmill._messages import Delivery

Outcomes: TypeAlias = Sequence[Failure | None] | None


def each(deliveries: Sequence[Delivery], function: Callable[[Delivery], None]) -> list[Failure | None]:
    """Call the function with each delivery, and give back what became of each."""
    return [outcome(partial(function, delivery)) for delivery in deliveries]


def one_each(outcomes: Outcomes, count: int) -> Sequence[Failure | None]:
    """What the handler returned for so many deliveries; nothing at all means that all succeeded."""
    if outcomes is None:
        return [None] * count
    if len(outcomes) != count:
        raise Retry(f"the handler returned {len(outcomes)} outcomes for {count} deliveries; return None, or one for each")
    return outcomes


def outcome(call: Callable[[], None]) -> Failure | None:
    """What a call comes to. An exception that is no `Failure` is a retry, with its traceback in the log.

    Running out of memory is not caught: the host has a word of its own for it, and ends the instance.
    """
    try:
        call()
    except Failure as failure:
        return failure
    except MemoryError:
        raise
    except Exception as error:
        traceback.print_exception(error.with_traceback(_below_the_sdk(error.__traceback__)))
        return Retry(f"{type(error).__name__}: {error}")
    return None


def _below_the_sdk(trace: TracebackType | None) -> TracebackType | None:
    """Without the calls that led to the handler, which are the same in each traceback."""
    while trace is not None and trace.tb_next is not None and trace.tb_frame.f_globals["__name__"].startswith("wasmill."):
        trace = trace.tb_next
    return trace
