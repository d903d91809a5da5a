// A stand-in for the host, in memory: unit tests give a handler messages and look at what it did. See `testing.d.ts`.
//
// It commits what a delivery did when that succeeds and drops it otherwise, and refuses what the host refuses. It has no
// queues, no retries, no fuel and no conflicts: for these run the built component with `wasmill test`.

import { handleBatchOf, handleOf } from "./src/handler.js";
import { bytesOf, outgoingForHost } from "./src/outgoing.js";

const NAME_BYTES_MAX = 255;
const DATA_BYTES_MAX = 1024 * 1024;
const HEADERS_MAX = 64;
const PAGE_KEYS_MAX = 1000;
const INTEGER_MAX = 2n ** 63n - 1n;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const refuse = (tag, val) => {
  throw Object.assign(new Error(tag), { payload: { tag, val } });
};

export class TestHost {
  #state = new Map();
  #staged = undefined;
  #sequence = 0;
  #ids = 0;

  constructor({ config = {}, state = {} } = {}) {
    this.config = { ...config };
    this.published = [];
    for (const [key, value] of Object.entries(state)) this.#state.set(key, stored(value));
  }

  get state() {
    return Object.fromEntries([...this.#state].sort(byBytes).map(([key, value]) => [key, decoder.decode(value)]));
  }

  async deliver(exported, message, delivery) {
    const [answer] = await this.#run([this.#delivery(message, delivery)], async ([only]) => {
      try {
        await handleOf(exported, this.#interfaces())(only);
        return [{ tag: "ok" }];
      } catch (thrown) {
        return [{ tag: "err", val: thrown }];
      }
    });
    return answer;
  }

  deliverBatch(exported, messages, delivery) {
    const deliveries = messages.map((message) => this.#delivery(message, delivery));
    return this.#run(deliveries, (all) => handleBatchOf(exported, this.#interfaces())(all));
  }

  /** What a call does takes effect when all of its deliveries succeed. */
  async #run(deliveries, call) {
    this.#staged = { state: new Map(this.#state), published: [] };
    const results = await call(deliveries);
    if (results.every(({ tag }) => tag === "ok")) {
      this.#state = this.#staged.state;
      this.published.push(...this.#staged.published);
    }
    this.#staged = undefined;
    return results.map(outcomeOf);
  }

  #delivery(message, { attempt = 1, maxAttempts = 5, queue = "test" } = {}) {
    const { data, contentType, key, headers, topic = "test" } = outgoingForHost({ topic: "test", ...withoutOwn(message) });
    this.#sequence += 1;
    const publishedAt = BigInt(Number(message.publishedAt ?? Date.now()));
    const id = message.id ?? `test-${this.#sequence}`;
    const sequence = BigInt(this.#sequence);
    return { message: { id, topic, key, contentType, headers, data, publishedAt }, queue, sequence, attempt, maxAttempts };
  }

  /** The interfaces of the contract, as the bindings of a component would give them. */
  #interfaces() {
    const staged = () => {
      if (this.#staged === undefined) throw new Error("called when no delivery is under way: await all that a handler begins");
      return this.#staged;
    };
    const producer = {
      publish: (message) => {
        checkOutgoing(message);
        const { delay, expiresAfter, ...rest } = message;
        const times = { delay: delay && Number(delay), expiresAfter: expiresAfter && Number(expiresAfter) };
        staged().published.push(new Published({ ...rest, ...times }));
        this.#ids += 1;
        return `published-${this.#ids}`;
      },
    };
    const config = { get: (name) => this.config[name], getAll: () => Object.entries(this.config) };
    return { producer, state: stateOver(() => staged().state), config };
  }
}

/** What was published, with its data as people want it. */
class Published {
  constructor({ topic, key, contentType, headers, data, delay, expiresAfter }) {
    Object.assign(this, { topic, key, contentType, headers, data, delay, expiresAfter });
  }

  get text() {
    return decoder.decode(this.data);
  }

  get json() {
    return JSON.parse(this.text);
  }
}

function withoutOwn({ id, publishedAt, ...message }) {
  return message;
}

function outcomeOf({ tag, val }) {
  if (tag === "ok") return { outcome: "success" };
  if (val?.tag === undefined) throw val;
  const after = val.tag === "retry" ? val.val.after : val.tag === "reject" ? undefined : val.val;
  const reason = val.tag === "retry" ? val.val.reason : val.tag === "reject" ? val.val : undefined;
  return { outcome: val.tag, reason, after: after === undefined ? undefined : Number(after) };
}

function checkOutgoing({ topic, key, headers, data }) {
  const words = topic.split(".");
  if (words.includes("") || /[\s*#\p{Cc}]/u.test(topic) || sizeOf(topic) > NAME_BYTES_MAX) {
    refuse("invalid-topic", `topic "${topic}" has empty words, wildcards, white space, or over ${NAME_BYTES_MAX} bytes`);
  }
  if (key !== undefined && (key === "" || sizeOf(key) > NAME_BYTES_MAX)) refuse("invalid-message", "the key is empty or too long");
  if (headers.length > HEADERS_MAX) refuse("invalid-message", `more than ${HEADERS_MAX} headers`);
  if (data.length > DATA_BYTES_MAX) refuse("too-large", BigInt(DATA_BYTES_MAX));
}

function stateOver(entries) {
  const at = (key) => {
    if (key === "" || sizeOf(key) > NAME_BYTES_MAX) refuse("invalid-key", `a key has 1 to ${NAME_BYTES_MAX} bytes`);
    return entries();
  };
  return {
    get: (key) => at(key).get(key),
    exists: (key) => at(key).has(key),
    delete: (key) => void at(key)["delete"](key),
    set: (key, value) => {
      if (value.length > DATA_BYTES_MAX) refuse("too-large", BigInt(DATA_BYTES_MAX));
      at(key).set(key, value.slice());
    },
    increment: (key, delta) => {
      const text = decoder.decode(at(key).get(key) ?? encoder.encode("0"));
      if (!/^[+-]?\d+$/.test(text)) refuse("not-an-integer");
      entries().set(key, encoder.encode(String(within(BigInt(text) + delta))));
    },
    listKeys: (prefix, after) => {
      const found = [...entries()].sort(byBytes).map(([key]) => key);
      const keys = found.filter((key) => key.startsWith(prefix) && (after === undefined || compareBytes(key, after) > 0));
      const page = keys.slice(0, PAGE_KEYS_MAX);
      return { keys: page, next: keys.length > page.length ? page.at(-1) : undefined };
    },
  };
}

const sizeOf = (text) => encoder.encode(text).length;
const within = (sum) => (sum > INTEGER_MAX ? INTEGER_MAX : sum < -INTEGER_MAX - 1n ? -INTEGER_MAX - 1n : sum);
const stored = (value) => (typeof value === "string" ? encoder.encode(value) : bytesOf(value));
const byBytes = ([one], [other]) => compareBytes(one, other);

/** UTF-8 sorts as code points do, which is not how JavaScript compares text. */
function compareBytes(one, other) {
  const [left, right] = [Array.from(one), Array.from(other)];
  const index = left.findIndex((char, place) => char !== right[place]);
  if (index === -1) return left.length - right.length;
  return right[index] === undefined ? 1 : left[index].codePointAt(0) - right[index].codePointAt(0);
}
