// Durable keys and values of this handler.

import { StateError, asking } from "./errors.js";
import { bytesOf } from "./outgoing.js";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

export class State {
  #host;

  constructor(host) {
    this.#host = host;
  }

  get(key) {
    const bytes = this.getBytes(key);
    return bytes && decoder.decode(bytes);
  }

  getBytes(key) {
    return asking(StateError, () => this.#host.get(key)) ?? undefined;
  }

  getJson(key, otherwise) {
    const text = this.get(key);
    return text === undefined ? otherwise : JSON.parse(text);
  }

  set(key, value) {
    const bytes = typeof value === "string" ? encoder.encode(value) : bytesOf(value);
    asking(StateError, () => this.#host.set(key, bytes));
  }

  setJson(key, value) {
    const text = JSON.stringify(value);
    if (text === undefined) throw new TypeError(`the value for ${key} is nothing that JSON can say`);
    this.set(key, text);
  }

  delete(key) {
    asking(StateError, () => this.#host["delete"](key));
  }

  has(key) {
    return asking(StateError, () => this.#host.exists(key));
  }

  increment(key, by = 1) {
    asking(StateError, () => this.#host.increment(key, BigInt(by)));
  }

  list(prefix = "", { after } = {}) {
    const { keys, next } = asking(StateError, () => this.#host.listKeys(prefix, after ?? undefined));
    return { keys, next: next ?? undefined };
  }

  *keys(prefix = "") {
    let after;
    do {
      const page = this.list(prefix, { after });
      yield* page.keys;
      after = page.next;
    } while (after !== undefined);
  }
}
