// Write message handlers for Wasmill. What each of these is for, with examples, is in `index.d.ts`, which editors show.
//
// Nothing here imports the host: a handler is a plain module that runs in Node too. `build.js` joins it to the host.

export { Handler, batchHandler, handler } from "./src/handler.js";
export { Failure, defer, reject, retry, throttle } from "./src/failure.js";
export { PublishError, StateError } from "./src/errors.js";
export { Message, MessageHeaders } from "./src/message.js";
