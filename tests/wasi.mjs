// Runs a program compiled for wasm32-wasip1: a runner for `cargo test`.
import { readFileSync } from "node:fs";
import { WASI } from "node:wasi";

const [, , file, ...args] = process.argv;
const wasi = new WASI({ version: "preview1", args: [file, ...args], env: process.env, preopens: { "/": "/" } });
const program = await WebAssembly.compile(readFileSync(file));
process.exit(wasi.start(await WebAssembly.instantiate(program, wasi.getImportObject())));
