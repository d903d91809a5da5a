//! Handlers for Wasmill in Zig, over the SDK for C.
//!
//!     const wasmill = @import("wasmill");
//!
//!     fn onQuake(delivery: wasmill.Delivery) !void {
//!         const quake = try delivery.json(struct { magnitude: f64, place: []const u8 });
//!         try wasmill.state.increment("seen", 1);
//!         if (quake.magnitude < 5.0) return;
//!         try wasmill.publishJson("alerts", quake.place, quake);
//!     }
//!     comptime {
//!         wasmill.handler(onQuake);
//!     }
//!
//! A handler that returns is done, together with all that it published and stored. Any error voids all of that and is a retry;
//! `return wasmill.reject("why", .{})`, `retry`, `retryAfter`, `deferFor` and `throttle` say something else.
//!
//! Memory: all slices that Wasmill gives, and all that comes from `wasmill.allocator`, live until the handler returns and are
//! freed then. There is nothing to free. Slices that you give are only read during the call.

const std = @import("std");
const c = @import("c.zig");

/// Memory that is freed when the handler returns.
pub const allocator: std.mem.Allocator = .{ .ptr = undefined, .vtable = &arena };

pub const Header = struct { name: []const u8, value: []const u8 };

/// One message for this handler, now.
pub const Delivery = struct {
    id: []const u8,
    topic: []const u8,
    key: ?[]const u8,
    content_type: ?[]const u8,
    /// In their order; names are lower case and may repeat.
    headers: []const Header,
    data: []const u8,
    /// Since 1970.
    published_at_ms: u64,
    queue: []const u8,
    /// Its place in the queue, from 1.
    sequence: u64,
    /// Which run of this delivery it is, from 1.
    attempt: u32,
    /// When `attempt` equals it, a further retry quarantines.
    max_attempts: u32,

    /// The data as JSON. Fields that `T` does not have are left out; when it does not fit, the delivery is rejected.
    pub fn json(delivery: Delivery, comptime T: type) Failure!T {
        return delivery.jsonOr(T, "not the JSON that was expected");
    }

    /// Likewise, with these words in the reason before what is wrong.
    pub fn jsonOr(delivery: Delivery, comptime T: type, comptime otherwise: []const u8) Failure!T {
        const options: std.json.ParseOptions = .{ .ignore_unknown_fields = true };
        return std.json.parseFromSliceLeaky(T, allocator, delivery.data, options) catch |err|
            return reject(otherwise ++ ": {s}", .{@errorName(err)});
    }

    /// The first header of that name (in lower case).
    pub fn header(delivery: Delivery, name: []const u8) ?[]const u8 {
        return find(delivery.headers, name);
    }
};

fn find(headers: []const Header, name: []const u8) ?[]const u8 {
    for (headers) |one| if (std.mem.eql(u8, one.name, name)) return one.value;
    return null;
}

// ---- What a handler answers -------------------------------------------------------------------------------------------------

/// What a handler said of its delivery, as an error. The rest of it is kept until the handler returns: these errors come from the
/// functions below, and one that is returned without them is a retry that says so.
pub const Failure = error{ Retry, Defer, Reject, Throttle };

const Said = struct { failure: Failure, result: c.Result };

var said: ?Said = null;
/// Whose words `wasmill_detail` has.
var failed_last: ?Error = null;

fn say(failure: Failure, outcome: c.Outcome, after_ms: u64, reason: ?[*:0]const u8) Failure {
    said = .{ .failure = failure, .result = .{ .outcome = outcome, .after_ms = after_ms, .reason = reason } };
    return failure;
}

/// Again later; uses up an attempt.
pub fn retry(comptime format: []const u8, arguments: anytype) Failure {
    return retryAfter(0, format, arguments);
}

/// Again after so long at least; uses up an attempt.
pub fn retryAfter(after_ms: u64, comptime format: []const u8, arguments: anytype) Failure {
    return say(error.Retry, .retry, after_ms, print(format, arguments));
}

/// Again after so long; uses up no attempt.
pub fn deferFor(after_ms: u64) Failure {
    return say(error.Defer, .@"defer", after_ms, null);
}

/// It can never succeed: in quarantine at once.
pub fn reject(comptime format: []const u8, arguments: anytype) Failure {
    return say(error.Reject, .reject, 0, print(format, arguments));
}

/// Nothing of this message's key for so long; uses up no attempt.
pub fn throttle(after_ms: u64) Failure {
    return say(error.Throttle, .throttle, after_ms, null);
}

