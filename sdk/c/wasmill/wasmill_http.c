#include "wasmill_http.h"

#include <string.h>

const char *wasmill_response_header(const wasmill_response *response, const char *name) {
    for (size_t i = 0; i < response->headers_len; i++)
        if (strcmp(response->headers[i].name, name) == 0) return response->headers[i].value;
    return NULL;
}

#ifdef __wasm__

#include "wasmill_internal.h"

#include <stdlib.h>

/* What the bindings would free is the arena's. */
#define free(pointer) ((void)(pointer))
#include "bindings/outgoing_http.c"
#undef free

void __component_type_object_force_link_outgoing_http(void) {}

/* What is read of an answer at once. */
#define READ_BYTES ((uint64_t)64 * 1024)

static wasmill_status refused(const wasi_http_types_error_code_t *error) {
    switch (error->tag) {
    case WASI_HTTP_TYPES_ERROR_CODE_HTTP_REQUEST_DENIED:
        return wasmill_fail(WASMILL_HTTP_DENIED, "the operator has not granted it; the handler's log says what to grant");
    case WASI_HTTP_TYPES_ERROR_CODE_CONNECTION_TIMEOUT:
    case WASI_HTTP_TYPES_ERROR_CODE_CONNECTION_READ_TIMEOUT:
    case WASI_HTTP_TYPES_ERROR_CODE_HTTP_RESPONSE_TIMEOUT: return wasmill_fail(WASMILL_HTTP_TIMED_OUT, "");
    case WASI_HTTP_TYPES_ERROR_CODE_HTTP_REQUEST_BODY_SIZE:
    case WASI_HTTP_TYPES_ERROR_CODE_HTTP_RESPONSE_BODY_SIZE:
        return wasmill_fail(WASMILL_TOO_LARGE, "the request or its answer has more bytes than an attempt may send or receive");
    case WASI_HTTP_TYPES_ERROR_CODE_CONNECTION_REFUSED: return wasmill_fail(WASMILL_HTTP_FAILED, "connection refused");
    case WASI_HTTP_TYPES_ERROR_CODE_DNS_ERROR:
    case WASI_HTTP_TYPES_ERROR_CODE_DNS_TIMEOUT: return wasmill_fail(WASMILL_HTTP_FAILED, "the host's name was not found");
    case WASI_HTTP_TYPES_ERROR_CODE_INTERNAL_ERROR:
        if (error->val.internal_error.is_some)
            return wasmill_fail(WASMILL_HTTP_FAILED, (const char *)error->val.internal_error.val.ptr);
        return wasmill_fail(WASMILL_HTTP_FAILED, "");
    default: return wasmill_fail(WASMILL_HTTP_FAILED, wasmill_format("error-code %d of wasi:http", error->tag));
    }
}

static wasmill_status broken(const wasi_io_streams_stream_error_t *error) {
    if (error->tag == WASI_IO_STREAMS_STREAM_ERROR_CLOSED) return wasmill_fail(WASMILL_HTTP_FAILED, "the connection was closed");
    wasi_io_streams_own_error_t owned = error->val.last_operation_failed;
    wasi_http_types_error_code_t code;
    wasmill_status status = wasi_http_types_http_error_code(wasi_io_error_borrow_error(owned), &code)
        ? refused(&code) : wasmill_fail(WASMILL_HTTP_FAILED, "the connection broke");
    wasi_io_error_error_drop_own(owned);
    return status;
}

static wasmill_status invalid(const char *what) {
    return wasmill_fail(WASMILL_HTTP_INVALID, what);
}

/* A URL in its parts. */
typedef struct target {
    wasi_http_types_scheme_t scheme;
    outgoing_http_string_t authority, path;
} target;

static bool split(const char *url, target *parts) {
    const char *rest;
    if (strncmp(url, "https://", 8) == 0) {
        parts->scheme.tag = WASI_HTTP_TYPES_SCHEME_HTTPS;
        rest = url + 8;
    } else if (strncmp(url, "http://", 7) == 0) {
        parts->scheme.tag = WASI_HTTP_TYPES_SCHEME_HTTP;
        rest = url + 7;
    } else {
        return false;
    }
    size_t authority = strcspn(rest, "/?#"), path = strcspn(rest + authority, "#");
    const char *slash = rest[authority] == '/' ? "" : "/";
    parts->authority = (outgoing_http_string_t){ (uint8_t *)rest, authority };
    char *text = wasmill_format("%s%.*s", slash, (int)path, rest + authority);
    parts->path = (outgoing_http_string_t){ (uint8_t *)text, strlen(text) };
    return true;
}

