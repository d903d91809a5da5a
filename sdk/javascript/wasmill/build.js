#!/usr/bin/env node
// Makes a component of a handler: esbuild joins its modules (and takes TypeScript's types away), componentize-js puts them
// into a JavaScript engine. Both come from the project that calls this.

import { existsSync } from "node:fs";
import { mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { cwd, exit, stderr } from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const SDK = dirname(fileURLToPath(import.meta.url));
const USAGE = `wasmill-build HANDLER --out FILE [--http] [--batch] [--wit FOLDER]

  HANDLER       the module (.js or .ts) whose default export is the handler
  --out FILE    the component; the one script that is in it is written beside it
  --http        let it import wasi:http, so that fetch works; it still reaches only what its operator grants
  --batch       its default export is a batchHandler
  --wit FOLDER  Wasmill's contract; the default is the one that came with this package`;

const OPTIONS = {
  out: { type: "string" },
  http: { type: "boolean", default: false },
  batch: { type: "boolean", default: false },
  wit: { type: "string" },
  help: { type: "boolean", default: false },
};

/** Everything that does not look at the host's limits is left out: a component's imports are its request. */
async function build({ source, out, http = false, batch = false, wit = contract() }) {
  await mkdir(dirname(resolve(out)), { recursive: true });
  const script = out.replace(/(\.wasm)?$/, ".js");
  await bundle({ source, script, http, batch });
  const { componentize } = await tool("@bytecodealliance/componentize-js");
  const { component } = await componentize({
    sourcePath: script,
    witPath: resolve(wit),
    worldName: batch ? "batch-message-handler" : "message-handler",
    disableFeatures: http ? ["fetch-event"] : ["http", "fetch-event"],
  });
  await writeFile(out, component);
}

async function bundle({ source, script, http, batch }) {
  const esbuild = await tool("esbuild");
  await esbuild.build({
    stdin: { contents: entry({ source: resolve(source), http, batch }), resolveDir: SDK, sourcefile: "wasmill-entry.js" },
    outfile: script,
    bundle: true,
    format: "esm",
    platform: "neutral",
    mainFields: ["module", "main"],
    target: "es2022",
    charset: "utf8",
    external: ["wasmill:*", "wasi:*"],
    alias: { wasmill: join(SDK, "index.js") },
    logLevel: "warning",
  });
}

/** The module that joins a handler to the host. */
function entry({ source, http, batch }) {
  const [name, method, connect] = batch
    ? ["batchHandler", "handleBatch", "handleBatchOf"]
    : ["handler", "handle", "handleOf"];
  return `
    import * as producer from "wasmill:handler/producer@0.1.0";
    import * as state from "wasmill:handler/state@0.1.0";
    import * as config from "wasi:config/store@0.2.0-draft";
    import { ${connect} } from "./src/handler.js";
    import exported from ${JSON.stringify(source)};
    ${http ? "" : 'globalThis.fetch = () => Promise.reject(new Error("this component was built without --http, so it has no fetch"));'}
    export const ${name} = { ${method}: ${connect}(exported, { producer, state, config }) };
  `;
}

/** The contract beside this package in a project, and where it is in Wasmill's repository. */
function contract() {
  const places = [join(SDK, "wit"), join(SDK, "../../../wit")];
  const found = places.find((place) => existsSync(join(place, "world.wit")));
  if (found === undefined) throw new Error(`there is no world.wit in ${places[0]}; say where it is with --wit`);
  return found;
}

/** A package of the project that is built. */
async function tool(name) {
  for (const from of [cwd(), SDK]) {
    for (let folder = from; ; folder = dirname(folder)) {
      const manifest = join(folder, "node_modules", name, "package.json");
      if (existsSync(manifest)) return import(await entryOf(manifest));
      if (folder === dirname(folder)) break;
    }
  }
  throw new Error(`${name} is not installed; run: npm install`);
}

/** `require.resolve` refuses packages that are modules only. */
async function entryOf(manifest) {
  const { exports, main } = JSON.parse(await readFile(manifest, "utf8"));
  const path = exports?.import ?? main;
  return pathToFileURL(createRequire(manifest).resolve(join(dirname(manifest), path))).href;
}

async function main() {
  const { values, positionals } = parseArgs({ options: OPTIONS, allowPositionals: true });
  if (values.help || positionals.length !== 1 || values.out === undefined) {
    stderr.write(`${USAGE}\n`);
    exit(values.help ? 0 : 2);
  }
  const started = Date.now();
  await build({ source: positionals[0], ...values });
  const { size } = await stat(values.out);
  stderr.write(`${values.out}: ${(size / 1e6).toFixed(1)} MB in ${((Date.now() - started) / 1000).toFixed(1)} s\n`);
}

main().catch((error) => {
  stderr.write(`wasmill-build: ${error.message}\n`);
  exit(1);
});
