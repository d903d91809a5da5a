// What a handler is given: a message, and the delivery that brings it.

import { eventOf } from "./cloudevent.js";
import { reject } from "./failure.js";

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Headers in their order; names may repeat. */
export class MessageHeaders {
  #pairs;

  constructor(pairs = []) {
    this.#pairs = pairs.map(([name, value]) => [name.toLowerCase(), value]);
  }

  get size() {
    return this.#pairs.length;
  }

  get(name) {
    return this.getAll(name)[0];
  }

  getAll(name) {
    const wanted = name.toLowerCase();
    return this.#pairs.filter(([other]) => other === wanted).map(([, value]) => value);
  }

  has(name) {
    return this.getAll(name).length > 0;
  }

  forEach(each) {
    for (const [name, value] of this) each(value, name, this);
  }

  *keys() {
    for (const [name] of this.#pairs) yield name;
  }

  *values() {
    for (const [, value] of this.#pairs) yield value;
  }

  *entries() {
    for (const [name, value] of this.#pairs) yield [name, value];
  }

  [Symbol.iterator]() {
    return this.entries();
  }

  toJSON() {
    return [...this];
  }
}

export class Message {
  /** A delivery as the contract has it. */
  constructor({ message, queue, sequence, attempt, maxAttempts }) {
    this.id = message.id;
    this.topic = message.topic;
    this.key = message.key ?? undefined;
    this.contentType = message.contentType ?? undefined;
    this.headers = new MessageHeaders(message.headers);
    this.data = message.data;
    this.publishedAt = new Date(Number(message.publishedAt));
    this.queue = queue;
    this.sequence = BigInt(sequence);
    this.attempt = attempt;
    this.maxAttempts = maxAttempts;
  }

  get isLastAttempt() {
    return this.attempt >= this.maxAttempts;
  }

  get replyTo() {
    return this.headers.get("reply-to");
  }

  bytes() {
    return this.data;
  }

  text() {
    try {
      return utf8.decode(this.data);
    } catch {
      throw reject("data is not UTF-8");
    }
  }

  json(parse = (value) => value) {
    const text = this.text();
    let value;
    try {
      value = JSON.parse(text);
    } catch (error) {
      throw reject(`data is not JSON: ${error.message}`);
    }
    try {
      return parse(value);
    } catch (error) {
      throw reject(`data does not fit: ${error?.message ?? error}`);
    }
  }

  cloudEvent() {
    return eventOf(this);
  }
}
