// That the types say what the package does: checked by tsc, not run.

import { handler, batchHandler, reject, retry, throttle, Failure, type Message } from "wasmill";
interface Order { id: string; total: number }
const send = async (_: Message) => {};
export const one = handler(async (msg, ctx) => {
  const order = msg.json<Order>();
  const parsed = msg.json((value) => ({ n: Number(value) }));
  parsed.n.toFixed();
  if (order.total < 0) throw reject("a total below 0");
  ctx.publish({ topic: "a", key: order.id, json: order, delay: "3d", headers: new Map([["a", "b"]]) });
  ctx.publish({ topic: "a", headers: new Headers(), data: new Uint8Array() });
  // @ts-expect-error: no such unit
  ctx.publish({ topic: "a", delay: "3 weeks" });
  // @ts-expect-error: no such field
  ctx.publish({ topic: "a", body: "x" });
  const n: { at: number } = ctx.state.getJson("k", { at: 0 });
  const s: string | undefined = ctx.state.get("k");
  const e = msg.cloudEvent<{ a: 1 }>(); e.data.a;
  for (const [name, value] of msg.headers) name + value;
  const f: Failure = retry("x", { after: n.at }); f.kind; s;
  throw throttle("1m");
});
export const settled = batchHandler((messages) => Promise.allSettled(messages.map(send)));
export const listed = batchHandler((messages) => messages.map((m) => (m.isLastAttempt ? reject("x") : undefined)));
export const all = batchHandler(async (messages, ctx) => { ctx.state.increment("total", messages.length); });