static wasmill_status make_fields(const wasmill_request *request, wasi_http_types_own_fields_t *fields) {
    wasi_http_types_list_tuple2_field_name_field_value_t list = {
        wasmill_alloc(request->headers_len * sizeof *list.ptr), request->headers_len
    };
    for (size_t i = 0; i < list.len; i++) {
        wasmill_bytes name = wasmill_text(request->headers[i].name), value = wasmill_text(request->headers[i].value);
        list.ptr[i].f0 = (wasi_http_types_field_name_t){ (uint8_t *)name.ptr, name.len };
        list.ptr[i].f1 = (wasi_http_types_field_value_t){ (uint8_t *)value.ptr, value.len };
    }
    wasi_http_types_header_error_t error;
    if (!wasi_http_types_static_fields_from_list(&list, fields, &error)) return invalid("a header that cannot be sent");
    return WASMILL_OK;
}

static wasmill_status make_request(const wasmill_request *given, wasi_http_types_own_outgoing_request_t *made) {
    target parts;
    if (!split(given->url, &parts)) return invalid("a URL that is neither http:// nor https://");
    wasi_http_types_own_fields_t fields;
    wasmill_status status = make_fields(given, &fields);
    if (status != WASMILL_OK) return status;
    *made = wasi_http_types_constructor_outgoing_request(fields);
    wasi_http_types_borrow_outgoing_request_t request = wasi_http_types_borrow_outgoing_request(*made);
    wasmill_bytes name = wasmill_text(given->method == NULL ? "GET" : given->method);
    wasi_http_types_method_t method = { .tag = WASI_HTTP_TYPES_METHOD_OTHER, .val.other = { (uint8_t *)name.ptr, name.len } };
    const char *wrong =
        !wasi_http_types_method_outgoing_request_set_method(request, &method) ? "a method that is none"
        : !wasi_http_types_method_outgoing_request_set_scheme(request, &parts.scheme) ? "a scheme that is none"
        : !wasi_http_types_method_outgoing_request_set_authority(request, &parts.authority) ? "a host that is none"
        : !wasi_http_types_method_outgoing_request_set_path_with_query(request, &parts.path) ? "a path that is none" : NULL;
    if (wrong == NULL) return WASMILL_OK;
    wasi_http_types_outgoing_request_drop_own(*made);
    return invalid(wrong);
}

static void wait_for(wasi_io_poll_own_pollable_t pollable) {
    wasi_io_poll_method_pollable_block(wasi_io_poll_borrow_pollable(pollable));
    wasi_io_poll_pollable_drop_own(pollable);
}

static wasmill_status write_to(wasi_http_types_own_output_stream_t owned, wasmill_bytes bytes) {
    wasi_io_streams_borrow_output_stream_t stream = wasi_io_streams_borrow_output_stream(owned);
    wasi_io_streams_stream_error_t error;
    while (bytes.len > 0) {
        uint64_t room = 0;
        if (!wasi_io_streams_method_output_stream_check_write(stream, &room, &error)) return broken(&error);
        if (room == 0) {
            wait_for(wasi_io_streams_method_output_stream_subscribe(stream));
            continue;
        }
        outgoing_http_list_u8_t now = { (uint8_t *)bytes.ptr, room < bytes.len ? (size_t)room : bytes.len };
        if (!wasi_io_streams_method_output_stream_write(stream, &now, &error)) return broken(&error);
        bytes.ptr += now.len;
        bytes.len -= now.len;
    }
    return WASMILL_OK;
}

static wasmill_status write_body(wasi_http_types_own_outgoing_body_t body, wasmill_bytes bytes) {
    wasi_http_types_own_output_stream_t stream;
    if (!wasi_http_types_method_outgoing_body_write(wasi_http_types_borrow_outgoing_body(body), &stream))
        return invalid("no room for a body");
    wasmill_status status = write_to(stream, bytes);
    wasi_io_streams_output_stream_drop_own(stream);
    if (status != WASMILL_OK) {
        wasi_http_types_outgoing_body_drop_own(body);
        return status;
    }
    wasi_http_types_error_code_t error;
    return wasi_http_types_static_outgoing_body_finish(body, NULL, &error) ? WASMILL_OK : refused(&error);
}

static void read_headers(wasi_http_types_borrow_incoming_response_t answer, wasmill_response *response) {
    wasi_http_types_own_headers_t fields = wasi_http_types_method_incoming_response_headers(answer);
    wasi_http_types_list_tuple2_field_name_field_value_t list;
    wasi_http_types_method_fields_entries(wasi_http_types_borrow_fields(fields), &list);
    wasi_http_types_fields_drop_own(fields);
    wasmill_pair *pairs = wasmill_alloc(list.len * sizeof *pairs);
    for (size_t i = 0; i < list.len; i++)
        pairs[i] = (wasmill_pair){ (const char *)list.ptr[i].f0.ptr, (const char *)list.ptr[i].f1.ptr };
    response->headers = pairs;
    response->headers_len = list.len;
}