/// Make `function`, from a `Delivery` to `!void`, the handler of this component. Once, at the top of one file.
pub fn handler(comptime function: anytype) void {
    const export_it = struct {
        fn handle(delivery: *const c.Delivery) callconv(.c) c.Result {
            said = null;
            failed_last = null;
            function(lift(delivery)) catch |err| return failed(err);
            return c.wasmill_ok();
        }
    };
    @export(&export_it.handle, .{ .name = "wasmill_handle" });
}

fn failed(err: anyerror) c.Result {
    return switch (err) {
        error.Retry => answer(error.Retry, "retry"),
        error.Defer => answer(error.Defer, "deferFor"),
        error.Reject => answer(error.Reject, "reject"),
        error.Throttle => answer(error.Throttle, "throttle"),
        else => {
            const words = if (failed_last != null and err == failed_last.?) c.wasmill_detail() else "";
            const between: [*:0]const u8 = if (words[0] == 0) "" else ": ";
            return c.wasmill_retry("%s%s%s", @as([*:0]const u8, @errorName(err)), between, words);
        },
    };
}

fn answer(failure: Failure, by: [*:0]const u8) c.Result {
    const name: [*:0]const u8 = @errorName(failure);
    if (said == null or said.?.failure != failure)
        return c.wasmill_retry("error.%s without a reason: return wasmill.%s(…)", name, by);
    var result = said.?.result;
    // A reason that is not UTF-8 would end the attempt as a trap.
    if (result.reason) |reason| result.reason = c.wasmill_retry("%s", reason).reason;
    return result;
}

fn lift(given: *const c.Delivery) Delivery {
    return .{
        .id = std.mem.span(given.id),
        .topic = std.mem.span(given.topic),
        .key = span(given.key),
        .content_type = span(given.content_type),
        .headers = liftPairs(given.headers, given.headers_len),
        .data = slice(given.data),
        .published_at_ms = given.published_at_ms,
        .queue = std.mem.span(given.queue),
        .sequence = given.sequence,
        .attempt = given.attempt,
        .max_attempts = given.max_attempts,
    };
}

// ---- Publish ----------------------------------------------------------------------------------------------------------------

/// A message to be published when, and only when, this delivery commits.
pub const Outgoing = struct {
    topic: []const u8,
    key: ?[]const u8 = null,
    content_type: ?[]const u8 = null,
    headers: []const Header = &.{},
    data: []const u8 = "",
    delay_ms: u64 = 0,
    /// 0: never.
    expires_after_ms: u64 = 0,
};

/// Answers with its id, which is the same in each attempt of this delivery.
pub fn publish(message: Outgoing) Error![]const u8 {
    const outgoing: c.Outgoing = .{
        .topic = lower(message.topic),
        .key = lowerOption(message.key),
        .content_type = lowerOption(message.content_type),
        .headers = lowerPairs(message.headers),
        .headers_len = message.headers.len,
        .data = bytes(message.data),
        .delay_ms = message.delay_ms,
        .expires_after_ms = message.expires_after_ms,
    };
    var id: [*:0]const u8 = undefined;
    try check(c.wasmill_publish(&outgoing, &id));
    return std.mem.span(id);
}

pub fn publishText(topic: []const u8, key: ?[]const u8, text: []const u8) Error!void {
    _ = try publish(.{ .topic = topic, .key = key, .content_type = "text/plain", .data = text });
}

pub fn publishJson(topic: []const u8, key: ?[]const u8, value: anytype) Error!void {
    const data = try std.json.Stringify.valueAlloc(allocator, value, .{});
    _ = try publish(.{ .topic = topic, .key = key, .content_type = "application/json", .data = data });
}

// ---- State, configuration ---------------------------------------------------------------------------------------------------

/// Durable keys and values of this handler, stored when this delivery commits.
pub const state = struct {
    pub fn get(key: []const u8) Error!?[]const u8 {
        var value: c.Bytes = undefined;
        try check(c.wasmill_state_get(lower(key), &value));
        return if (value.ptr) |ptr| ptr[0..value.len] else null;
    }

    pub fn set(key: []const u8, value: []const u8) Error!void {
        try check(c.wasmill_state_set(lower(key), bytes(value)));
    }

    pub fn delete(key: []const u8) Error!void {
        try check(c.wasmill_state_delete(lower(key)));
    }

    pub fn exists(key: []const u8) Error!bool {
        var is_there = false;
        try check(c.wasmill_state_exists(lower(key), &is_there));
        return is_there;
    }

    /// Of a decimal number; a missing key counts as 0. It reads nothing, so it never conflicts with another increment.
    pub fn increment(key: []const u8, delta: i64) Error!void {
        try check(c.wasmill_state_increment(lower(key), delta));
    }

    pub const KeyPage = struct {
        /// In ascending order of their bytes, at most 1,000.
        keys: []const []const u8,
        /// Give it to the next call as `after`.
        next: ?[]const u8,
    };

    pub fn listKeys(prefix: []const u8, after: ?[]const u8) Error!KeyPage {
        var page: c.KeyPage = undefined;
        try check(c.wasmill_state_list_keys(lower(prefix), lowerOption(after), &page));
        const keys = try allocator.alloc([]const u8, page.keys_len);
        for (keys, 0..) |*key, i| key.* = std.mem.span(page.keys[i]);
        return .{ .keys = keys, .next = span(page.next) };
    }
};

