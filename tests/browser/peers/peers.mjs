// Carat in the browser beside others, in turn in one run: `peers.mjs MODEL.gguf [TURNS]`, where MODEL is a small llama in f32 that
// wllama reads too. Prints a table and writes it to tests/browser/peers/PERFORMANCE.md.
//
// Needs what the suite needs, `npm ci` here, and the command line (CARAT_BIN, else target/release/carat), which converts the model.
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { launch } from "../launch.mjs";
import { serve } from "../server.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const root = path.resolve(here, "../../..");
const [given, turns = "5"] = process.argv.slice(2);
if (!given || !existsSync(given)) {
  console.error("usage: peers.mjs MODEL.gguf [TURNS]");
  process.exit(2);
}
const PROMPT = "Once upon a time";
const TOKENS = 400;
/** Products in a row that are waited for together. */
const PRODUCTS = 10;

const median = (all) => all.toSorted((a, b) => a - b)[all.length >> 1];
const middle = (all, digits) => `${median(all).toFixed(digits)} (${Math.min(...all).toFixed(digits)}–${Math.max(...all).toFixed(digits)})`;
const version = (name) => JSON.parse(execFileSync("npm", ["ls", "--json", name], { cwd: here })).dependencies[name].version;

const folder = mkdtempSync(path.join(os.tmpdir(), "carat-peers-"));
const ours = path.join(folder, "ours.gguf");
execFileSync(process.env.CARAT_BIN ?? path.join(root, "target/release/carat"), ["convert", given, "-o", ours, "--bits", "8"], { stdio: ["ignore", "ignore", "inherit"] });
execFileSync("bash", [path.join(here, "build.sh")], { stdio: "inherit" });
const server = await serve({ "/": here, "/npm/": path.join(root, "runtime/web/npm"), "/peers/": path.join(here, "node_modules"), "/ours/": folder, "/theirs/": path.dirname(path.resolve(given)) });

/** A fresh browser for each: nothing of one is in another's figure. */
async function one(gpu, work, ...args) {
  const browser = await launch({ gpu });
  try {
    const page = await browser.page(`${server.origin}/page.html`);
    return await page.evaluate(([work, args]) => globalThis[work](...args), [work, args]);
  } finally {
    await browser.close();
  }
}

const rates = { carat: [], wllama: [] };
const products = { carat: [], onnx: [], "onnx, 8-bit activations": [] };
for (let turn = 0; turn < Number(turns); turn++) {
  rates.carat.push((await one(false, "carat", "/ours/ours.gguf", PROMPT, TOKENS)).rate);
  rates.wllama.push((await one(false, "wllama", `/theirs/${path.basename(given)}`, PROMPT, TOKENS)).rate);
  const last = (all) => median(all.slice(2));
  products.carat.push(last(await one(true, "product", PRODUCTS, 8)));
  for (const [name, accuracy] of [["onnx", 0], ["onnx, 8-bit activations", 4]]) {
    const { ms, error } = await one(true, "onnx", accuracy, PRODUCTS, 6);
    if (error > 0.02) throw new Error(`${name} is off by ${error}`);
    products[name].push(last(ms));
  }
}
const speed = median(rates.carat) / median(rates.wllama);
const best = Math.min(median(products.onnx), median(products["onnx, 8-bit activations"]));
const faster = best / median(products.carat);
const text = `# In the browser, beside others

Medians of ${turns} turns, with the least and the greatest in brackets. In each turn the programs run one after the other, each in a
fresh headless Chromium on ${os.cpus().length} × ${os.cpus()[0].model}. \`node tests/browser/peers/peers.mjs MODEL.gguf\` writes this page.

| A model of 260,000 weights, one thread of wasm, ${TOKENS} tokens, greedy | tokens/s |
|---|---|
| Carat, 8 bits | ${middle(rates.carat, 0)} |
| wllama ${version("@wllama/wllama")}, f32 | ${middle(rates.wllama, 0)} |
| **Carat ÷ wllama** | **${speed.toFixed(1)}** (goal: 1.5) |

| One row by 2048 × 2048 weights of 4 bits, WebGPU on SwiftShader, ${PRODUCTS} in a row with one wait | ms each |
|---|---|
| Carat | ${middle(products.carat, 2)} |
| onnxruntime-web ${version("onnxruntime-web")}, MatMulNBits | ${middle(products.onnx, 2)} |
| the same with \`accuracy_level\` 4 | ${middle(products["onnx, 8-bit activations"], 2)} |
| **the faster of these ÷ Carat** | **${faster.toFixed(1)}** (goal: 8) |

With both programs row and result stay on the device.
`;
writeFileSync(path.join(root, "tests/browser/peers/PERFORMANCE.md"), text);
console.log(text);
server.close();
rmSync(folder, { recursive: true });
process.exit(speed >= 1.5 && faster >= 8 ? 0 : 1);