/* Grows outside of the arena, and is copied into it once. */
static wasmill_status read_stream(wasi_http_types_own_input_stream_t owned, wasmill_bytes *body) {
    wasi_io_streams_borrow_input_stream_t stream = wasi_io_streams_borrow_input_stream(owned);
    wasi_io_streams_stream_error_t error;
    outgoing_http_list_u8_t part;
    size_t len = 0, room = 0;
    char *bytes = NULL;
    while (wasi_io_streams_method_input_stream_blocking_read(stream, READ_BYTES, &part, &error)) {
        if (len + part.len > room) {
            room = 2 * (len + part.len);
            bytes = realloc(bytes, room);
            if (bytes == NULL) abort();
        }
        if (part.len > 0) memcpy(bytes + len, part.ptr, part.len);
        len += part.len;
    }
    char *kept = wasmill_alloc(len + 1);
    if (len > 0) memcpy(kept, bytes, len);
    (free)(bytes);
    *body = (wasmill_bytes){ kept, len };
    return error.tag == WASI_IO_STREAMS_STREAM_ERROR_CLOSED ? WASMILL_OK : broken(&error);
}

static wasmill_status read_answer(wasi_http_types_own_incoming_response_t owned, wasmill_response *response) {
    wasi_http_types_borrow_incoming_response_t answer = wasi_http_types_borrow_incoming_response(owned);
    response->status = wasi_http_types_method_incoming_response_status(answer);
    read_headers(answer, response);
    wasi_http_types_own_incoming_body_t body;
    wasmill_status status = WASMILL_HTTP_FAILED;
    if (wasi_http_types_method_incoming_response_consume(answer, &body)) {
        wasi_http_types_own_input_stream_t stream;
        if (wasi_http_types_method_incoming_body_stream(wasi_http_types_borrow_incoming_body(body), &stream)) {
            status = read_stream(stream, &response->body);
            wasi_io_streams_input_stream_drop_own(stream);
        }
        wasi_http_types_incoming_body_drop_own(body);
    }
    wasi_http_types_incoming_response_drop_own(owned);
    return status;
}

static wasmill_status receive(wasi_http_types_own_future_incoming_response_t future, wasmill_status sent, wasmill_response *response) {
    wasi_http_types_borrow_future_incoming_response_t answering = wasi_http_types_borrow_future_incoming_response(future);
    wait_for(wasi_http_types_method_future_incoming_response_subscribe(answering));
    wasi_http_types_result_result_own_incoming_response_error_code_void_t got;
    bool is_there = wasi_http_types_method_future_incoming_response_get(answering, &got);
    wasi_http_types_future_incoming_response_drop_own(future);
    if (!is_there || got.is_err) return sent != WASMILL_OK ? sent : wasmill_fail(WASMILL_HTTP_FAILED, "there is no answer");
    if (got.val.ok.is_err) return refused(&got.val.ok.val.err);
    return read_answer(got.val.ok.val.ok, response);
}

wasmill_status wasmill_http_send(const wasmill_request *request, wasmill_response *response) {
    *response = (wasmill_response){ 0 };
    wasi_http_types_own_outgoing_request_t outgoing;
    wasmill_status status = make_request(request, &outgoing);
    if (status != WASMILL_OK) return status;
    wasi_http_types_own_outgoing_body_t body;
    if (!wasi_http_types_method_outgoing_request_body(wasi_http_types_borrow_outgoing_request(outgoing), &body)) {
        wasi_http_types_outgoing_request_drop_own(outgoing);
        return invalid("no room for a body");
    }
    wasi_http_outgoing_handler_own_request_options_t options = wasi_http_types_constructor_request_options();
    wasi_http_types_duration_t timeout = request->timeout_ms * 1000 * 1000;
    wasi_http_types_method_request_options_set_first_byte_timeout(
        wasi_http_types_borrow_request_options(options), request->timeout_ms == 0 ? NULL : &timeout);
    wasi_http_types_own_future_incoming_response_t future;
    wasi_http_types_error_code_t error;
    if (!wasi_http_outgoing_handler_handle(outgoing, &options, &future, &error)) {
        wasi_http_types_outgoing_body_drop_own(body);
        return refused(&error);
    }
    /* A server may answer before it has read all of the body, and then its answer is what counts. */
    return receive(future, write_body(body, request->body), response);
}

#endif
