import { handler, reject } from "wasmill";

/** Counts every earthquake, and publishes an alert for the strong ones. */
export default handler((msg, ctx) => {
  const { magnitude, place } = quakeOf(msg);
  ctx.state.increment("seen");
  if ((magnitude ?? 0) >= ctx.config.number("magnitude-min", 5.0)) {
    ctx.publish({ topic: "alerts", key: place, json: { magnitude, place } });
  }
});

/**
 * @param {import("wasmill").Message} msg
 * @returns {{ magnitude: number | null, place: string }}
 */
function quakeOf(msg) {
  try {
    const quake = msg.json();
    if (quake.magnitude !== null && typeof quake.magnitude !== "number") throw new Error("its magnitude must be a number or null");
    if (typeof quake.place !== "string") throw new Error("its place must be text");
    return quake;
  } catch (error) {
    throw reject(`not a quake: ${error.message}`);
  }
}
