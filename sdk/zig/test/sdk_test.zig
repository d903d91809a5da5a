//! The SDK natively, against its own stand-in for the host.

const std = @import("std");
const wasmill = @import("wasmill");

const expectEqual = std.testing.expectEqual;
const expectEqualStrings = std.testing.expectEqualStrings;
const testing = wasmill.testing;

/// What the test wants called.
fn onMessage(delivery: wasmill.Delivery) !void {
    const What = enum { reject, bare, other, handled, failing, said };
    switch (std.meta.stringToEnum(What, delivery.topic).?) {
        .reject => return wasmill.reject("because of {d}", .{7}),
        .bare => return error.Reject,
        .other => {
            wasmill.retryAfter(5, "said and not returned", .{}) catch {};
            return error.Defer;
        },
        .handled => {
            wasmill.state.set("", "x") catch {};
            return error.Unrelated;
        },
        .failing => try wasmill.state.set("", "x"),
        .said => return wasmill.throttle(9),
    }
}

comptime {
    wasmill.handler(onMessage);
}

test "what was said is answered" {
    testing.reset();
    const rejected = testing.deliver("reject", "");
    try expectEqual(.reject, rejected.outcome);
    try expectEqualStrings("because of 7", rejected.reason.?);
    try expectEqual(testing.Result{ .outcome = .throttle, .after_ms = 9, .reason = null }, testing.deliver("said", ""));
}

test "an error that nobody gave a reason is a retry, whatever was said before" {
    testing.reset();
    _ = testing.deliver("reject", "");
    const bare = testing.deliver("bare", "");
    try expectEqual(.retry, bare.outcome);
    try expectEqualStrings("error.Reject without a reason: return wasmill.reject(…)", bare.reason.?);
    const other = testing.deliver("other", "");
    try expectEqual(.retry, other.outcome);
    try expectEqual(0, other.after_ms);
    try expectEqualStrings("error.Defer without a reason: return wasmill.deferFor(…)", other.reason.?);
}

test "the host's words are told of its own errors only" {
    testing.reset();
    try expectEqualStrings("InvalidKey: keys are 1 to 255 bytes", testing.deliver("failing", "").reason.?);
    try expectEqualStrings("Unrelated", testing.deliver("handled", "").reason.?);
    try expectEqualStrings("keys are 1 to 255 bytes", wasmill.detail());
    testing.reset();
    try expectEqualStrings("", wasmill.detail());
}

test "random bytes may be as many as one likes" {
    var bytes: [1000]u8 = @splat(0);
    wasmill.randomBytes(&bytes);
    // That 16 of them are all zero happens once in 2^128.
    for ([_]usize{ 0, 240, 256, 500, 512, 984 }) |at| try std.testing.expect(!std.mem.allEqual(u8, bytes[at..][0..16], 0));
    wasmill.randomBytes(bytes[0..0]);
}
