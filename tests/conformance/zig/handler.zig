//! The handler of the conformance suite in Zig: does what the topic says (../README.md).

const std = @import("std");
const wasmill = @import("wasmill");

const Pair = [2][]const u8;

fn headersOf(pairs: []const Pair) ![]const wasmill.Header {
    const headers = try wasmill.allocator.alloc(wasmill.Header, pairs.len);
    for (headers, pairs) |*header, pair| header.* = .{ .name = pair[0], .value = pair[1] };
    return headers;
}

fn say(text: []const u8) !void {
    try wasmill.publishText("out", null, text);
}

fn sayJson(value: anytype) !void {
    try wasmill.publishJson("out", null, value);
}

/// As the suite calls it: `InvalidTopic` is `invalid-topic`.
fn nameOf(err: anyerror) []const u8 {
    return switch (err) {
        error.InvalidTopic => "invalid-topic",
        error.InvalidMessage => "invalid-message",
        error.TooLarge => "too-large",
        error.InvalidKey => "invalid-key",
        error.NotAnInteger => "not-an-integer",
        else => @errorName(err),
    };
}

fn sayError(err: anyerror) !void {
    try say(try std.fmt.allocPrint(wasmill.allocator, "error: {s}", .{nameOf(err)}));
}

fn echo(delivery: wasmill.Delivery) !void {
    _ = try wasmill.publish(.{
        .topic = "out",
        .key = delivery.key,
        .content_type = delivery.content_type,
        .headers = delivery.headers,
        .data = delivery.data,
    });
}

fn fields(delivery: wasmill.Delivery) !void {
    const headers = try wasmill.allocator.alloc(Pair, delivery.headers.len);
    for (headers, delivery.headers) |*pair, header| pair.* = .{ header.name, header.value };
    try sayJson(.{
        .id = delivery.id,
        .topic = delivery.topic,
        .key = delivery.key,
        .contentType = delivery.content_type,
        .headers = headers,
        .length = delivery.data.len,
        .publishedAt = delivery.published_at_ms,
        .queue = delivery.queue,
        .sequence = delivery.sequence,
        .attempt = delivery.attempt,
        .maxAttempts = delivery.max_attempts,
    });
}

const Publish = struct {
    topic: []const u8,
    key: ?[]const u8 = null,
    contentType: ?[]const u8 = null,
    headers: []const Pair = &.{},
    text: []const u8,
    delayMs: u64 = 0,
    expiresAfterMs: u64 = 0,
};

fn publish(asked: Publish) !void {
    const id = wasmill.publish(.{
        .topic = asked.topic,
        .key = asked.key,
        .content_type = asked.contentType,
        .headers = try headersOf(asked.headers),
        .data = asked.text,
        .delay_ms = asked.delayMs,
        .expires_after_ms = asked.expiresAfterMs,
    }) catch |err| return sayError(err);
    try say(id);
}

fn textOf(value: std.json.Value) ?[]const u8 {
    return if (value == .string) value.string else null;
}

/// What a step answers, as JSON.
fn stateStep(step: []const std.json.Value) ![]const u8 {
    const Step = enum { get, set, delete, exists, increment, list };
    const key = step[1].string;
    switch (std.meta.stringToEnum(Step, step[0].string) orelse return error.UnknownStep) {
        .get => return json(try wasmill.state.get(key)),
        .set => try wasmill.state.set(key, step[2].string),
        .delete => try wasmill.state.delete(key),
        .exists => return json(try wasmill.state.exists(key)),
        .increment => try wasmill.state.increment(key, step[2].integer),
        .list => return json(try wasmill.state.listKeys(key, textOf(step[2]))),
    }
    return "null";
}

fn json(value: anytype) ![]const u8 {
    return std.json.Stringify.valueAlloc(wasmill.allocator, value, .{});
}

fn state(steps: []const []const std.json.Value) !void {
    const answers = try wasmill.allocator.alloc([]const u8, steps.len);
    for (answers, steps) |*answer, step|
        answer.* = stateStep(step) catch |err| try json(.{ .@"error" = nameOf(err) });
    const list = try std.mem.join(wasmill.allocator, ",", answers);
    const data = try std.fmt.allocPrint(wasmill.allocator, "[{s}]", .{list});
    _ = try wasmill.publish(.{ .topic = "out", .content_type = "application/json", .data = data });
}

const StateSize = struct { key: []const u8, bytes: usize };

