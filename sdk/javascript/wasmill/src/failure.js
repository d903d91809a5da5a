// Why a delivery did not succeed, and what shall become of it.

import { milliseconds } from "./duration.js";

export class Failure extends Error {
  constructor(kind, reason, after) {
    super(reason);
    this.name = "Failure";
    this.kind = kind;
    this.after = after === undefined ? undefined : milliseconds(after, `after of ${kind}`);
  }
}

export const retry = (reason, { after } = {}) => new Failure("retry", String(reason), after);
export const reject = (reason) => new Failure("reject", String(reason));
export const defer = (after) => new Failure("defer", `not before ${after} from now`, after);
export const throttle = (after) => new Failure("throttle", `nothing of this key for ${after}`, after);

/** What was thrown, as a failure: all but a `Failure` is a retry, and its stack goes to the log. */
export function failureOf(thrown) {
  if (thrown instanceof Failure) return thrown;
  console.error(trace(thrown));
  return new Failure("retry", describe(thrown));
}

/** The failure as the contract has it. */
export function failureForHost({ kind, message, after }) {
  switch (kind) {
    case "retry":
      return { tag: kind, val: { reason: message, after: after === undefined ? undefined : BigInt(after) } };
    case "reject":
      return { tag: kind, val: message };
    default:
      return { tag: kind, val: BigInt(after) };
  }
}

/** `new Error("boom")` is `boom`, a `TypeError` says that it is one. */
function describe(thrown) {
  if (!(thrown instanceof Error)) return typeof thrown === "object" ? (JSON.stringify(thrown) ?? "null") : String(thrown);
  return thrown.name === "Error" ? thrown.message || "Error" : String(thrown);
}

/** Engines differ in whether a stack begins with the message. */
function trace(thrown) {
  if (!(thrown instanceof Error)) return `thrown: ${describe(thrown)}`;
  const text = String(thrown);
  const stack = (thrown.stack ?? "").trimEnd();
  const own = stack.startsWith(text) ? stack : [text, ...stack.split("\n").map((line) => `    at ${line}`)].join("\n");
  return thrown.cause === undefined ? own : `${own}\ncaused by ${trace(thrown.cause)}`;
}
