import assert from "node:assert/strict";
import { test } from "node:test";

import { Failure, PublishError, batchHandler, defer, handler, reject, retry, throttle } from "../wasmill/index.js";
import { handleBatchOf, handleOf } from "../wasmill/src/handler.js";
import { TestHost } from "../wasmill/testing.js";

/** Run it without its stack on the terminal, and give that back. */
async function quietly(work) {
  const { error } = console;
  const lines = [];
  console.error = (line) => lines.push(line);
  try {
    return { result: await work(), log: lines.join("\n") };
  } finally {
    console.error = error;
  }
}

const outcomeOf = (run, message = {}) => new TestHost().deliver(handler(run), message);

test("each failure reaches the host as what it is", async () => {
  const cases = [
    [() => retry("later"), { outcome: "retry", reason: "later", after: undefined }],
    [() => retry("later", { after: "1.5s" }), { outcome: "retry", reason: "later", after: 1500 }],
    [() => reject("never"), { outcome: "reject", reason: "never", after: undefined }],
    [() => defer("2m"), { outcome: "defer", reason: undefined, after: 120_000 }],
    [() => throttle(250), { outcome: "throttle", reason: undefined, after: 250 }],
  ];
  for (const [failure, expected] of cases) {
    assert.deepEqual(await outcomeOf(() => { throw failure(); }), expected);
    assert.deepEqual(await outcomeOf(async () => { await null; throw failure(); }), expected);
    assert.deepEqual(await outcomeOf(() => failure()), expected, "returned instead of thrown");
    assert.deepEqual(await outcomeOf(async () => failure()), expected);
  }
});

test("all else that is thrown is a retry, with its stack in the log", async () => {
  const cases = [
    [new Error("boom"), "boom"],
    [new TypeError("x is undefined"), "TypeError: x is undefined"],
    ["a text", "a text"],
    [{ code: 7 }, '{"code":7}'],
    [undefined, "undefined"],
    [new Error(""), "Error"],
  ];
  for (const [thrown, reason] of cases) {
    const { result, log } = await quietly(() => outcomeOf(async () => { throw thrown; }));
    assert.deepEqual(result, { outcome: "retry", reason, after: undefined });
    assert.ok(log.includes(reason), log);
  }
  const { log } = await quietly(() => outcomeOf(() => { throw new Error("outer", { cause: new Error("inner") }); }));
  assert.match(log, /outer[\s\S]*handler\.test\.mjs[\s\S]*caused by Error: inner/);
});

test("what people throw is not logged twice: failures are no accidents", async () => {
  const { log } = await quietly(() => outcomeOf(() => { throw reject("no"); }));
  assert.equal(log, "");
});

test("a handler without promises is answered without one", () => {
  const host = { producer: {}, state: {}, config: {} };
  const delivery = { message: { id: "1", topic: "t", headers: [], data: new Uint8Array(), publishedAt: 0n }, queue: "q", sequence: 1n, attempt: 1, maxAttempts: 1 };
  assert.equal(handleOf(handler(() => {}), host)(delivery), undefined);
  assert.ok(handleOf(async () => {}, host)(delivery) instanceof Promise);
  assert.throws(() => handleOf(() => { throw reject("no"); }, host)(delivery), (thrown) => thrown.tag === "reject");
});

test("what is no handler is refused when the component is built", () => {
  assert.throws(() => handleOf(undefined, {}), /default export must be a handler, and is undefined/);
  assert.throws(() => handleOf(batchHandler(() => {}), {}), /build it with --batch/);
  assert.throws(() => handleBatchOf(handler(() => {}), {}), /export default batchHandler/);
  assert.throws(() => handler({}), /needs a function/);
});

test("effects are there when it succeeds, and never when it fails", async () => {
  const host = new TestHost({ state: { n: "1" } });
  const work = (msg, ctx) => {
    ctx.state.increment("n");
    ctx.publish({ topic: "out", text: ctx.state.get("n") });
    if (msg.text() === "fail") throw reject("asked to");
  };
  await host.deliver(work, { text: "fail" });
  assert.deepEqual([host.state, host.published], [{ n: "1" }, []]);
  await host.deliver(work, { text: "go" });
  assert.deepEqual(host.state, { n: "2" });
  assert.equal(host.published[0].text, "2");
});

test("a batch: nothing, a list, settled promises, an exception", async () => {
  const batch = (run) => new TestHost().deliverBatch(batchHandler(run), [{ text: "a" }, { text: "b" }]);
  const success = { outcome: "success" };
  const failed = { outcome: "reject", reason: "b", after: undefined };
  assert.deepEqual(await batch(() => {}), [success, success]);
  assert.deepEqual(await batch(() => [undefined, reject("b")]), [success, failed]);
  const one = async (msg) => { if (msg.text() === "b") throw reject("b"); };
  assert.deepEqual(await batch((messages) => Promise.allSettled(messages.map(one))), [success, failed]);
  assert.deepEqual(await batch(async () => { throw reject("b"); }), [failed, failed]);
  const { result } = await quietly(() => batch(() => [undefined]));
  assert.match(result[1].reason, /a batch of 2 needs nothing or a list of 2 results, and got a list of 1/);
  assert.equal(result[0].outcome, "retry");
});

test("a batch in which one fails leaves no effects", async () => {
  const host = new TestHost();
  const run = batchHandler((messages, ctx) => {
    ctx.state.set("k", "v");
    return messages.map((_, index) => (index === 1 ? new Error("second") : undefined));
  });
  const { result } = await quietly(() => host.deliverBatch(run, [{}, {}]));
  assert.deepEqual(result.map(({ outcome }) => outcome), ["success", "retry"]);
  assert.deepEqual(host.state, {});
});

test("failures and refusals are errors with names", () => {
  assert.ok(reject("x") instanceof Failure && reject("x") instanceof Error);
  assert.equal(new PublishError("too-large", "the limit is 5 bytes").message, "too-large: the limit is 5 bytes");
  assert.throws(() => defer("soon"), /after of defer is soon; give milliseconds/);
  for (const wrong of [-1, NaN, Infinity, "", "5", "5 s", "1w"]) assert.throws(() => retry("x", { after: wrong }), TypeError);
});