fn stateSize(asked: StateSize) !void {
    const value = try wasmill.allocator.alloc(u8, asked.bytes);
    @memset(value, 'x');
    wasmill.state.set(asked.key, value) catch |err| return sayError(err);
    try say("ok");
}

fn configAll() !void {
    var object: std.json.ArrayHashMap([]const u8) = .{};
    for (wasmill.config.all()) |one| try object.map.put(wasmill.allocator, one.name, one.value);
    try sayJson(object);
}

fn random() !void {
    var bytes: [16]u8 = undefined;
    wasmill.randomBytes(&bytes);
    try say(&std.fmt.bytesToHex(bytes, .lower));
}

const Request = struct {
    method: []const u8,
    url: []const u8,
    headers: []const Pair = &.{},
    text: []const u8 = "",
};

fn http(asked: Request) !void {
    const response = wasmill.http.send(.{
        .method = asked.method,
        .url = asked.url,
        .headers = try headersOf(asked.headers),
        .body = asked.text,
    }) catch return sayJson(.{ .@"error" = true });
    try sayJson(.{ .status = response.status, .text = response.body });
}

fn isDue(delivery: wasmill.Delivery, after_ms: u64) bool {
    return wasmill.nowMs() >= delivery.published_at_ms + after_ms;
}

const After = struct { afterMs: u64 };

fn later(delivery: wasmill.Delivery, failure: fn (u64) wasmill.Failure) !void {
    const asked = try delivery.json(After);
    if (!isDue(delivery, asked.afterMs)) return failure(asked.afterMs);
    try say("ran");
}

fn voided() !void {
    try wasmill.state.set("void", "1");
    try say("void");
    return wasmill.reject("all of it is void", .{});
}

fn spin() void {
    var count: u64 = 0;
    while (true) {
        count +%= 1;
        std.mem.doNotOptimizeAway(count);
    }
}

fn allocate() !void {
    while (true) {
        const more = try std.heap.c_allocator.alloc(u8, 1024 * 1024);
        @memset(more, 1);
        std.mem.doNotOptimizeAway(more.ptr);
    }
}

const Topic = enum {
    @"do.echo",
    @"do.fields",
    @"do.publish",
    @"do.state",
    @"do.state-size",
    @"do.config",
    @"do.config-all",
    @"do.clock",
    @"do.random",
    @"do.log",
    @"do.http",
    @"do.retry",
    @"do.defer",
    @"do.throttle",
    @"do.reject",
    @"do.error",
    @"do.panic",
    @"do.void",
    @"do.spin",
    @"do.allocate",
    @"do.exit",
};

fn onMessage(delivery: wasmill.Delivery) !void {
    const topic = std.meta.stringToEnum(Topic, delivery.topic) orelse return wasmill.reject("unknown topic", .{});
    switch (topic) {
        .@"do.echo" => try echo(delivery),
        .@"do.fields" => try fields(delivery),
        .@"do.publish" => try publish(try delivery.json(Publish)),
        .@"do.state" => try state(try delivery.json([]const []const std.json.Value)),
        .@"do.state-size" => try stateSize(try delivery.json(StateSize)),
        .@"do.config" => try say(wasmill.config.get(delivery.data) orelse "(none)"),
        .@"do.config-all" => try configAll(),
        .@"do.clock" => try say(try std.fmt.allocPrint(wasmill.allocator, "{d}", .{wasmill.nowMs()})),
        .@"do.random" => try random(),
        .@"do.log" => {
            wasmill.log("{s}", .{delivery.data});
            std.debug.print("err: {s}\n", .{delivery.data});
        },
        .@"do.http" => try http(try delivery.json(Request)),
        .@"do.retry" => {
            const asked = try delivery.json(struct { reason: []const u8, afterMs: u64 = 0 });
            return wasmill.retryAfter(asked.afterMs, "{s}", .{asked.reason});
        },
        .@"do.defer" => try later(delivery, wasmill.deferFor),
        .@"do.throttle" => try later(delivery, wasmill.throttle),
        .@"do.reject" => return wasmill.reject("{s}", .{delivery.data}),
        // Errors of Zig carry no text: who wants one says it.
        .@"do.error" => return wasmill.retry("{s}", .{delivery.data}),
        .@"do.panic" => @panic("as asked"),
        .@"do.void" => try voided(),
        .@"do.spin" => spin(),
        .@"do.allocate" => try allocate(),
        .@"do.exit" => std.process.exit(1),
    }
}

comptime {
    wasmill.handler(onMessage);
}
