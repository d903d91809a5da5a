"""The other side of the SDK: a component's exports and imports, in what componentize-py generates of the WIT files.

Only the module that `python -m wasmill build` makes imports this one.
"""

from __future__ import annotations

import importlib
import linecache
import logging
import sys
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import TypeVar

from componentize_py_types import Err, Ok, Result
from wit_world.imports import producer, state, store, types

from wasmill import _host
from wasmill._batches import one_each, outcome
from wasmill._context import BatchContext, Context
from wasmill._failures import Defer, Failure, Reject, Retry, Throttle
from wasmill._handlers import batch_handlers, handlers, problem
from wasmill._messages import Delivery, Message

T = TypeVar("T")

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Handler:
    """The export `handler`."""

    def handle(self, delivery: types.Delivery) -> None:
        given = _delivery(delivery)
        failure = outcome(lambda: handlers[0](given.message, Context(_Imports(), given)))
        if failure is not None:
            raise Err(_failure(failure))


class BatchHandler:
    """The export `batch-handler`."""

    def handle_batch(self, deliveries: list[types.Delivery]) -> list[Result[None, types.Failure]]:
        given = [_delivery(delivery) for delivery in deliveries]
        said: list[Failure | None] = []
        failure = outcome(lambda: said.extend(one_each(batch_handlers[0](given, BatchContext(_Imports())), len(given))))
        if failure is not None:
            return [Err(_failure(failure)) for _ in given]
        return [Ok(None) if failure is None else Err(_failure(failure)) for failure in said]


def ready() -> None:
    """The last step of a component's making, whose memory is kept as it is then."""
    wrong = problem()
    if wrong is not None:
        raise SystemExit(wrong)
    # What the standard library imports when it is called, and by then it is too late.
    importlib.import_module("_strptime")
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    for module in list(sys.modules.values()):
        _keep_source(getattr(module, "__file__", None))


def _keep_source(file: str | None) -> None:
    """The lines of the handler's own modules, so that a traceback shows them: a component has no files."""
    if file is not None and file.endswith(".py") and not file.startswith(("/python", "/world", "/bundled")):
        lines = linecache.getlines(file)
        linecache.cache[file] = (sum(map(len, lines)), None, lines, file)


def _delivery(delivery: types.Delivery) -> Delivery:
    message = delivery.message
    return Delivery(
        message=Message(
            id=message.id,
            topic=message.topic,
            data=message.data,
            key=message.key,
            content_type=message.content_type,
            headers=tuple(message.headers),
            published_at=EPOCH + timedelta(milliseconds=message.published_at),
        ),
        queue=delivery.queue,
        sequence=delivery.sequence,
        attempt=delivery.attempt,
        max_attempts=delivery.max_attempts,
    )


def _failure(failure: Failure) -> types.Failure:
    match failure:
        case Defer():
            return types.Failure_Defer(failure.after_ms)
        case Throttle():
            return types.Failure_Throttle(failure.after_ms)
        case Reject():
            return types.Failure_Reject(failure.reason)
        case Retry():
            return types.Failure_Retry(types.RetryRequest(failure.reason, failure.after_ms))
        case _:
            return types.Failure_Retry(types.RetryRequest(str(failure), None))


class _Imports:
    """A host by the component's imports."""

    def publish(self, message: _host.Outgoing) -> str:
        outgoing = producer.Outgoing(
            topic=message.topic,
            key=message.key,
            content_type=message.content_type,
            headers=list(message.headers),
            data=message.data,
            delay=message.delay_ms,
            expires_after=message.expires_after_ms,
        )
        return _asked(lambda: producer.publish(outgoing))

    def state_get(self, key: str) -> bytes | None:
        return _asked(lambda: state.get(key))

    def state_set(self, key: str, value: bytes) -> None:
        _asked(lambda: state.set(key, value))

    def state_delete(self, key: str) -> None:
        _asked(lambda: state.delete(key))

    def state_exists(self, key: str) -> bool:
        return _asked(lambda: state.exists(key))

    def state_increment(self, key: str, delta: int) -> None:
        _asked(lambda: state.increment(key, delta))

    def state_list_keys(self, prefix: str, after: str | None) -> tuple[list[str], str | None]:
        page = _asked(lambda: state.list_keys(prefix, after))
        return page.keys, page.next

    def config_get(self, name: str) -> str | None:
        return _asked(lambda: store.get(name))

    def config_all(self) -> list[tuple[str, str]]:
        return _asked(lambda: store.get_all())


def _asked(ask: Callable[[], T]) -> T:
    try:
        return ask()
    except Err as error:
        raise _refusal(error.value) from None


def _refusal(said: object) -> _host.Refused:
    match said:
        case producer.PublishError_InvalidTopic(problem):
            return _host.InvalidTopic(problem)
        case producer.PublishError_InvalidMessage(problem):
            return _host.InvalidMessage(problem)
        case producer.PublishError_TooLarge(bytes_max) | state.StateError_TooLarge(bytes_max):
            return _host.TooLarge(bytes_max)
        case state.StateError_InvalidKey(problem):
            return _host.InvalidKey(problem)
        case state.StateError_NotAnInteger():
            return _host.NotAnInteger()
        case state.StateError_Unavailable(problem) | store.Error_Upstream(problem) | store.Error_Io(problem):
            return _host.Unavailable(problem)
        case _:
            return _host.Refused(str(said))
