// What the bindings of componentize-js 0.23 get wrong.

/**
 * Negative 64-bit integers trap on their way to the host (ComponentizeJS issue 343): the bindings make them signed by `BigInt.asIntN`, and
 * the engine takes only what fits unsigned. The same bits as an unsigned number arrive as what they are.
 */
export function withNegatives(state) {
  const increment = (key, delta) => {
    const { asIntN } = BigInt;
    if (delta < 0n) BigInt.asIntN = BigInt.asUintN;
    try {
      return state.increment(key, delta);
    } finally {
      BigInt.asIntN = asIntN;
    }
  };
  return { ...state, increment };
}
