"""Which functions are handlers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias, TypeVar

from wasmill._batches import Outcomes
from wasmill._context import BatchContext, Context
from wasmill._messages import Delivery, Message

Handler: TypeAlias = Callable[[Message, Context], None]
BatchHandler: TypeAlias = Callable[[Sequence[Delivery], BatchContext], Outcomes]

_H = TypeVar("_H", bound=Handler)
_B = TypeVar("_B", bound=BatchHandler)

handlers: list[Handler] = []
batch_handlers: list[BatchHandler] = []


def handler(function: _H) -> _H:
    """The function that handles a delivery. It stays a plain function, which unit tests call."""
    handlers.append(function)
    return function


def batch_handler(function: _B) -> _B:
    """The function that handles many deliveries in one call, at most 100 and 4 MiB, in the order of their queue.

    It returns nothing when all succeeded, or one outcome for each delivery: None or a `Failure`; `wasmill.each` makes that
    list. Whatever it raises is the outcome of all of them, and a list of another length is a retry of all. When some fail, all
    that the call published and stored is void and the host calls again with the others: a delivery may be seen several times
    in one attempt.
    """
    batch_handlers.append(function)
    return function


def problem() -> str | None:
    """Why what was imported is no component: it must have one handler."""
    names = [f"{function.__module__}.{function.__name__}" for function in [*handlers, *batch_handlers]]
    if not names:
        return "no function is a handler; write @wasmill.handler above the one that is"
    return None if len(names) == 1 else f"a component has one handler, and here are {len(names)}: {', '.join(names)}"
