/**
 * A stand-in for the host, in memory, for unit tests in Node.
 *
 * ```js
 * import assert from "node:assert/strict";
 * import { test } from "node:test";
 * import { TestHost } from "wasmill/testing";
 * import onOrder from "../src/handler.js";
 *
 * test("orders are accepted", async () => {
 *   const host = new TestHost({ config: { currency: "EUR" }, state: { orders: "7" } });
 *   const result = await host.deliver(onOrder, { topic: "orders", json: { id: "a", total: 3 } });
 *   assert.deepEqual(result, { outcome: "success" });
 *   assert.equal(host.published[0].json.total, 3);
 *   assert.deepEqual(host.state, { orders: "8" });
 * });
 * ```
 *
 * What a delivery published and stored is there when it succeeded, and never when it failed. There are no queues, no retries, no
 * fuel and no conflicts here: for these run the built component with `wasmill test`.
 */

import type { Bytes, Handler, HandlerFunction, Outgoing } from "./index.js";

/** A message to deliver; the topic is `test` when none is given. */
export type Incoming = Partial<Omit<Outgoing, "delay" | "expiresAfter">> & { id?: string; publishedAt?: Date | number };

/** The delivery around it: attempt 1 of 5 from queue `test`, unless said otherwise. */
export interface DeliveryOptions {
  attempt?: number;
  maxAttempts?: number;
  queue?: string;
}

export interface Outcome {
  outcome: "success" | "retry" | "reject" | "defer" | "throttle";
  /** Of `retry` and `reject`. */
  reason?: string;
  /** In milliseconds, where one was given. */
  after?: number;
}

/** What a handler published. */
export interface Published {
  topic: string;
  key: string | undefined;
  contentType: string | undefined;
  headers: [string, string][];
  data: Uint8Array;
  /** In milliseconds. */
  delay: number | undefined;
  /** In milliseconds. */
  expiresAfter: number | undefined;
  readonly text: string;
  readonly json: any;
}

export class TestHost {
  constructor(options?: { config?: Record<string, string>; state?: Record<string, string | Bytes> });
  /** May be changed between deliveries. */
  config: Record<string, string>;
  /** What deliveries that succeeded published, in order. */
  readonly published: Published[];
  /** What is stored, as text, in the order of keys. */
  get state(): Record<string, string>;
  /** Give a handler one message. */
  deliver(exported: Handler | HandlerFunction, message: Incoming, delivery?: DeliveryOptions): Promise<Outcome>;
  /** Give a batch handler messages; one outcome for each. When one fails, what the call did is dropped. */
  deliverBatch(exported: Handler, messages: Incoming[], delivery?: DeliveryOptions): Promise<Outcome[]>;
}
