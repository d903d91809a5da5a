// A message as a CloudEvent 1.0. The host keeps events in binary mode: attributes are headers `ce-NAME`, with values decoded,
// and the data is the event's own. An event that came through as one JSON object (structured mode) is read too.

import { reject } from "./failure.js";

const REQUIRED = ["id", "source", "specversion", "type"];
const OPTIONAL = ["subject", "time", "datacontenttype", "dataschema"];

export function eventOf(message) {
  const structured = /^application\/cloudevents\+json\b/i.test(message.contentType ?? "");
  const event = structured ? fromObject(message.json()) : fromHeaders(message);
  const missing = REQUIRED.filter((name) => typeof event[name] !== "string");
  if (missing.length > 0) throw reject(`not a CloudEvent: no ${missing.join(", ")}`);
  return event;
}

function fromHeaders(message) {
  const prefixed = [...message.headers].filter(([name]) => name.startsWith("ce-"));
  const attributes = Object.fromEntries(prefixed.map(([name, value]) => [name.slice(3), value]));
  if (message.contentType !== undefined) attributes.datacontenttype = message.contentType;
  return withData(attributes, () => (isJson(attributes.datacontenttype) ? message.json() : message.data));
}

function fromObject(object) {
  if (typeof object !== "object" || object === null) throw reject("not a CloudEvent: the JSON is no object");
  const { data, data_base64: base64, ...attributes } = object;
  return withData(attributes, () => (base64 === undefined ? data : bytesOf(base64)));
}

function bytesOf(base64) {
  try {
    return Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  } catch {
    throw reject("not a CloudEvent: data_base64 is no base64");
  }
}

/** The data is read when it is asked for: who only wants the type need not pay for it. */
function withData(attributes, read) {
  const event = { extensions: {} };
  for (const [name, value] of Object.entries(attributes)) {
    if (REQUIRED.includes(name) || OPTIONAL.includes(name)) event[name] = value;
    else event.extensions[name] = value;
  }
  Object.defineProperty(event, "data", { get: read, enumerable: true });
  return event;
}

const isJson = (contentType) => contentType === undefined || /^[^;]*[/+]json\s*(;|$)/i.test(contentType);
