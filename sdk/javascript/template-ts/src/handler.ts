import { handler, reject, type Message } from "wasmill";

interface Quake {
  magnitude: number | null;
  place: string;
}

/** Counts every earthquake, and publishes an alert for the strong ones. */
export default handler((msg, ctx) => {
  const { magnitude, place } = quakeOf(msg);
  ctx.state.increment("seen");
  if ((magnitude ?? 0) >= ctx.config.number("magnitude-min", 5.0)) {
    ctx.publish({ topic: "alerts", key: place, json: { magnitude, place } });
  }
});

function quakeOf(msg: Message): Quake {
  try {
    const { magnitude, place } = msg.json<Partial<Quake>>();
    if (magnitude !== null && typeof magnitude !== "number") throw new Error("its magnitude must be a number or null");
    if (typeof place !== "string") throw new Error("its place must be text");
    return { magnitude, place };
  } catch (error) {
    throw reject(`not a quake: ${(error as Error).message}`);
  }
}
