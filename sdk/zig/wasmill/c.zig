//! The SDK for C as Zig sees it: `c/wasmill.h`, `c/wasmill_http.h` and `c/wasmill_testing.h`, by hand, so that a build needs no
//! translation of headers.

const Text = [*:0]const u8;

pub const Bytes = extern struct { ptr: ?[*]const u8, len: usize };
pub const Pair = extern struct { name: Text, value: Text };

pub const Delivery = extern struct {
    id: Text,
    topic: Text,
    key: ?Text,
    content_type: ?Text,
    headers: ?[*]const Pair,
    headers_len: usize,
    data: Bytes,
    published_at_ms: u64,
    queue: Text,
    sequence: u64,
    attempt: u32,
    max_attempts: u32,
};

pub const Outcome = enum(c_uint) { success, retry, @"defer", reject, throttle };
pub const Result = extern struct { outcome: Outcome, after_ms: u64, reason: ?Text };

pub const Status = enum(c_uint) {
    ok,
    invalid_topic,
    invalid_message,
    too_large,
    invalid_key,
    not_an_integer,
    unavailable,
    invalid_config,
    http_invalid,
    http_denied,
    http_timed_out,
    http_failed,
};

pub const Outgoing = extern struct {
    topic: Text,
    key: ?Text,
    content_type: ?Text,
    headers: ?[*]const Pair,
    headers_len: usize,
    data: Bytes,
    delay_ms: u64,
    expires_after_ms: u64,
};

pub const KeyPage = extern struct { keys: [*]const Text, keys_len: usize, next: ?Text };

pub const Request = extern struct {
    method: Text,
    url: Text,
    headers: ?[*]const Pair,
    headers_len: usize,
    body: Bytes,
    timeout_ms: u64,
};

pub const Response = extern struct { status: c_uint, headers: ?[*]const Pair, headers_len: usize, body: Bytes };

pub extern fn wasmill_ok() Result;
pub extern fn wasmill_retry(format: Text, ...) Result;
pub extern fn wasmill_detail() Text;
pub extern fn wasmill_publish(message: *const Outgoing, id: ?*Text) Status;
pub extern fn wasmill_state_get(key: Text, value: *Bytes) Status;
pub extern fn wasmill_state_set(key: Text, value: Bytes) Status;
pub extern fn wasmill_state_delete(key: Text) Status;
pub extern fn wasmill_state_exists(key: Text, exists: *bool) Status;
pub extern fn wasmill_state_increment(key: Text, delta: i64) Status;
pub extern fn wasmill_state_list_keys(prefix: Text, after: ?Text, page: *KeyPage) Status;
pub extern fn wasmill_config(key: Text) ?Text;
pub extern fn wasmill_config_number(key: Text, otherwise: f64, number: *f64) Status;
pub extern fn wasmill_config_all(values: *?[*]const Pair) usize;
pub extern fn wasmill_alloc(bytes: usize) *anyopaque;
pub extern fn wasmill_http_send(request: *const Request, response: *Response) Status;

pub extern fn wasmill_testing_reset() void;
pub extern fn wasmill_testing_config(key: Text, value: Text) void;
pub extern fn wasmill_testing_set_state(key: Text, value: Text) void;
pub extern fn wasmill_testing_deliver(topic: Text, text: Text) Result;
pub extern fn wasmill_testing_published_len() usize;
pub extern fn wasmill_testing_published(index: usize) ?*const Outgoing;
pub extern fn wasmill_testing_state(key: Text) ?Text;
pub extern fn wasmill_testing_answer(status: c_uint, body: Text) void;

// libc's.
pub const Timespec = extern struct { seconds: i64, nanoseconds: c_long };
pub extern fn timespec_get(now: *Timespec, base: c_int) c_int;
pub extern fn getentropy(buffer: [*]u8, len: usize) c_int;
pub extern fn puts(text: Text) c_int;
