"""Handlers for Wasmill in Python.

A handler is a function. It is called once for each delivery::

    import wasmill

    @wasmill.handler
    def on_quake(message: wasmill.Message, ctx: wasmill.Context) -> None:
        quake = message.json()
        ctx.state.increment("seen")
        if quake["magnitude"] >= ctx.config.float("magnitude-min", 5.0):
            ctx.publish("alerts", json=quake, key=quake["place"])

When it returns, the delivery is done, with everything it published and stored, in one commit. When it raises, all of that is
void: `Retry`, `Defer`, `Throttle` and `Reject` say what comes next, any other exception is a retry.

`python -m wasmill build MODULE -o FILE.wasm` makes the component.
"""

from wasmill._batches import each
from wasmill._config import Config, ConfigError
from wasmill._context import BatchContext, Context
from wasmill._failures import BadData, Defer, Failure, Reject, Retry, Throttle
from wasmill._handlers import batch_handler, handler
from wasmill._host import InvalidKey, InvalidMessage, InvalidTopic, NotAnInteger, Refused, TooLarge, Unavailable
from wasmill._messages import Delivery, Message
from wasmill._state import KeyPage, State
from wasmill.cloudevents import CloudEvent

__all__ = [
    "BadData",
    "BatchContext",
    "CloudEvent",
    "Config",
    "ConfigError",
    "Context",
    "Defer",
    "Delivery",
    "Failure",
    "InvalidKey",
    "InvalidMessage",
    "InvalidTopic",
    "KeyPage",
    "Message",
    "NotAnInteger",
    "Refused",
    "Reject",
    "Retry",
    "State",
    "Throttle",
    "TooLarge",
    "Unavailable",
    "batch_handler",
    "each",
    "handler",
]
