"""The conformance suite's handler: it does what the topic says."""

import os
import secrets
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NotRequired, TypedDict

import wasmill
import wasmill.http
from wasmill import Context, Message


class Publish(TypedDict):
    topic: str
    key: NotRequired[str]
    contentType: NotRequired[str]
    headers: NotRequired[list[list[str]]]
    text: str
    delayMs: NotRequired[int]
    expiresAfterMs: NotRequired[int]


class Http(TypedDict):
    method: str
    url: str
    headers: NotRequired[list[list[str]]]
    text: NotRequired[str]


@wasmill.handler
def on_message(message: Message, ctx: Context) -> None:
    does = DOES.get(message.topic)
    if does is None:
        raise wasmill.Reject(f"unknown topic {message.topic}")
    does(message, ctx)


def echo(message: Message, ctx: Context) -> None:
    ctx.publish("out", message.data, key=message.key, content_type=message.content_type, headers=message.headers)


def fields(message: Message, ctx: Context) -> None:
    delivery = ctx.delivery
    answer = {
        "id": message.id,
        "topic": message.topic,
        "key": message.key,
        "contentType": message.content_type,
        "headers": message.headers,
        "length": len(message.data),
        "publishedAt": published_ms(message),
        "queue": delivery.queue,
        "sequence": delivery.sequence,
        "attempt": delivery.attempt,
        "maxAttempts": delivery.max_attempts,
    }
    ctx.publish("out", json=answer)


def publish(message: Message, ctx: Context) -> None:
    wanted = message.json(Publish)
    try:
        answer = ctx.publish(
            wanted["topic"],
            wanted["text"].encode(),
            key=wanted.get("key"),
            content_type=wanted.get("contentType"),
            headers=[(name, value) for name, value in wanted.get("headers", [])],
            delay=milliseconds(wanted.get("delayMs")),
            expires_after=milliseconds(wanted.get("expiresAfterMs")),
        )
    except wasmill.Refused as refused:
        answer = f"error: {refused.code}"
    ctx.publish("out", text=answer)


def state(message: Message, ctx: Context) -> None:
    answers: list[Any] = []
    for operation in message.json(list[list[Any]]):
        try:
            answers.append(one_of_state(ctx.state, *operation))
        except wasmill.Refused as refused:
            answers.append({"error": refused.code})
    ctx.publish("out", json=answers)


def one_of_state(state: wasmill.State, name: str, key: str, argument: Any = None) -> Any:
    match name:
        case "get":
            return state.get_text(key)
        case "set":
            return state.set(key, argument)
        case "delete":
            return state.delete(key)
        case "exists":
            return key in state
        case "increment":
            return state.increment(key, argument)
        case "list":
            page = state.page(key, argument)
            return {"keys": page.keys, "next": page.next}
    raise wasmill.Reject(f"unknown operation {name}")


def state_size(message: Message, ctx: Context) -> None:
    wanted = message.json()
    try:
        ctx.state[wanted["key"]] = b"x" * wanted["bytes"]
        answer = "ok"
    except wasmill.Refused as refused:
        answer = f"error: {refused.code}"
    ctx.publish("out", text=answer)


def config(message: Message, ctx: Context) -> None:
    ctx.publish("out", text=ctx.config.get(message.text, "(none)"))


def config_all(_: Message, ctx: Context) -> None:
    ctx.publish("out", json=dict(ctx.config))


def clock(_: Message, ctx: Context) -> None:
    ctx.publish("out", text=str(time.time_ns() // 1_000_000))


def random(_: Message, ctx: Context) -> None:
    ctx.publish("out", text=secrets.token_hex(16))


def log(message: Message, _: Context) -> None:
    print(message.text)
    print(f"err: {message.text}", file=sys.stderr)


def http(message: Message, ctx: Context) -> None:
    wanted = message.json(Http)
    headers = [(name, value) for name, value in wanted.get("headers", [])]
    try:
        response = wasmill.http.request(
            wanted["method"], wanted["url"], headers=headers, body=wanted.get("text", "").encode()
        )
        ctx.publish("out", json={"status": response.status, "text": response.text})
    except wasmill.http.HttpError as error:
        print(error)
        ctx.publish("out", json={"error": True})


def retry(message: Message, _: Context) -> None:
    wanted = message.json()
    raise wasmill.Retry(wanted["reason"], after=milliseconds(wanted.get("afterMs")))


def defer(message: Message, ctx: Context) -> None:
    later(message, ctx, wasmill.Defer)


def throttle(message: Message, ctx: Context) -> None:
    later(message, ctx, wasmill.Throttle)


def later(message: Message, ctx: Context, failure: type[wasmill.Defer] | type[wasmill.Throttle]) -> None:
    after = timedelta(milliseconds=message.json()["afterMs"])
    if time.time_ns() // 1_000_000 < published_ms(message) + after // timedelta(milliseconds=1):
        raise failure(after)
    ctx.publish("out", text="ran")


def reject(message: Message, _: Context) -> None:
    raise wasmill.Reject(message.text)


def error(message: Message, _: Context) -> None:
    raise ValueError(message.text)


def panic(_: Message, __: Context) -> None:
    os.abort()


def void(_: Message, ctx: Context) -> None:
    ctx.state["void"] = "1"
    ctx.publish("out", text="void")
    raise wasmill.Reject("void")


def spin(_: Message, __: Context) -> None:
    while True:
        pass


def allocate(_: Message, __: Context) -> None:
    held = []
    while True:
        held.append(bytearray(1024 * 1024))


def leave(_: Message, __: Context) -> None:
    sys.exit(1)


def published_ms(message: Message) -> int:
    return round(message.published_at.timestamp() * 1000)


def milliseconds(count: int | None) -> timedelta | None:
    return None if count is None else timedelta(milliseconds=count)


DOES: dict[str, Callable[[Message, Context], None]] = {
    "do.echo": echo,
    "do.fields": fields,
    "do.publish": publish,
    "do.state": state,
    "do.state-size": state_size,
    "do.config": config,
    "do.config-all": config_all,
    "do.clock": clock,
    "do.random": random,
    "do.log": log,
    "do.http": http,
    "do.retry": retry,
    "do.defer": defer,
    "do.throttle": throttle,
    "do.reject": reject,
    "do.error": error,
    "do.panic": panic,
    "do.void": void,
    "do.spin": spin,
    "do.allocate": allocate,
    "do.exit": leave,
}
