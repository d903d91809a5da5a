import assert from "node:assert/strict";
import { test } from "node:test";

import { PublishError, StateError } from "../wasmill/index.js";
import { TestHost } from "../wasmill/testing.js";

/** Run a handler and give back what it returned, and its host. */
async function withContext(work, options) {
  const host = new TestHost(options);
  let value;
  const result = await host.deliver((msg, ctx) => { value = work(ctx, msg); }, {});
  assert.deepEqual(result, { outcome: "success" });
  return { value, host };
}

test("publish: bodies and their content types", async () => {
  const { host } = await withContext((ctx) => {
    ctx.publish({ topic: "a.b", json: { wärme: "🔥" } });
    ctx.publish({ topic: "a", text: "é" });
    ctx.publish({ topic: "a", data: new Uint8Array([0, 255]) });
    ctx.publish({ topic: "a", data: new Uint16Array([1]).buffer, contentType: "application/x" });
    ctx.publish({ topic: "a", json: null });
    ctx.publish({ topic: "a" });
  });
  const shown = host.published.map(({ contentType, data }) => [contentType, Buffer.from(data).toString("hex")]);
  assert.deepEqual(host.published[0].json, { wärme: "🔥" });
  assert.deepEqual(shown.slice(1), [
    ["text/plain", "c3a9"],
    [undefined, "00ff"],
    ["application/x", "0100"],
    ["application/json", Buffer.from("null").toString("hex")],
    [undefined, ""],
  ]);
});

test("publish: key, headers in every shape, times, priority", async () => {
  const shapes = [{ a: "1", b: 2 }, new Map([["a", "1"], ["b", "2"]]), [["a", "1"], ["b", "2"]], new Headers({ b: "2", a: "1" })];
  for (const headers of shapes) {
    const { host } = await withContext((ctx) => ctx.publish({ topic: "a", headers }));
    assert.deepEqual(host.published[0].headers, [["a", "1"], ["b", "2"]]);
  }
  const { host, value } = await withContext((ctx) =>
    ctx.publish({ topic: "a", key: "k", delay: "1h", expiresAfter: 90_000, priority: 9, headers: [["x", "1"], ["x", "2"]] }));
  const [{ key, delay, expiresAfter, headers }] = host.published;
  assert.deepEqual([key, delay, expiresAfter, headers], ["k", 3_600_000, 90_000, [["x", "1"], ["x", "2"], ["priority", "9"]]]);
  assert.equal(typeof value, "string");
});

test("publish: what is wrong is said, before the host is asked or by it", async () => {
  await withContext((ctx) => {
    const wrong = [
      [{ topic: "a", text: "x", json: 1 }, TypeError, /one of json, text and data, not json and text/],
      [{ topic: "a", txt: "x" }, TypeError, /publish knows no txt/],
      [{ text: "x" }, TypeError, /needs a topic/],
      [{ topic: "a", data: "text" }, TypeError, /for text there is `text`/],
      [{ topic: "a", json: () => {} }, TypeError, /nothing that JSON can say/],
      [{ topic: "a.*" }, PublishError, /invalid-topic/],
      [{ topic: "a", key: "" }, PublishError, /invalid-message/],
      [{ topic: "a", data: new Uint8Array(1024 * 1024 + 1) }, PublishError, /too-large: the limit is 1048576 bytes/],
    ];
    for (const [message, kind, text] of wrong) {
      assert.throws(() => ctx.publish(message), (error) => error instanceof kind && text.test(error.message), String(text));
    }
  });
});

test("state: text, bytes, JSON, none", async () => {
  const { host } = await withContext(({ state }) => {
    assert.equal(state.get("k"), undefined);
    assert.equal(state.getJson("k"), undefined);
    assert.deepEqual(state.getJson("k", { n: 0 }), { n: 0 });
    state.set("k", "\uFEFFwärme");
    assert.equal(state.get("k"), "\uFEFFwärme");
    state.set("empty", "");
    assert.deepEqual([state.get("empty"), state.has("empty"), state.has("nothing")], ["", true, false]);
    state.set("bytes", [0, 255]);
    assert.deepEqual(state.getBytes("bytes"), new Uint8Array([0, 255]));
    state.setJson("json", { a: [1] });
    assert.deepEqual(state.getJson("json"), { a: [1] });
    for (const key of ["k", "bytes", "empty", "never"]) state.delete(key);
  });
  assert.deepEqual(host.state, { json: '{"a":[1]}' });
});

test("state: increments, and where they stop", async () => {
  const { host } = await withContext(({ state }) => {
    state.increment("n");
    state.increment("n", -5);
    state.increment("big", 2n ** 62n);
    state.increment("big", 2n ** 62n);
    state.set("text", "x");
    assert.throws(() => state.increment("text"), (error) => error instanceof StateError && error.code === "not-an-integer");
    assert.throws(() => state.increment("n", 0.5), RangeError);
  });
  assert.deepEqual(host.state, { big: "9223372036854775807", n: "-4", text: "x" });
});

test("state: keys in the order of their bytes, over pages", async () => {
  const many = Object.fromEntries(Array.from({ length: 2500 }, (_, n) => [`p/${String(n).padStart(4, "0")}`, ""]));
  await withContext(({ state }) => {
    assert.equal([...state.keys("p/")].length, 2500);
    assert.deepEqual([...state.keys("x/")], ["x/\u{FFFD}", "x/🔥"], "UTF-8, not UTF-16");
    const page = state.list("p/", { after: "p/2497" });
    assert.deepEqual(page, { keys: ["p/2498", "p/2499"], next: undefined });
    assert.equal(state.list().keys.length, 1000);
    assert.equal(state.list("p/").next, "p/0999");
  }, { state: { ...many, "x/🔥": "", "x/\u{FFFD}": "" } });
});

test("state: what is refused has a code", async () => {
  await withContext(({ state }) => {
    for (const call of [() => state.get(""), () => state.set("", "x"), () => state.increment(""), () => state.has("é".repeat(128))]) {
      assert.throws(call, (error) => error instanceof StateError && error.code === "invalid-key");
    }
    assert.throws(() => state.set("k", "x".repeat(1024 * 1024 + 1)), (error) => error.code === "too-large");
  });
});

test("config: text, numbers, truth, and what is missing", async () => {
  const config = { text: "a", empty: "", n: " 4.5 ", many: "many", yes: "true", no: "false" };
  await withContext((ctx) => {
    assert.deepEqual([ctx.config.get("text"), ctx.config.get("empty"), ctx.config.get("none")], ["a", "", undefined]);
    assert.deepEqual([ctx.config.number("n", 1), ctx.config.number("none", 1), ctx.config.number("n")], [4.5, 1, 4.5]);
    assert.deepEqual([ctx.config.boolean("yes", false), ctx.config.boolean("no", true), ctx.config.boolean("none", true)], [true, false, true]);
    assert.deepEqual(ctx.config.all(), config);
    assert.throws(() => ctx.config.number("many", 1), /config many must be a number, and is "many"/);
    assert.throws(() => ctx.config.number("empty", 1), /must be a number/);
    assert.throws(() => ctx.config.boolean("n", true), /must be true or false/);
    assert.throws(() => ctx.config.require("none"), /config none is missing/);
  }, { config });
});
