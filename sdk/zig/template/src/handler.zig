//! Counts every earthquake, and publishes an alert for the strong ones.

const std = @import("std");
const wasmill = @import("wasmill");

const Quake = struct {
    magnitude: ?f64,
    place: []const u8,
};

fn onQuake(delivery: wasmill.Delivery) !void {
    const quake = try delivery.jsonOr(Quake, "not a quake");
    const magnitude = quake.magnitude orelse 0;
    try wasmill.state.increment("seen", 1);
    if (magnitude < try wasmill.config.getNumber("magnitude-min", 5.0)) return;
    wasmill.log("strong: {d:.1}, {s}", .{ magnitude, quake.place });
    try wasmill.publishJson("alerts", quake.place, .{ .magnitude = magnitude, .place = quake.place });
}

comptime {
    wasmill.handler(onQuake);
}

const expectEqual = std.testing.expectEqual;
const expectEqualStrings = std.testing.expectEqualStrings;
const testing = wasmill.testing;

test "strong quakes are published" {
    testing.reset();
    const result = testing.deliver("quakes", "{\"magnitude\": 6.1, \"place\": \"Hualien, Taiwan\"}");
    try expectEqual(.success, result.outcome);
    try expectEqual(1, testing.published().len);
    const alert = testing.published()[0];
    try expectEqualStrings("alerts", alert.topic);
    try expectEqualStrings("Hualien, Taiwan", alert.key.?);
    try expectEqualStrings("{\"magnitude\":6.1,\"place\":\"Hualien, Taiwan\"}", alert.data);
    try expectEqualStrings("1", testing.stored("seen").?);
}

test "what is strong is configured" {
    testing.reset();
    testing.setConfig("magnitude-min", "6.5");
    _ = testing.deliver("quakes", "{\"magnitude\": 6.4, \"place\": \"Suva, Fiji\"}");
    _ = testing.deliver("quakes", "{\"magnitude\": null, \"place\": \"Nevada\"}");
    try expectEqual(0, testing.published().len);
    try expectEqualStrings("2", testing.stored("seen").?);
}

test "what is no quake is rejected" {
    for ([_][]const u8{ "", "{\"magnitude\": 6.1", "{\"place\": \"Tonga\"}", "{\"magnitude\": \"strong\", \"place\": \"Tonga\"}" }) |data| {
        testing.reset();
        const result = testing.deliver("quakes", data);
        try expectEqual(.reject, result.outcome);
        try std.testing.expectStringStartsWith(result.reason.?, "not a quake: ");
        try expectEqual(null, testing.stored("seen"));
    }
}

test "a count that is no number is tried again" {
    testing.reset();
    testing.setState("seen", "many");
    const result = testing.deliver("quakes", "{\"magnitude\": 1, \"place\": \"Nevada\"}");
    try expectEqual(.retry, result.outcome);
    try expectEqualStrings("NotAnInteger", result.reason.?);
}