/// The configured values of this handler, and its secrets by their names.
pub const config = struct {
    pub fn get(key: []const u8) ?[]const u8 {
        return span(c.wasmill_config(lower(key)));
    }

    /// `otherwise` when there is none; an error when what is there is no number.
    pub fn getNumber(key: []const u8, otherwise: f64) Error!f64 {
        var number: f64 = undefined;
        try check(c.wasmill_config_number(lower(key), otherwise, &number));
        return number;
    }

    /// All of them but secrets.
    pub fn all() []const Header {
        var values: ?[*]const c.Pair = null;
        const len = c.wasmill_config_all(&values);
        return liftPairs(values, len);
    }
};

// ---- HTTP -------------------------------------------------------------------------------------------------------------------

/// Requests to where the operator lets this handler go. A component imports HTTP only when it calls `send`.
pub const http = struct {
    pub const Request = struct {
        method: []const u8 = "GET",
        url: []const u8,
        headers: []const Header = &.{},
        body: []const u8 = "",
        /// How long to wait for the answer to begin; 0: as long as the attempt may last.
        timeout_ms: u64 = 0,
    };

    pub const Response = struct {
        status: u16,
        /// Names are lower case.
        headers: []const Header,
        body: []const u8,

        pub fn header(response: Response, name: []const u8) ?[]const u8 {
            return find(response.headers, name);
        }
    };

    /// A status such as 503 is an answer, and no error.
    pub fn send(request: Request) Error!Response {
        const outgoing: c.Request = .{
            .method = lower(request.method),
            .url = lower(request.url),
            .headers = lowerPairs(request.headers),
            .headers_len = request.headers.len,
            .body = bytes(request.body),
            .timeout_ms = request.timeout_ms,
        };
        var response: c.Response = undefined;
        try check(c.wasmill_http_send(&outgoing, &response));
        return .{
            .status = @intCast(response.status),
            .headers = liftPairs(response.headers, response.headers_len),
            .body = slice(response.body),
        };
    }
};

// ---- Log, clock, random numbers ---------------------------------------------------------------------------------------------

/// A line in the host's log.
pub fn log(comptime format: []const u8, arguments: anytype) void {
    _ = c.puts(print(format, arguments));
}

/// Milliseconds since 1970.
pub fn nowMs() u64 {
    const time_utc = 1;
    var now: c.Timespec = undefined;
    _ = c.timespec_get(&now, time_utc);
    return @as(u64, @intCast(now.seconds)) * 1000 + @as(u64, @intCast(now.nanoseconds)) / 1_000_000;
}

pub fn randomBytes(buffer: []u8) void {
    var left = buffer;
    while (left.len > 0) {
        const len = @min(left.len, getentropy_bytes_max);
        if (c.getentropy(left.ptr, len) != 0) @panic("the host gives no random bytes");
        left = left[len..];
    }
}

/// More in one call is an error, by POSIX.
const getentropy_bytes_max = 256;

// ---- What can go wrong ------------------------------------------------------------------------------------------------------

pub const Error = error{
    InvalidTopic,
    InvalidMessage,
    TooLarge,
    InvalidKey,
    NotAnInteger,
    Unavailable,
    InvalidConfig,
    HttpInvalid,
    HttpDenied,
    HttpTimedOut,
    HttpFailed,
    OutOfMemory,
};

/// What went wrong last in this delivery, in the host's words.
pub fn detail() []const u8 {
    return std.mem.span(c.wasmill_detail());
}

fn check(status: c.Status) Error!void {
    if (status == .ok) return;
    failed_last = errorOf(status);
    return failed_last.?;
}

fn errorOf(status: c.Status) Error {
    return switch (status) {
        .ok => unreachable,
        .invalid_topic => error.InvalidTopic,
        .invalid_message => error.InvalidMessage,
        .too_large => error.TooLarge,
        .invalid_key => error.InvalidKey,
        .not_an_integer => error.NotAnInteger,
        .invalid_config => error.InvalidConfig,
        .http_invalid => error.HttpInvalid,
        .http_denied => error.HttpDenied,
        .http_timed_out => error.HttpTimedOut,
        .http_failed => error.HttpFailed,
        .unavailable => error.Unavailable,
    };
}

