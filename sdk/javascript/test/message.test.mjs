import assert from "node:assert/strict";
import { test } from "node:test";

import { Failure } from "../wasmill/index.js";
import { TestHost } from "../wasmill/testing.js";

async function read(message, work, delivery) {
  let value;
  const result = await new TestHost().deliver((msg) => { value = work(msg); }, message, delivery);
  assert.deepEqual(result, { outcome: "success" });
  return value;
}

const rejection = (reason) => (error) => error instanceof Failure && error.kind === "reject" && reason.test(error.message);

test("fields, and what is not there", async () => {
  const at = new Date("2026-01-01T00:00:00Z");
  const message = { id: "7", topic: "a.b", key: "k", json: {}, publishedAt: at };
  await read(message, (msg) => {
    assert.deepEqual([msg.id, msg.topic, msg.key, msg.contentType, msg.publishedAt], ["7", "a.b", "k", "application/json", at]);
    assert.deepEqual([msg.queue, msg.sequence, msg.attempt, msg.maxAttempts, msg.isLastAttempt], ["q", 1n, 3, 3, true]);
  }, { queue: "q", attempt: 3, maxAttempts: 3 });
  await read({}, (msg) => {
    assert.deepEqual([msg.key, msg.contentType, msg.headers.size, msg.data.length, msg.text(), msg.replyTo], [undefined, undefined, 0, 0, "", undefined]);
    assert.equal(msg.isLastAttempt, false);
  });
});

test("headers: order, repeats, any case", async () => {
  const headers = [["b", "1"], ["A", "2"], ["b", "3"], ["reply-to", "r"]];
  await read({ headers }, (msg) => {
    assert.deepEqual([...msg.headers], [["b", "1"], ["a", "2"], ["b", "3"], ["reply-to", "r"]]);
    assert.deepEqual([msg.headers.get("B"), msg.headers.getAll("b"), msg.headers.get("c"), msg.headers.has("a")], ["1", ["1", "3"], undefined, true]);
    assert.deepEqual([[...msg.headers.keys()], [...msg.headers.values()]], [["b", "a", "b", "reply-to"], ["1", "2", "3", "r"]]);
    assert.equal(JSON.stringify(msg.headers), '[["b","1"],["a","2"],["b","3"],["reply-to","r"]]');
    const seen = [];
    msg.headers.forEach((value, name) => seen.push(name + value));
    assert.deepEqual(seen, ["b1", "a2", "b3", "reply-tor"]);
    assert.equal(msg.replyTo, "r");
  });
});

test("text is what was published, to the byte", async () => {
  const hard = "\uFEFFGrüße 世界 👩‍👩‍👧‍👦 𝒳 e\u0301 \u0000 end";
  assert.equal(await read({ text: hard }, (msg) => msg.text()), hard);
  await read({ data: [0xff] }, (msg) => assert.throws(() => msg.text(), rejection(/data is not UTF-8/)));
});

test("JSON that is broken, or does not fit, is rejected", async () => {
  assert.deepEqual(await read({ json: { a: [1, null] } }, (msg) => msg.json()), { a: [1, null] });
  for (const text of ["", "{", "nope"]) {
    await read({ text }, (msg) => assert.throws(() => msg.json(), rejection(/data is not JSON: /)));
  }
  const positive = (value) => {
    if (!(value > 0)) throw new RangeError("must be above 0");
    return value * 2;
  };
  assert.equal(await read({ json: 2 }, (msg) => msg.json(positive)), 4);
  await read({ json: -2 }, (msg) => assert.throws(() => msg.json(positive), rejection(/data does not fit: must be above 0/)));
});

test("CloudEvents in binary mode, as the host keeps them", async () => {
  const headers = { "ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t", "ce-subject": "x", "ce-partitionkey": "p" };
  const event = await read({ headers, json: { a: 1 }, contentType: "application/vnd.a+json" }, (msg) => ({ ...msg.cloudEvent() }));
  assert.deepEqual(event, {
    id: "1", source: "/s", specversion: "1.0", type: "t", subject: "x", datacontenttype: "application/vnd.a+json",
    extensions: { partitionkey: "p" }, data: { a: 1 },
  });
  assert.deepEqual(await read({ headers, text: "x" }, (msg) => msg.cloudEvent().data), new Uint8Array([120]));
});

test("CloudEvents in structured mode", async () => {
  const event = { specversion: "1.0", id: "1", source: "/s", type: "t", n: 7 };
  const contentType = "application/cloudevents+json; charset=utf-8";
  const plain = await read({ json: { ...event, data: { a: 1 } }, contentType }, (msg) => msg.cloudEvent());
  assert.deepEqual([plain.data, plain.extensions], [{ a: 1 }, { n: 7 }]);
  const binary = await read({ json: { ...event, data_base64: "AP8=" }, contentType }, (msg) => msg.cloudEvent().data);
  assert.deepEqual(binary, new Uint8Array([0, 255]));
});

test("what is no CloudEvent is rejected", async () => {
  await read({ json: {}, headers: { "ce-id": "1" } }, (msg) =>
    assert.throws(() => msg.cloudEvent(), rejection(/not a CloudEvent: no source, specversion, type/)));
  const contentType = "application/cloudevents+json";
  await read({ json: 7, contentType }, (msg) => assert.throws(() => msg.cloudEvent(), rejection(/no object/)));
});
