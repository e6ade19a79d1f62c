// A file of a gigabyte on the GPU's path: `large.mjs NPM_DIRECTORY EXPECTED.json`, as suite.mjs.
import assert from "node:assert/strict";
import { readFileSync, statSync } from "node:fs";
import path from "node:path";
import { check, close, fail, helpers, same } from "./check.mjs";
import { launch } from "./launch.mjs";
import { serve } from "./server.mjs";

/** Most bytes of the module's memory. */
const MOST = 150e6;
/** Every connection of the first download ends after so many bytes. */
const CUT = 300_000_001;

const [npm, expectedFile] = process.argv.slice(2).map((p) => path.resolve(p));
const expected = JSON.parse(readFileSync(expectedFile, "utf8"));
const { size } = statSync(expected.file);
const here = path.dirname(new URL(import.meta.url).pathname);
const server = await serve({ "/npm/": npm, "/models/": path.dirname(expected.file), "/": here });
const url = `${server.origin}/models/${path.basename(expected.file)}?cut=${CUT}`;
const requests = () => server.log.filter((r) => r.url.includes("cut="));
const browser = await launch({ gpu: true });
const page = await browser.page(`${server.origin}/blank.html`);
page.setDefaultTimeout(600_000);
await page.evaluate(helpers);

/** Opens the file, answers, and says what that took. */
const opened = () =>
  page.evaluate(async ([u, prompt]) => {
    const times = {};
    const begun = performance.now();
    let fromCache = false;
    await load(u, { device: "webgpu", worker: "/lossy-worker.js", onProgress: (p) => ((times[p.phase] ??= performance.now() - begun), (fromCache ||= p.fromCache)) });
    const loaded = await worker("memory");
    const result = await ask(prompt, { temperature: 0, maxTokens: 4 });
    const found = { result, memory: Math.max(loaded, await worker("memory")), times, fromCache };
    await model.close();
    return found;
  }, [url, expected.prompt]);

function fits(found) {
  same(found.result, expected.greedy);
  assert.equal(found.result.device, "webgpu");
  assert.ok(found.memory < MOST, `${found.memory} bytes of memory`);
  return `${(size / 1e9).toFixed(2)} GB, ${(found.memory / 1e6).toFixed(0)} MB of memory, open after ${(found.times.ready / 1000).toFixed(1)} s`;
}

if (await page.evaluate(() => carat.webgpu.available())) {
  await check("downloaded through connections that are cut", async () => {
    const found = await opened();
    const starts = requests().map((r) => r.start);
    assert.ok(starts.length > 3 && new Set(starts).size > 3, `${starts}`);
    return fits(found);
  });
  await check("opened again without the network", async () => {
    const before = requests().length;
    const found = await opened();
    assert.ok(found.fromCache);
    assert.equal(requests().length, before);
    return fits(found);
  });
} else {
  console.log("ABSENT: WebGPU in this Chromium");
  if (process.env.CARAT_REQUIRE_DRIVERS === "1") fail();
}
await browser.close();
server.close();
close();
