/**
 * Write message handlers for Wasmill in JavaScript or TypeScript.
 *
 * ```js
 * import { handler, reject } from "wasmill";
 *
 * export default handler(async (msg, ctx) => {
 *   const order = msg.json();
 *   if (order.total < 0) throw reject("a total below 0");
 *   ctx.state.increment("orders");
 *   ctx.publish({ topic: "orders.accepted", key: order.id, json: order });
 * });
 * ```
 *
 * What a call publishes and stores takes effect when it succeeds, all of it, and never when it fails.
 */

/** Milliseconds as a number, or a text such as `"250ms"`, `"30s"`, `"5m"`, `"12h"`, `"7d"`. */
export type Duration = number | `${number}${"ms" | "s" | "m" | "h" | "d"}`;

/** Bytes in any of the shapes that JavaScript has. */
export type Bytes = Uint8Array | ArrayBuffer | ArrayBufferView | number[];

type MaybePromise<T> = T | Promise<T>;

/**
 * Called once for each delivery, and again for each attempt. It may be async: the delivery is settled when its promise is.
 * Await everything it begins: what is left over does not run. A promise that never settles is a trap.
 */
export type HandlerFunction = (msg: Message, ctx: Context) => MaybePromise<void | Failure>;

/** What became of one message of a batch: nothing is success. What `Promise.allSettled` gives is understood. */
export type BatchResult = undefined | null | void | Error | PromiseSettledResult<unknown>;

/** Called with up to 100 deliveries at once. Answers nothing when all succeeded, or one result for each, in order. */
export type BatchFunction = (messages: Message[], ctx: Context) => MaybePromise<void | BatchResult[]>;

/** What a module exports by default. Made by {@link handler} or {@link batchHandler}. */
export class Handler<Run extends Function = Function> {
  readonly kind: "handler" | "batchHandler";
  /** The function it was made of, for tests that want to call it by themselves. */
  readonly run: Run;
  private constructor();
}

/**
 * A handler of one message at a time.
 *
 * ```js
 * export default handler((msg, ctx) => {
 *   ctx.publish({ topic: "copies", text: msg.text() });
 * });
 * ```
 */
export function handler(run: HandlerFunction): Handler<HandlerFunction>;

/**
 * A handler of many messages in one call; build it with `wasmill-build --batch`.
 *
 * When all succeed, what the call published and stored is committed with all of them. When some fail, all that is void, they are
 * settled as failed, and the host calls again with the others. What it throws fails each of them.
 *
 * ```js
 * export default batchHandler(async (messages, ctx) => {
 *   const total = messages.reduce((sum, msg) => sum + msg.json().amount, 0);
 *   ctx.state.increment("total", total);
 * });
 *
 * export default batchHandler((messages) => Promise.allSettled(messages.map(send)));
 * ```
 */
export function batchHandler(run: BatchFunction): Handler<BatchFunction>;

/** A delivery: one message, for this handler, now. */
export class Message {
  /** Chosen by the publisher, or by the host. */
  readonly id: string;
  /** Dot-separated, such as `orders.eu.created`. */
  readonly topic: string;
  /** Messages with the same key belong together. */
  readonly key: string | undefined;
  /** The media type of the data, such as `application/json`. */
  readonly contentType: string | undefined;
  readonly headers: MessageHeaders;
  readonly data: Uint8Array;
  /** When the host accepted it. */
  readonly publishedAt: Date;
  /** The queue it comes from. */
  readonly queue: string;
  /** Its place in that queue, from 1; it keeps it through every retry. */
  readonly sequence: bigint;
  /** Which run of this delivery it is, from 1. Deferred and interrupted runs are not counted. */
  readonly attempt: number;
  /** How many attempts the consumer's policy allows. */
  readonly maxAttempts: number;
  /** Whether a further retry would put it into quarantine. */
  get isLastAttempt(): boolean;
  /**
   * The topic that a reply goes to, when somebody asked for one.
   *
   * ```js
   * if (msg.replyTo) ctx.publish({ topic: msg.replyTo, json: { price: 42 } });
   * ```
   */
  get replyTo(): string | undefined;

  bytes(): Uint8Array;
  /** The data as UTF-8, a byte order mark included. @throws {Failure} `reject` when it is not UTF-8 */
  text(): string;
  /**
   * The data as JSON. Broken JSON can never succeed, so it is rejected.
   *
   * `parse` may check and shape it; what it throws is the reason of a reject. The `parse` of a zod schema fits.
   *
   * ```js
   * const { total } = msg.json();
   * const order = msg.json(Order.parse);
   * ```
   * @throws {Failure} `reject`
   */
  json<T = any>(parse?: (value: unknown) => T): T;
  /**
   * The message as a CloudEvent 1.0, however it came. Data that is JSON is parsed, when it is asked for; other data is bytes.
   *
   * ```js
   * const { type, source, data } = msg.cloudEvent();
   * ```
   * @throws {Failure} `reject` when it is none
   */
  cloudEvent<T = any>(): CloudEvent<T>;

  private constructor();
}

export interface CloudEvent<T = any> {
  id: string;
  source: string;
  specversion: string;
  type: string;
  subject?: string;
  /** RFC 3339. */
  time?: string;
  datacontenttype?: string;
  dataschema?: string;
  /** All other attributes, by name. */
  extensions: Record<string, unknown>;
  readonly data: T;
}

