// The conformance handler in JavaScript: what each topic asks for is in `tests/conformance/README.md`. There is no `do.exit`, for a
// script cannot end its process.

import { PublishError, StateError, defer, handler, reject, retry, throttle } from "wasmill";

export default handler(async (msg, ctx) => {
  const [, name] = /^do\.(.+)$/.exec(msg.topic) ?? [];
  if (!Object.hasOwn(answers, name)) throw reject(`unknown topic ${msg.topic}`);
  const answer = await answers[name](msg, ctx);
  if (answer !== undefined) ctx.publish({ topic: "out", ...answer });
});

/** Each answers with what to publish to `out`, or with nothing. */
const answers = {
  echo: (msg) => ({ key: msg.key, contentType: msg.contentType, headers: msg.headers, data: msg.bytes() }),

  fields(msg) {
    const { id, topic, key = null, contentType = null, headers, queue, attempt, maxAttempts } = msg;
    const numbers = { length: msg.data.length, publishedAt: msg.publishedAt.getTime(), sequence: Number(msg.sequence), attempt, maxAttempts };
    return { json: { id, topic, key, contentType, headers, queue, ...numbers } };
  },

  publish(msg, ctx) {
    const { delayMs: delay, expiresAfterMs: expiresAfter, ...message } = msg.json();
    return { text: orError(() => ctx.publish({ ...message, delay, expiresAfter })) };
  },

  state(msg, ctx) {
    return { json: msg.json().map((operation) => stateResult(operation, ctx.state)) };
  },

  "state-size"(msg, ctx) {
    const { key, bytes } = msg.json();
    return { text: orError(() => (ctx.state.set(key, "x".repeat(bytes)), "ok")) };
  },

  config: (msg, ctx) => ({ text: ctx.config.get(msg.text()) ?? "(none)" }),
  "config-all": (msg, ctx) => ({ json: ctx.config.all() }),
  clock: () => ({ text: String(Date.now()) }),

  random() {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    return { text: Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("") };
  },

  log(msg) {
    console.log(msg.text());
    console.error(`err: ${msg.text()}`);
  },

  async http(msg) {
    const { method, url, headers = [], text } = msg.json();
    try {
      const response = await fetch(url, { method, headers: Array.isArray(headers) ? headers : Object.entries(headers), body: text });
      return { json: { status: response.status, text: await response.text() } };
    } catch {
      return { json: { error: true } };
    }
  },

  retry(msg) {
    const { reason, afterMs } = msg.json();
    throw retry(reason, { after: afterMs });
  },

  defer: (msg) => notBefore(msg, defer),
  throttle: (msg) => notBefore(msg, throttle),

  reject(msg) {
    throw reject(msg.text());
  },

  error(msg) {
    throw new Error(msg.text());
  },

  /** What traps here: a promise that can never settle. An exception would be a retry. */
  panic: () => new Promise(() => {}),

  void(msg, ctx) {
    ctx.state.set("void", "x");
    ctx.publish({ topic: "out", text: "void" });
    throw reject("void");
  },

  spin() {
    for (;;);
  },

  allocate() {
    const kept = [];
    for (;;) kept.push(new Uint8Array(1024 * 1024).fill(1));
  },
};

function notBefore(msg, failure) {
  const { afterMs } = msg.json();
  if (Date.now() < msg.publishedAt.getTime() + afterMs) throw failure(afterMs);
  return { text: "ran" };
}

function orError(work) {
  try {
    return work();
  } catch (error) {
    if (error instanceof PublishError || error instanceof StateError) return `error: ${error.code}`;
    throw error;
  }
}

function stateResult([operation, key, argument], state) {
  try {
    switch (operation) {
      case "get":
        return state.get(key) ?? null;
      case "exists":
        return state.has(key);
      case "list": {
        const { keys, next = null } = state.list(key, { after: argument });
        return { keys, next };
      }
      default:
        state[operation](key, argument);
        return null;
    }
  } catch (error) {
    if (error instanceof StateError) return { error: error.code };
    throw error;
  }
}
