// A message that a handler publishes, made into what the host takes.

import { durationForHost } from "./duration.js";

const encoder = new TextEncoder();
const BODIES = ["json", "text", "data"];
const FIELDS = ["topic", "key", "contentType", "headers", "delay", "expiresAfter", "priority", ...BODIES];

export function outgoingForHost(message) {
  const unknown = Object.keys(message).filter((name) => !FIELDS.includes(name));
  if (unknown.length > 0) throw new TypeError(`publish knows no ${unknown.join(", ")}; its fields are ${FIELDS.join(", ")}`);
  if (typeof message.topic !== "string") throw new TypeError("publish needs a topic");
  const { data, type } = bodyOf(message);
  return {
    topic: message.topic,
    key: message.key ?? undefined,
    contentType: message.contentType ?? type,
    headers: headersOf(message),
    data,
    delay: durationForHost(message.delay, "delay"),
    expiresAfter: durationForHost(message.expiresAfter, "expiresAfter"),
  };
}

function bodyOf(message) {
  const given = BODIES.filter((name) => message[name] !== undefined);
  if (given.length > 1) throw new TypeError(`publish takes one of json, text and data, not ${given.join(" and ")}`);
  if (given[0] === "json") {
    const text = JSON.stringify(message.json);
    if (text === undefined) throw new TypeError("json is nothing that JSON can say");
    return { data: encoder.encode(text), type: "application/json" };
  }
  if (given[0] === "text") return { data: encoder.encode(message.text), type: "text/plain" };
  return { data: bytesOf(message.data ?? []), type: undefined };
}

/** Bytes of whatever holds bytes. */
export function bytesOf(value) {
  if (value instanceof Uint8Array) return value;
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  if (value instanceof ArrayBuffer || Array.isArray(value)) return new Uint8Array(value);
  throw new TypeError("data must be bytes (Uint8Array, ArrayBuffer); for text there is `text`, for values `json`");
}

/** From an object, or from anything that lists pairs: `MessageHeaders`, `Headers`, `Map`, an array. */
function headersOf({ headers = {}, priority }) {
  const pairs = typeof headers[Symbol.iterator] === "function" ? [...headers] : Object.entries(headers);
  const listed = pairs.map(([name, value]) => [String(name), String(value)]);
  return priority === undefined ? listed : [...listed, ["priority", String(priority)]];
}
