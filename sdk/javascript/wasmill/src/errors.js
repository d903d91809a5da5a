// What the host refuses, as errors that a handler can catch.

/** An error that names its case of the contract. */
class HostError extends Error {
  constructor(name, code, detail) {
    super(detail === undefined ? code : `${code}: ${detail}`);
    this.name = name;
    this.code = code;
  }
}

export class PublishError extends HostError {
  constructor(code, detail) {
    super("PublishError", code, detail);
  }
}

export class StateError extends HostError {
  constructor(code, detail) {
    super("StateError", code, detail);
  }
}

/** Call the host; its refusal becomes an error of this class. */
export function asking(Refusal, call) {
  try {
    return call();
  } catch (error) {
    const refusal = error?.payload;
    if (typeof refusal?.tag !== "string") throw error;
    const limit = refusal.tag === "too-large" ? `the limit is ${refusal.val} bytes` : refusal.val;
    throw new Refusal(refusal.tag, limit);
  }
}
