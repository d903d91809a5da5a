"""`wasmill.http` by `wasi:http`. Importing it is what gives a component that import."""

from __future__ import annotations

from contextlib import ExitStack
from typing import NoReturn
from urllib.parse import urlsplit

from componentize_py_types import Err, Ok
from wit_world.imports import http_types, outgoing_handler, streams

from wasmill import http

READ_BYTES = 64 * 1024


def send(request: http.Request) -> http.Response:
    # Resources are given back in the order that WASI wants: children first.
    with ExitStack() as held:
        outgoing = _outgoing(request)
        body = outgoing.body()
        options = http_types.RequestOptions()
        options.set_first_byte_timeout(None if request.timeout_ms is None else request.timeout_ms * 1_000_000)
        try:
            answering = held.enter_context(outgoing_handler.handle(outgoing, options))
            # A server may answer before it has read all of the body, and then its answer is what counts.
            unsent = _write(body, request.body)
            with answering.subscribe() as answered:
                answered.block()
        except Err as error:
            _fail(error.value)
        match answering.get():
            case Ok(Ok(http_types.IncomingResponse() as response)):
                return _read(held.enter_context(response))
            case Ok(Err(code)):
                _fail(code)
            case _:
                _fail(unsent)


def _outgoing(request: http.Request) -> http_types.OutgoingRequest:
    url = urlsplit(request.url)
    schemes: dict[str, http_types.Scheme] = {"http": http_types.Scheme_Http(), "https": http_types.Scheme_Https()}
    if url.scheme not in schemes or not url.netloc:
        raise http.HttpError(f"{request.url!r} is no http:// or https:// URL")
    try:
        fields = http_types.Fields.from_list([(name, value.encode()) for name, value in request.headers])
        outgoing = http_types.OutgoingRequest(fields)
        outgoing.set_method(http_types.Method_Other(request.method))
        outgoing.set_scheme(schemes[url.scheme])
        outgoing.set_authority(url.netloc)
        outgoing.set_path_with_query((url.path or "/") + (f"?{url.query}" if url.query else ""))
    except Err as error:
        raise http.HttpError(f"a request that cannot be: {request.method} {request.url} ({error.value})") from None
    return outgoing


def _write(body: http_types.OutgoingBody, data: bytes) -> object:
    """Send the body; what went wrong with it, if anything did."""
    try:
        with body.write() as stream:
            while data:
                room = stream.check_write()
                if room == 0:
                    with stream.subscribe() as writable:
                        writable.block()
                    continue
                stream.write(data[:room])
                data = data[room:]
    except Err as error:
        with body:
            return error.value
    try:
        # It takes the body, which is not ours to give back then.
        http_types.OutgoingBody.finish(body, None)
    except Err as error:
        return error.value
    return None


def _read(response: http_types.IncomingResponse) -> http.Response:
    status = response.status()
    with response.headers() as fields:
        headers = tuple((name.lower(), value.decode("latin-1")) for name, value in fields.entries())
    chunks: list[bytes] = []
    with response.consume() as body, body.stream() as stream:
        while True:
            try:
                chunks.append(stream.blocking_read(READ_BYTES))
            except Err as error:
                if isinstance(error.value, streams.StreamError_Closed):
                    return http.Response(status, headers, b"".join(chunks))
                _fail(error.value)


def _fail(what: object) -> NoReturn:
    if isinstance(what, streams.StreamError_LastOperationFailed):
        with what.value as failed:
            raise http.HttpError(failed.to_debug_string())
    raise http.HttpError("there is no answer" if what is None else _words(what))


def _words(code: object) -> str:
    """`ErrorCode_HttpRequestDenied()` as it is called in the contract."""
    name = type(code).__name__.removeprefix("ErrorCode_")
    words = "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("-")
    value = getattr(code, "value", None)
    return words if value is None else f"{words}: {value}"


http.send = send