// ---- Between the two languages ----------------------------------------------------------------------------------------------

const arena: std.mem.Allocator.VTable = .{
    .alloc = allocate,
    .resize = std.mem.Allocator.noResize,
    .remap = std.mem.Allocator.noRemap,
    .free = std.mem.Allocator.noFree,
};

fn allocate(_: *anyopaque, len: usize, alignment: std.mem.Alignment, _: usize) ?[*]u8 {
    const step = alignment.toByteUnits();
    const given = c.wasmill_alloc(len + step);
    return @ptrFromInt(std.mem.alignForward(usize, @intFromPtr(given), step));
}

/// Memory does not run out here: a handler that has none left ends.
fn print(comptime format: []const u8, arguments: anytype) [*:0]const u8 {
    return (std.fmt.allocPrintSentinel(allocator, format, arguments, 0) catch unreachable).ptr;
}

fn lower(text: []const u8) [*:0]const u8 {
    return (allocator.dupeSentinel(u8, text, 0) catch unreachable).ptr;
}

fn lowerOption(text: ?[]const u8) ?[*:0]const u8 {
    return if (text) |given| lower(given) else null;
}

fn bytes(data: []const u8) c.Bytes {
    return .{ .ptr = data.ptr, .len = data.len };
}

fn span(text: ?[*:0]const u8) ?[]const u8 {
    return if (text) |given| std.mem.span(given) else null;
}

/// Bytes that are there, if only none.
fn slice(given: c.Bytes) []const u8 {
    return if (given.ptr) |ptr| ptr[0..given.len] else "";
}

fn liftPairs(pairs: ?[*]const c.Pair, len: usize) []const Header {
    const given = (pairs orelse return &.{})[0..len];
    const headers = allocator.alloc(Header, len) catch unreachable;
    for (headers, given) |*one, pair| one.* = .{ .name = std.mem.span(pair.name), .value = std.mem.span(pair.value) };
    return headers;
}

fn lowerPairs(headers: []const Header) [*]const c.Pair {
    const pairs = allocator.alloc(c.Pair, headers.len) catch unreachable;
    for (pairs, headers) |*pair, one| pair.* = .{ .name = lower(one.name), .value = lower(one.value) };
    return pairs.ptr;
}

// ---- Tests ------------------------------------------------------------------------------------------------------------------

/// A stand-in for the host, so that `zig build test` calls a handler natively. Effects are applied at once, also those of a
/// failed call, and there are no limits: commits, retries and fuel show in `wasmill test`.
pub const testing = struct {
    /// What a handler answered.
    pub const Outcome = c.Outcome;
    pub const Result = struct { outcome: Outcome, after_ms: u64, reason: ?[]const u8 };

    /// Forget everything. What was given before is gone.
    pub fn reset() void {
        c.wasmill_testing_reset();
    }

    pub fn setConfig(key: []const u8, value: []const u8) void {
        c.wasmill_testing_config(lower(key), lower(value));
    }

    pub fn setState(key: []const u8, value: []const u8) void {
        c.wasmill_testing_set_state(lower(key), lower(value));
    }

    /// Call the handler with a message of that text.
    pub fn deliver(topic: []const u8, text: []const u8) Result {
        const result = c.wasmill_testing_deliver(lower(topic), lower(text));
        return .{ .outcome = result.outcome, .after_ms = result.after_ms, .reason = span(result.reason) };
    }

    /// What the handler published.
    pub fn published() []const Outgoing {
        const messages = allocator.alloc(Outgoing, c.wasmill_testing_published_len()) catch unreachable;
        for (messages, 0..) |*message, i| {
            const given = c.wasmill_testing_published(i).?;
            message.* = .{
                .topic = std.mem.span(given.topic),
                .key = span(given.key),
                .content_type = span(given.content_type),
                .headers = liftPairs(given.headers, given.headers_len),
                .data = slice(given.data),
                .delay_ms = given.delay_ms,
                .expires_after_ms = given.expires_after_ms,
            };
        }
        return messages;
    }

    /// What the handler has stored.
    pub fn stored(key: []const u8) ?[]const u8 {
        return span(c.wasmill_testing_state(lower(key)));
    }

    /// The next requests get these answers, in this order; one that finds none is refused.
    pub fn answerRequest(status: u16, body: []const u8) void {
        c.wasmill_testing_answer(status, lower(body));
    }
};
