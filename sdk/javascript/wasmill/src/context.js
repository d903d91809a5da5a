// What a handler may do.

import { PublishError, asking } from "./errors.js";
import { outgoingForHost } from "./outgoing.js";
import { State } from "./state.js";

export class Context {
  #producer;

  /** `host` has the interfaces `producer`, `state` and `config` of the contract, as the bindings or a test give them. */
  constructor(host) {
    this.#producer = host.producer;
    this.state = new State(host.state);
    this.config = new Config(host.config);
  }

  publish(message) {
    const outgoing = outgoingForHost(message);
    return asking(PublishError, () => this.#producer.publish(outgoing));
  }
}

class Config {
  #host;

  constructor(host) {
    this.#host = host;
  }

  get(name) {
    return asking(ConfigError, () => this.#host.get(name)) ?? undefined;
  }

  require(name) {
    const value = this.get(name);
    if (value === undefined) throw new Error(`config ${name} is missing; its place is [handler.NAME] config`);
    return value;
  }

  number(name, otherwise) {
    return this.#read(name, otherwise, "a number", (text) => (text.trim() === "" ? NaN : Number(text)), Number.isFinite);
  }

  boolean(name, otherwise) {
    const words = { true: true, false: false };
    return this.#read(name, otherwise, "true or false", (text) => words[text], (value) => value !== undefined);
  }

  all() {
    return Object.fromEntries(asking(ConfigError, () => this.#host.getAll()));
  }

  #read(name, otherwise, kind, parse, fits) {
    const text = otherwise === undefined ? this.require(name) : this.get(name);
    if (text === undefined) return otherwise;
    const value = parse(text);
    if (!fits(value)) throw new Error(`config ${name} must be ${kind}, and is "${text}"`);
    return value;
  }
}

class ConfigError extends Error {
  constructor(code, detail) {
    super(`the host cannot read its configuration: ${code}: ${detail}`);
    this.name = "ConfigError";
  }
}
