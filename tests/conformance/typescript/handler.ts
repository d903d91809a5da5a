// The conformance handler in TypeScript: what each topic asks for is in `tests/conformance/README.md`. There is no `do.exit`, for a
// script cannot end its process.

import {
  type Context,
  type Failure,
  type Message,
  type Outgoing,
  PublishError,
  type State,
  StateError,
  defer,
  handler,
  reject,
  retry,
  throttle,
} from "wasmill";

type Answer = Omit<Outgoing, "topic"> | undefined;
type Answering = (msg: Message, ctx: Context) => Answer | Promise<Answer>;

export default handler(async (msg, ctx) => {
  const answering = answers.get(msg.topic);
  if (answering === undefined) throw reject(`unknown topic ${msg.topic}`);
  const answer = await answering(msg, ctx);
  if (answer !== undefined) ctx.publish({ topic: "out", ...answer });
});

interface ToPublish {
  topic: string;
  key?: string;
  contentType?: string;
  headers?: [string, string][];
  text: string;
  delayMs?: number;
  expiresAfterMs?: number;
}

type Operation =
  | ["get" | "delete" | "exists", string]
  | ["set", string, string]
  | ["increment", string, number]
  | ["list", string, string | null];

interface Request {
  method: string;
  url: string;
  headers?: [string, string][];
  text?: string;
}

/** Each answers with what to publish to `out`, or with nothing. */
const answers = new Map<string, Answering>([
  ["do.echo", ({ key, contentType, headers, data }) => ({ key, contentType, headers, data })],
  [
    "do.fields",
    ({ id, topic, key = null, contentType = null, headers, data, publishedAt, queue, sequence, attempt, maxAttempts }) => ({
      json: {
        id,
        topic,
        key,
        contentType,
        headers,
        length: data.length,
        publishedAt: publishedAt.getTime(),
        queue,
        sequence: Number(sequence),
        attempt,
        maxAttempts,
      },
    }),
  ],
  [
    "do.publish",
    (msg, ctx) => {
      const { delayMs: delay, expiresAfterMs: expiresAfter, ...message } = msg.json<ToPublish>();
      return { text: orError(() => ctx.publish({ ...message, delay, expiresAfter })) };
    },
  ],
  ["do.state", (msg, ctx) => ({ json: msg.json<Operation[]>().map((operation) => stateResult(operation, ctx.state)) })],
  [
    "do.state-size",
    (msg, ctx) => {
      const { key, bytes } = msg.json<{ key: string; bytes: number }>();
      return { text: orError(() => (ctx.state.set(key, "x".repeat(bytes)), "ok")) };
    },
  ],
  ["do.config", (msg, ctx) => ({ text: ctx.config.get(msg.text()) ?? "(none)" })],
  ["do.config-all", (_, ctx) => ({ json: ctx.config.all() })],
  ["do.clock", () => ({ text: String(Date.now()) })],
  ["do.random", () => ({ text: hex(crypto.getRandomValues(new Uint8Array(16))) })],
  [
    "do.log",
    (msg) => {
      console.log(msg.text());
      console.error(`err: ${msg.text()}`);
      return undefined;
    },
  ],
  ["do.http", ask],
  [
    "do.retry",
    (msg) => {
      const { reason, afterMs } = msg.json<{ reason: string; afterMs?: number }>();
      throw retry(reason, { after: afterMs });
    },
  ],
  ["do.defer", (msg) => notBefore(msg, defer)],
  ["do.throttle", (msg) => notBefore(msg, throttle)],
  ["do.reject", (msg) => fail(reject(msg.text()))],
  ["do.error", (msg) => fail(new Error(msg.text()))],
  // What traps here: a promise that can never settle. An exception would be a retry.
  ["do.panic", () => new Promise(() => {})],
  [
    "do.void",
    (_, ctx) => {
      ctx.state.set("void", "x");
      ctx.publish({ topic: "out", text: "void" });
      throw reject("void");
    },
  ],
  [
    "do.spin",
    () => {
      for (;;);
    },
  ],
  [
    "do.allocate",
    () => {
      const kept: Uint8Array[] = [];
      for (;;) kept.push(new Uint8Array(1024 * 1024).fill(1));
    },
  ],
]);

async function ask(msg: Message): Promise<Answer> {
  const { method, url, headers, text } = msg.json<Request>();
  try {
    const response = await fetch(url, { method, headers, body: text });
    return { json: { status: response.status, text: await response.text() } };
  } catch {
    return { json: { error: true } };
  }
}

function notBefore(msg: Message, failure: (after: number) => Failure): Answer {
  const { afterMs } = msg.json<{ afterMs: number }>();
  if (Date.now() < msg.publishedAt.getTime() + afterMs) throw failure(afterMs);
  return { text: "ran" };
}

function fail(error: Error): never {
  throw error;
}

function orError(work: () => string): string {
  try {
    return work();
  } catch (error) {
    if (error instanceof PublishError || error instanceof StateError) return `error: ${error.code}`;
    throw error;
  }
}

function stateResult(operation: Operation, state: State): unknown {
  try {
    return stateValue(operation, state) ?? null;
  } catch (error) {
    if (error instanceof StateError) return { error: error.code };
    throw error;
  }
}

function stateValue(operation: Operation, state: State): unknown {
  switch (operation[0]) {
    case "get":
      return state.get(operation[1]);
    case "set":
      return state.set(operation[1], operation[2]);
    case "delete":
      return state.delete(operation[1]);
    case "exists":
      return state.has(operation[1]);
    case "increment":
      return state.increment(operation[1], operation[2]);
    case "list": {
      const { keys, next = null } = state.list(operation[1], { after: operation[2] });
      return { keys, next };
    }
  }
}

const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
