// Lengths of time, as people write them.

const UNITS_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Whole milliseconds of `250` or `"1.5s"`. `what` names it in the error. */
export function milliseconds(duration, what) {
  const [, amount, unit] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(duration) ?? [];
  const ms = typeof duration === "number" ? duration : Number(amount) * UNITS_MS[unit];
  if (!(Number.isFinite(ms) && ms >= 0)) {
    throw new TypeError(`${what} is ${String(duration)}; give milliseconds as a number, or text such as "30s" (ms, s, m, h, d)`);
  }
  return Math.ceil(ms);
}

/** The same as the host takes it: none stays none. */
export function durationForHost(duration, what) {
  return duration === undefined || duration === null ? undefined : BigInt(milliseconds(duration, what));
}
