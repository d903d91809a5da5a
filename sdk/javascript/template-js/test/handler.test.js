import assert from "node:assert/strict";
import { test } from "node:test";
import { TestHost } from "wasmill/testing";

import onQuake from "../src/handler.js";

test("a strong quake is published, keyed by its place", async () => {
  const host = new TestHost();
  const result = await host.deliver(onQuake, { json: { magnitude: 6.1, place: "Hualien" } });
  assert.deepEqual(result, { outcome: "success" });
  const [{ topic, key, json }] = host.published;
  assert.deepEqual({ topic, key, json }, { topic: "alerts", key: "Hualien", json: { magnitude: 6.1, place: "Hualien" } });
});

test("a weak one is counted and no more", async () => {
  const host = new TestHost({ config: { "magnitude-min": "6.5" }, state: { seen: "2" } });
  for (const magnitude of [6.4, null]) await host.deliver(onQuake, { json: { magnitude, place: "Suva" } });
  assert.deepEqual(host.published, []);
  assert.deepEqual(host.state, { seen: "4" });
});

test("what is no quake is rejected, and counts for nothing", async () => {
  const host = new TestHost();
  for (const message of [{ text: "{" }, { json: { place: "Suva" } }, { json: null }, { json: { magnitude: 1 } }]) {
    const { outcome, reason } = await host.deliver(onQuake, message);
    assert.equal(outcome, "reject");
    assert.match(reason, /^not a quake: /);
  }
  assert.deepEqual(host.state, {});
});