/** Headers in their order; names are lower case and may repeat. `get` finds them in any case. */
export class MessageHeaders implements Iterable<[name: string, value: string]> {
  readonly size: number;
  /** The first value of that name. */
  get(name: string): string | undefined;
  getAll(name: string): string[];
  has(name: string): boolean;
  forEach(each: (value: string, name: string, headers: MessageHeaders) => void): void;
  keys(): IterableIterator<string>;
  values(): IterableIterator<string>;
  entries(): IterableIterator<[string, string]>;
  [Symbol.iterator](): IterableIterator<[string, string]>;
  /** Pairs. */
  toJSON(): [string, string][];
}

/** What a handler may do. All of it belongs to the delivery, and takes effect when that succeeds. */
export interface Context {
  /**
   * Publish a message when this delivery commits. Answers with its id, which is the same in each attempt.
   *
   * ```js
   * ctx.publish({ topic: "reminders", key: user.id, json: { text: "…" }, delay: "3d", headers: { lang: "de" } });
   * ```
   * @throws {PublishError} when the host could never queue it
   * @throws {TypeError} when it is not a message at all
   */
  publish(message: Outgoing): string;
  readonly state: State;
  readonly config: Config;
}

/** A message to be published, with at most one of `json`, `text` and `data`. */
export interface Outgoing {
  /** Dot-separated, no wildcards, at most 255 bytes. */
  topic: string;
  key?: string | null;
  /** Any value that `JSON.stringify` takes; sets the content type `application/json`. */
  json?: unknown;
  /** Sets the content type `text/plain`. */
  text?: string;
  data?: Bytes;
  contentType?: string | null;
  /** At most 64, 16 KiB together. Names are made lower case and may repeat when pairs are given. */
  headers?: Record<string, string> | Iterable<readonly [string, string]>;
  /** Hold it back for so long, at most 10 years. */
  delay?: Duration | null;
  /** It is of no use after so long. */
  expiresAfter?: Duration | null;
  /** 0 to 9, for queues with `priorities = true`. */
  priority?: number;
}

/**
 * Durable keys and values of this handler, shared by all its deliveries and kept when it is replaced. A delivery sees
 * what it stored itself; when something it read was changed meanwhile, the host runs it again. Keys are 1 to 255 bytes, values
 * at most 1 MiB. All of its calls throw {@link StateError}.
 *
 * ```js
 * ctx.state.increment("seen");
 * const last = ctx.state.getJson("last/" + msg.key, { at: 0 });
 * ctx.state.setJson("last/" + msg.key, { at: Date.now() });
 * for (const key of ctx.state.keys("last/")) console.log(key);
 * ```
 */
export interface State {
  get(key: string): string | undefined;
  getBytes(key: string): Uint8Array | undefined;
  getJson<T = any>(key: string): T | undefined;
  getJson<T>(key: string, otherwise: T): T;
  set(key: string, value: string | Bytes): void;
  setJson(key: string, value: unknown): void;
  /** Deleting a key that does not exist does nothing. */
  delete(key: string): void;
  has(key: string): boolean;
  /**
   * Add to a decimal integer; a missing key counts as 0. It answers nothing on purpose: an increment that reads nothing
   * never conflicts with others.
   */
  increment(key: string, by?: number | bigint): void;
  /** One page of at most 1,000 keys in the order of their bytes; give `next` as `after` for the next one. */
  list(prefix?: string, options?: { after?: string | null }): { keys: string[]; next: string | undefined };
  /** All keys with that prefix, page by page. */
  keys(prefix?: string): IterableIterator<string>;
}

/** What stands under `config` of this handler in the host's configuration, and its secrets. */
export interface Config {
  /** A value or a secret. */
  get(name: string): string | undefined;
  /** @throws {Error} when it is missing, which is a retry: the message is not to blame. */
  require(name: string): string;
  /** A number; without `otherwise` it must be there. @throws {Error} when it is there and is none */
  number(name: string, otherwise?: number): number;
  /** `true` or `false`. @throws {Error} when it is anything else */
  boolean(name: string, otherwise?: boolean): boolean;
  /** All values; no secrets. */
  all(): Record<string, string>;
}

/**
 * Why a delivery did not succeed: throw one. Anything else that is thrown is a retry with its message as reason, and its
 * stack in the log.
 */
export class Failure extends Error {
  readonly kind: "retry" | "reject" | "defer" | "throttle";
  /** In milliseconds. */
  readonly after: number | undefined;
  private constructor();
}

/**
 * Something passing: try again, after the consumer's backoff or not before `after`. Uses up an attempt.
 *
 * ```js
 * if (response.status === 503) throw retry("the mail server is busy", { after: "30s" });
 * ```
 */
export function retry(reason: string, options?: { after?: Duration }): Failure;

/**
 * It can never succeed: put it into quarantine at once.
 *
 * ```js
 * if (!order.id) throw reject("an order without an id");
 * ```
 */
export function reject(reason: string): Failure;

/** Not now: run it again after so long. Uses up no attempt. */
export function defer(after: Duration): Failure;

/**
 * Not now, and nothing else of this message's key for so long; without a key, or without order by key, nothing of this
 * consumer. Uses up no attempt.
 *
 * ```js
 * if (response.status === 429) throw throttle("1m");
 * ```
 */
export function throttle(after: Duration): Failure;

/** The host could never queue what was published. The handler may go on. */
export class PublishError extends Error {
  readonly code: "invalid-topic" | "invalid-message" | "too-large";
  private constructor();
}

/** The host refused a key or a value. `unavailable`: it could not read its store; the attempt is run again and not counted. */
export class StateError extends Error {
  readonly code: "invalid-key" | "too-large" | "not-an-integer" | "unavailable";
  private constructor();
}
