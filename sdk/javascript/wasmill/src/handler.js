// Handlers, and how one is joined to a host.

import { Context } from "./context.js";
import { Failure, failureForHost, failureOf } from "./failure.js";
import { Message } from "./message.js";

export class Handler {
  constructor(kind, run) {
    if (typeof run !== "function") throw new TypeError(`${kind} needs a function, and got ${typeof run}`);
    this.kind = kind;
    this.run = run;
    Object.freeze(this);
  }
}

export const handler = (run) => new Handler("handler", run);
export const batchHandler = (run) => new Handler("batchHandler", run);

/** What the world `message-handler` exports. A plain function is a handler too. */
export function handleOf(exported, host) {
  const { run } = handlerOf(exported, "handler");
  const context = new Context(host);
  return (delivery) => settled(() => run(new Message(delivery), context), fulfil, refuse);
}

/** What the world `batch-message-handler` exports. */
export function handleBatchOf(exported, host) {
  const { run } = handlerOf(exported, "batchHandler");
  const context = new Context(host);
  return (deliveries) => {
    const messages = deliveries.map((delivery) => new Message(delivery));
    const all = (thrown) => {
      const failure = failureOf(thrown);
      return messages.map(() => resultOf(failure));
    };
    return settled(() => run(messages, context), (results) => resultsOf(results, messages.length), all);
  };
}

function handlerOf(exported, kind) {
  if (exported instanceof Handler && exported.kind === kind) return exported;
  if (typeof exported === "function" && kind === "handler") return new Handler(kind, exported);
  const found = exported instanceof Handler ? exported.kind : typeof exported;
  const hint = found === "batchHandler" ? "build it with --batch" : `write \`export default ${kind}(…)\``;
  throw new TypeError(`the default export must be a ${kind}, and is ${found}: ${hint}`);
}

/** Without a promise when there is none: an event loop is not for nothing. */
function settled(call, fulfilled, thrown) {
  let result;
  try {
    result = call();
  } catch (error) {
    return thrown(error);
  }
  return typeof result?.then === "function" ? result.then(fulfilled, thrown) : fulfilled(result);
}

/** `return reject(…)` is meant as `throw reject(…)`. */
function fulfil(result) {
  if (result instanceof Failure) refuse(result);
}

function refuse(thrown) {
  throw failureForHost(failureOf(thrown));
}

/** One for each message; nothing at all means that all succeeded. */
function resultsOf(results, count) {
  const listed = results === undefined ? Array(count).fill(undefined) : results;
  if (!Array.isArray(listed) || listed.length !== count) {
    const found = Array.isArray(listed) ? `a list of ${listed.length}` : typeof listed;
    const failure = failureOf(new TypeError(`a batch of ${count} needs nothing or a list of ${count} results, and got ${found}`));
    return Array(count).fill(resultOf(failure));
  }
  return listed.map(resultOf);
}

/** A result is nothing, an error, or what `Promise.allSettled` makes of a promise. */
function resultOf(result) {
  const isSettled = result?.status === "rejected" || result?.status === "fulfilled";
  const thrown = isSettled ? (result.status === "rejected" ? result.reason : result.value) : result;
  const failed = result?.status === "rejected" || thrown instanceof Error;
  return failed ? { tag: "err", val: failureForHost(failureOf(thrown)) } : { tag: "ok", val: undefined };
}
