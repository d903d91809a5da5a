// What the bindings of componentize-js 0.23 get wrong.

const MIN = -(2n ** 63n);

/**
 * Negative 64-bit integers trap on their way to the host (ComponentizeJS issue 343). So what is taken away is read and written here,
 * with the same result; unlike an increment it can conflict, and is then run again by the host.
 */
export function withNegatives(state) {
  const increment = (key, delta) => (delta < 0n ? decrease(state, key, delta) : state.increment(key, delta));
  return { ...state, increment };
}

function decrease(state, key, delta) {
  const bytes = state.get(key);
  const text = bytes === undefined || bytes === null ? "0" : new TextDecoder().decode(bytes);
  if (!/^[+-]?\d+$/.test(text)) throw Object.assign(new Error("not-an-integer"), { payload: { tag: "not-an-integer" } });
  const sum = BigInt(text.replace("+", "")) + delta;
  state.set(key, new TextEncoder().encode(String(sum < MIN ? MIN : sum)));
}
