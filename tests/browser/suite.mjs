// The package in headless Chromium: `suite.mjs NPM_DIRECTORY EXPECTED.json [cpu|gpu]`, where the JSON has the path of a Carat file and
// what the native engine gives for it. Prints a line a check; ends with 1 if one fails.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { Remote } from "../../runtime/web/npm/source.js";
import { check, close, fail, helpers, same } from "./check.mjs";
import { launch } from "./launch.mjs";
import { serve } from "./server.mjs";

const [npm, expectedFile] = process.argv.slice(2).map((p) => path.resolve(p));
const expected = JSON.parse(readFileSync(expectedFile, "utf8"));
const here = path.dirname(new URL(import.meta.url).pathname);
const server = await serve({ "/npm/": npm, "/models/": path.dirname(expected.file), "/": here });
const url = (query = "") => `${server.origin}/models/${path.basename(expected.file)}${query}`;
const requests = (mark) => server.log.filter((r) => r.url.includes(mark));
async function processor() {
  const browser = await launch({ gpu: false });
  const page = await browser.page(`${server.origin}/blank.html`);
  await page.evaluate(helpers);

  await check("without WebGPU the CPU runs the file, with progress", async () => {
    const found = await page.evaluate(async (url) => {
      const phases = [];
      let last;
      await load(url, { onProgress: (p) => { last = p; if (phases.at(-1) !== p.phase) phases.push(p.phase); } });
      return { webgpu: await carat.webgpu.available(), device: model.device, phases, last, info: model.info };
    }, url());
    assert.equal(found.webgpu, false);
    assert.equal(found.device, "cpu");
    assert.deepEqual([found.phases[0], found.phases.at(-1)], ["header", "ready"]);
    assert.ok(found.phases.includes("download"), `${found.phases}`);
    assert.equal(found.last.loaded, found.info.bytes);
    assert.equal(found.info.name, "facet-6m");
    assert.ok(found.info.hasTemplate);
    assert.equal(found.info.card?.perplexity ?? null, expected.perplexity);
  });

  await check("64 tokens as the native engine: greedy, seeded", async () => {
    same(await page.evaluate((t) => ask(t, { temperature: 0 }), expected.prompt), expected.greedy);
    const seeded = await page.evaluate(([t, o]) => ask(t, o), [expected.prompt, expected.sampling]);
    same(seeded, expected.seeded);
    return `${seeded.tokensPerSecond.toFixed(0)} tokens/s`;
  });

  await check("chat by the template, tokens and back", async () => {
    const found = await page.evaluate(async () => {
      const ids = await model.tokenize("Hello there");
      const chat = model.chat([{ role: "user", content: "Hello" }], { temperature: 0, maxTokens: 8 });
      let pieces = "";
      for await (const p of chat) pieces += p.text;
      return { ids, back: await model.detokenize(ids), chat: await chat.result, pieces };
    });
    assert.deepEqual(found.ids, expected.hello);
    assert.equal(found.back, "Hello there");
    assert.equal(found.pieces, found.chat.text);
    assert.deepEqual(found.chat.ids, expected.chat.ids);
    assert.equal(found.chat.logitsHash, expected.chat.hash);
  });

  await check("texts under a schema and a grammar as the native engine's; the module is fetched for the first", async () => {
    assert.deepEqual(requests("carat_grammar"), []);
    for (const { options, native } of expected.constrained) {
      const found = await page.evaluate(([t, o]) => ask(t, o), [expected.prompt, options]);
      same(found, native);
      assert.equal(found.text, native.text);
      assert.equal(found.complete, native.complete);
      assert.equal(found.reason, native.reason);
    }
    assert.equal(requests("carat_grammar").length, 2);
    const wrong = await page.evaluate(async (t) => {
      const deep = "[".repeat(100000);
      const codes = [];
      for (const o of [{ jsonSchema: "{" }, { jsonSchema: { type: "unheard of" } }, { grammar: "start: (" }, { grammar: 7 }, { jsonSchema: deep }]) codes.push(await error(() => ask(t, o)));
      return { codes, after: (await ask(t, { jsonSchema: { const: 1 }, temperature: 0 })).text };
    }, expected.prompt);
    assert.deepEqual(wrong, { codes: Array(5).fill("parameter"), after: "1" });
  });

  await check("each piece has the hash over the logits so far", async () => {
    const hashes = await page.evaluate(async (t) => {
      const run = model.generate(t, { temperature: 0, maxTokens: 4 });
      const hashes = [];
      for await (const p of run) hashes.push(p.logitsHash);
      return { hashes, last: (await run.result).logitsHash, shorter: (await ask(t, { temperature: 0, maxTokens: 2 })).logitsHash };
    }, expected.prompt);
    assert.equal(hashes.hashes.at(-1), hashes.last);
    assert.equal(hashes.hashes[1], hashes.shorter);
    assert.equal(new Set(hashes.hashes.slice(0, 4)).size, 4);
  });

  await check("after its limit a text goes on: held, and computed again; what was another text is refused", async () => {
    const found = await page.evaluate(async ([t, o]) => {
      const out = [];
      for (const options of [{ temperature: 0 }, o]) {
        const short = await ask(t, { ...options, maxTokens: 9 });
        const held = [];
        const run = model.generate(t, { ...options, maxTokens: 30, after: short.ids });
        for await (const p of run) held.push([p.text, p.id]);
        const mid = await run.result;
        // Another text in between: the engine holds this one no more.
        await ask("Something else", { maxTokens: 3 });
        const rest = await ask(t, { ...options, maxTokens: 64, after: mid.ids });
        out.push({ short, held, mid, rest });
      }
      const [{ short }] = out;
      await ask("Something else", { maxTokens: 3 });
      const wrong = await error(() => ask(t, { temperature: 0, maxTokens: 30, after: short.ids.map((id) => id + 1) }));
      return { out, wrong, sampling: model.info.sampling, context: model.context };
    }, [expected.prompt, expected.sampling]);
    for (const [i, native] of [expected.greedy, expected.seeded].entries()) {
      const { short, held, mid, rest } = found.out[i];
      same(rest, native);
      assert.deepEqual(mid.ids, native.ids.slice(0, 30));
      assert.equal(held[0][1], null);
      assert.ok(short.text.startsWith(held[0][0]), `${held[0][0]} | ${short.text}`);
      assert.deepEqual(held.map(([, id]) => id).filter((id) => id !== null), native.ids.slice(9, 30));
      assert.equal(held.map(([text]) => text).join(""), mid.text);
      assert.equal(mid.generatedTokens, 30);
    }
    assert.equal(found.wrong, "parameter");
    assert.deepEqual(found.sampling, expected.defaults);
    assert.equal(found.context, 512);
  });

  await check("a session that was saved natively goes on here; one that was saved here goes on, too; a damaged one is refused", async () => {
    const found = await page.evaluate(async ([t, o, file]) => {
      const bytes = Uint8Array.from(file);
      const { prompt, ids } = await model.restoreSession(bytes);
      const again = await model.saveSession();
      const run = model.generate(prompt, { ...o, maxTokens: 40, after: ids });
      const mid = await run.result;
      const saved = await model.saveSession();
      await ask("Something else", { maxTokens: 3 });
      const back = await model.restoreSession(saved);
      const held = [];
      const rest = model.generate(back.prompt, { ...o, maxTokens: 64, after: back.ids });
      for await (const p of rest) held.push(p.id);
      const damaged = bytes.slice();
      damaged[damaged.length - 40] ^= 1;
      const codes = [];
      for (const wrong of [damaged, new Uint8Array(9), bytes.slice(0, 30), "text"]) codes.push(await error(() => model.restoreSession(wrong)));
      return { ids, mid, back, rest: await rest.result, held, codes, same: again.length === bytes.length && again.every((b, i) => b === bytes[i]) };
    }, [expected.prompt, expected.sampling, expected.session]);
    assert.ok(found.same, "another file");
    assert.deepEqual(found.ids, expected.seeded.ids.slice(0, 21));
    assert.deepEqual(found.mid.ids, expected.seeded.ids.slice(0, 40));
    assert.deepEqual(found.back.ids, found.mid.ids);
    same(found.rest, expected.seeded);
    // Held, not computed again: the first piece has all of the text so far.
    assert.deepEqual(found.held.filter((id) => id !== null), expected.seeded.ids.slice(40));
    assert.deepEqual(found.codes, ["hash", "format", "format", "parameter"]);
  });

  await check("stop strings, abort mid-answer, leaving the loop", async () => {
    const found = await page.evaluate(async (text) => {
      const stop = await ask(text, { temperature: 0, stop: [" the"] });
      const abort = new AbortController();
      const run = model.generate(text, { temperature: 0.9, seed: 3, maxTokens: 400, signal: abort.signal });
      let n = 0;
      for await (const _ of run) if (++n === 3) abort.abort();
      const left = model.generate(text, { temperature: 0.9, seed: 3, maxTokens: 400 });
      for await (const _ of left) break;
      return { stop, cancelled: await run.result, left: await left.result };
    }, expected.prompt);
    assert.equal(found.stop.reason, "stop");
    assert.ok(!found.stop.text.includes(" the"));
    for (const r of [found.cancelled, found.left]) {
      assert.equal(r.reason, "cancelled");
      assert.ok(r.generatedTokens < 400);
    }
  });

  await check("typed errors", async () => {
    const found = await page.evaluate(async ([origin, url]) => ({
      missing: await error(() => load(`${origin}/models/none.gguf`, { cache: "none" })),
      format: await error(() => load(`${origin}/blank.html`, { cache: "none" })),
      aborted: await error(() => load(url, { signal: AbortSignal.abort() })),
      context: await error(() => model.generate(Array(600).fill(5)).result),
      parameter: await error(() => ask("a", { temperature: -1 })),
      seed: await error(() => ask("a", { seed: "x" })),
      webgpu: await error(() => load(url, { device: "webgpu" })),
      key: await error(() => load("opfs:00000000000000000000000000000000")),
    }), [server.origin, url()]);
    assert.deepEqual(found, { missing: "network", format: "format", aborted: "aborted", context: "context", parameter: "parameter", seed: "parameter", webgpu: "webgpu", key: "storage" });
  });

  await check("opens from the cache without the network; a key; a removal", async () => {
    const before = server.log.length;
    const found = await page.evaluate(async (url) => {
      const { key } = (await carat.storage.list())[0];
      const urls = [];
      for (const source of [url, key]) {
        await load(source, { onProgress: (p) => p.phase === "verify" && urls.push(p.fromCache) });
        await ask("a", { maxTokens: 1 });
      }
      await carat.storage.remove(key);
      return { cached: urls.every(Boolean), left: (await carat.storage.list()).length };
    }, url());
    assert.ok(found.cached);
    assert.equal(found.left, 0);
    assert.deepEqual(server.log.slice(before).filter((r) => r.url.includes(".gguf")), []);
  });

  await check("connections cut at a random byte", async () => {
    const cut = 300_000 + Math.floor(Math.random() * 1_500_000);
    const result = await page.evaluate(async ([u, t]) => (await load(u), ask(t, { temperature: 0 })), [url(`?cut=${cut}`), expected.prompt]);
    same(result, expected.greedy);
    const starts = requests(`?cut=${cut}`).map((r) => r.start);
    // What was on its way when the connection ended is lost with it; nothing that arrived is asked for again.
    const goes = (s, i) => i === 0 || (s >= starts[i - 1] && s <= starts[i - 1] + cut);
    assert.ok(starts.length > 2 && starts[0] === 0 && starts.every(goes), `${cut}: ${starts}`);
    const asked = new Set(starts).size;
    assert.ok(asked > 2 && starts.length - asked < asked, `${cut}: ${starts}`);
    return `${starts.length} connections of ${cut} bytes`;
  });

  await check("a load that was given up goes on where it stopped", async () => {
    const broken = await page.evaluate(async (u) => {
      const abort = new AbortController();
      return error(() => load(u, { signal: abort.signal, onProgress: (p) => p.loaded > 200_000 && abort.abort() }));
    }, url("?cut=1500000&once"));
    assert.equal(broken, "aborted");
    const stored = await page.evaluate(async () => (await carat.storage.list()).find((m) => !m.complete));
    assert.ok(stored.storedBytes > 0, "nothing was kept");
    const before = server.log.length;
    const result = await page.evaluate(async ([u, t]) => (await load(u), ask(t, { temperature: 0 })), [url("?cut=1500000&once"), expected.prompt]);
    same(result, expected.greedy);
    const first = server.log.slice(before).find((r) => r.url.includes("once"));
    assert.equal(first.start, stored.storedBytes);
    return `from byte ${first.start}`;
  });

  await check("a damaged range is fetched again alone; one damaged for good is an error", async () => {
    const flip = expected.bytes - 1000;
    const result = await page.evaluate(async ([u, t]) => (await load(u), ask(t, { temperature: 0 })), [url(`?flip=${flip}`), expected.prompt]);
    same(result, expected.greedy);
    const [whole, repair] = requests(`?flip=${flip}`);
    assert.equal(whole.start, 0);
    assert.ok(repair.start > 0 && repair.end - repair.start < 4 << 20);
    const code = await page.evaluate((u) => error(() => load(u)), url(`?flip=${flip}&always=1`));
    assert.equal(code, "hash");
    assert.equal(requests("always=1").length, 3);
  });

  await check("a server without ranges, a File, and no cache", async () => {
    for (const source of ["plain", "file"]) {
      const result = await page.evaluate(async ([u, source, t]) => {
        const from = source === "file" ? new File([await (await fetch(u)).blob()], "facet.gguf") : u;
        const phases = [];
        await load(from, { cache: source === "file" ? "opfs" : "none", onProgress: (p) => phases.push(p.phase) });
        if (phases.includes("download") !== (source === "plain") || phases.includes("read") !== (source === "file")) throw new Error(`${source}: ${phases}`);
        return ask(t, { temperature: 0 });
      }, [url("?plain=1"), source, expected.prompt]);
      same(result, expected.greedy);
    }
  });

  await check("another origin, which shows no range's place; a page that is no model, and then the model", async () => {
    const other = await serve({ "/models/": path.dirname(expected.file) });
    const [foreign, sick] = [`${other.origin}/models/${path.basename(expected.file)}?cors=1`, url("?sick=1")];
    const result = await page.evaluate(async ([u, t]) => (await load(u), ask(t, { temperature: 0 })), [foreign, expected.prompt]);
    other.close();
    same(result, expected.greedy);
    assert.equal(await page.evaluate((u) => error(() => load(u)), sick), "format");
    same(await page.evaluate(async ([u, t]) => (await load(u), ask(t, { temperature: 0 })), [sick, expected.prompt]), expected.greedy);
  });

  await check("a stored file whose header was damaged is fetched again; one that became shorter begins anew", async () => {
    const result = await page.evaluate(async ([u, t]) => {
      await load(u);
      const { key } = (await carat.storage.list()).find((m) => m.url === u);
      const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("carat");
      const data = await (await folder.getDirectoryHandle(key.slice(5))).getFileHandle("data");
      const writable = await data.createWritable({ keepExistingData: true });
      await writable.write({ type: "write", position: 0, data: new Uint8Array(64) });
      await writable.close();
      await load(u);
      return ask(t, { temperature: 0 });
    }, [url("?header"), expected.prompt]);
    same(result, expected.greedy);
    assert.equal(requests("?header").length, 2);
    const remote = new Remote(url("?shorter"));
    const { total } = await remote.begin(expected.bytes + 5);
    await remote.stop();
    assert.deepEqual([total, remote.offset], [expected.bytes, 0]);
  });

  await check("two tabs, one download", async () => {
    const other = await browser.page(`${server.origin}/blank.html`);
    await other.evaluate(helpers);
    const both = [page, other].map((p) => p.evaluate(async ([u, t]) => (await load(u), ask(t, { temperature: 0 })), [url("?tabs"), expected.prompt]));
    for (const result of await Promise.all(both)) same(result, expected.greedy);
    assert.equal(requests("?tabs").length, 1);
  });

  await check("the packed package in an empty project runs ten lines", async () => {
    const project = mkdtempSync(path.join(os.tmpdir(), "carat-pack-"));
    try {
      const [{ filename }] = JSON.parse(execFileSync("npm", ["pack", "--json", "--pack-destination", project, npm], { stdio: ["ignore", "pipe", "ignore"] }));
      writeFileSync(path.join(project, "package.json"), "{}");
      execFileSync("npm", ["install", "--offline", "--no-fund", "--no-audit", `./${filename}`], { cwd: project, stdio: "ignore" });
      writeFileSync(path.join(project, "index.html"), `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><pre id="out"></pre>
<script type="module">
import { Carat } from "./node_modules/carat-web/index.js";
const model = await Carat.load("/models/${path.basename(expected.file)}", { device: "cpu", cache: "none" });
const answer = model.generate(${JSON.stringify(expected.prompt)}, { temperature: 0, maxTokens: 64 });
for await (const { text } of answer) out.append(text);
globalThis.result = await answer.result;
globalThis.ready = true;
</script>`);
      const site = await serve({ "/": project, "/models/": path.dirname(expected.file) });
      const example = await browser.page(`${site.origin}/index.html`);
      same(await example.evaluate(() => globalThis.result), expected.greedy);
      site.close();
      return filename;
    } finally {
      rmSync(project, { recursive: true, force: true });
    }
  });
  await browser.close();
}

async function graphics() {
  const browser = await launch({ gpu: true });
  const page = await browser.page(`${server.origin}/blank.html`);
  await page.evaluate(helpers);

  if (!(await page.evaluate(() => carat.webgpu.available()))) {
    console.log("ABSENT: WebGPU in this Chromium");
    if (process.env.CARAT_REQUIRE_DRIVERS === "1") fail();
    return browser.close();
  }

  await check("of two devices the faster one goes on: here, in software, the CPU", async () => {
    const why = await page.evaluate(async (u) => {
      await load(u, { cache: "none" });
      const why = await new Promise((done) => (model.onDevice = (_, why) => done(why)));
      const device = [model.device, (await ask("a", { maxTokens: 1 })).device];
      await model.close();
      return [...device, why];
    }, url());
    assert.deepEqual(why.slice(0, 2), ["cpu", "cpu"]);
    assert.match(why[2], /WebGPU takes [\d.]+ ms for a token here, the CPU [\d.]+/);
    return why[2];
  });

  // A worker to which every file is a large one: it goes to the device first, and only a part of it to the CPU.
  await page.route("**/npm/worker.js?large", async (route) => {
    const response = await route.fetch();
    const body = await response.text();
    const large = body.replace(/const KEEP = [^;]+;/, "const KEEP = 0;");
    assert.notEqual(body, large, "the worker has no such limit any more");
    await route.fulfill({ response, body: large });
  });
  for (const cache of ["opfs", "none"]) {
    await check(`a large file, too, goes on where it is faster, ${cache === "opfs" ? "before it answers" : "while it answers, where it is not stored"}`, async () => {
      const found = await page.evaluate(async ([u, t, cache]) => {
        const why = [];
        await load(u, { cache, worker: "/npm/worker.js?large" });
        const first = [model.device, model.deviceReason];
        model.onDevice = (...change) => why.push(change);
        const result = await ask(t, { temperature: 0 });
        await model.close();
        return { first, why, result };
      }, [url(`?large=${cache}`), expected.prompt, cache]);
      same(found.result, expected.greedy);
      assert.equal(found.result.device, "cpu");
      if (cache === "opfs") {
        assert.equal(found.first[0], "cpu");
        assert.deepEqual(found.why, []);
      } else {
        assert.deepEqual(found.first, ["webgpu", null]);
        assert.deepEqual(found.why.map(([device, , change]) => [device, change]), [["cpu", "moved"]]);
      }
      const why = found.first[1] ?? found.why[0][1];
      assert.match(why, /WebGPU takes [\d.]+ ms for a token here, the CPU [\d.]+/);
      return why;
    });
  }

  await check("a load that is given up while kernels compile ends at once", async () => {
    const took = await page.evaluate(async (u) => {
      const abort = new AbortController();
      let begun = 0;
      const onProgress = (p) => {
        if (p.phase !== "compile" || begun) return;
        setTimeout(() => ((begun = performance.now()), abort.abort()), 50);
      };
      const code = await error(() => load(u, { device: "webgpu", cache: "none", signal: abort.signal, onProgress }));
      return { code, ms: performance.now() - begun };
    }, url());
    assert.equal(took.code, "aborted");
    assert.ok(took.ms < 100, `${took.ms} ms`);
  });

  await check("the CPU answers while the GPU's kernels compile, and the GPU takes over", async () => {
    const found = await page.evaluate(async ([u, t]) => {
      const start = performance.now();
      await load(u, { worker: "/lossy-worker.js?gpu", cache: "none" });
      const moved = new Promise((done) => (model.onDevice = (device) => done([device, performance.now() - start])));
      const first = await ask(t, { temperature: 0, maxTokens: 1 });
      const answered = performance.now() - start;
      return { answered, device: first.device, moved: await moved };
    }, [url(), expected.prompt]);
    assert.equal(found.device, "cpu");
    assert.equal(found.moved[0], "webgpu");
    return `first token after ${found.answered.toFixed(0)} ms, GPU after ${found.moved[1].toFixed(0)} ms`;
  });

  await check("64 tokens on WebGPU as the native engine: greedy, seeded; a session that was saved goes on", async () => {
    const greedy = await page.evaluate((t) => ask(t, { temperature: 0 }), expected.prompt);
    assert.equal(greedy.device, "webgpu");
    same(greedy, expected.greedy);
    same(await page.evaluate(([t, o]) => ask(t, o), [expected.prompt, expected.sampling]), expected.seeded);
    const rest = await page.evaluate(async ([o, file]) => {
      const { prompt, ids } = await model.restoreSession(Uint8Array.from(file));
      return model.generate(prompt, { ...o, maxTokens: 64, after: ids }).result;
    }, [expected.sampling, expected.session]);
    assert.equal(rest.device, "webgpu");
    same(rest, expected.seeded);
    return `${greedy.tokensPerSecond.toFixed(0)} tokens/s`;
  });

  await check("a device lost mid-answer: the CPU goes on, then a new device", async () => {
    const found = await page.evaluate(async (t) => {
      const devices = [];
      let back;
      const rebuilt = new Promise((done) => (back = done));
      model.onDevice = (d) => (devices.push(d), d === "webgpu" && back());
      const run = model.generate(t, { temperature: 0, maxTokens: 64 });
      const channel = new BroadcastChannel("carat-test");
      let n = 0;
      for await (const _ of run) if (++n === 5) channel.postMessage("lose");
      const result = await run.result;
      await rebuilt;
      return { result, devices };
    }, expected.prompt);
    same(found.result, expected.greedy);
    assert.deepEqual(found.devices.slice(0, 2), ["cpu", "webgpu"]);
  });

  await check("WebGPU alone: lost and built again, the conversation goes on", async () => {
    const found = await page.evaluate(async ([u, t]) => {
      await model.close();
      await load(u, { device: "webgpu", worker: "/lossy-worker.js" });
      const devices = [];
      model.onDevice = (d) => devices.push(d);
      const run = model.generate(t, { temperature: 0, maxTokens: 64 });
      const channel = new BroadcastChannel("carat-test");
      let n = 0;
      for await (const _ of run) if (++n === 30) channel.postMessage("lose");
      return { result: await run.result, devices };
    }, [url(), expected.prompt]);
    same(found.result, expected.greedy);
    assert.deepEqual(found.devices, ["webgpu"]);
  });

  await check("submissions are cut by the device's speed, with the same tokens", async () => {
    const counts = [];
    for (const clock of [1, 10000]) {
      const found = await page.evaluate(async ([u, t, clock]) => {
        await model.close();
        await load(u, { device: "webgpu", cache: "none", worker: `/lossy-worker.js?clock=${clock}` });
        await ask(t, { temperature: 0, maxTokens: 2 });
        const before = await worker("submissions");
        const result = await ask(t, { temperature: 0, maxTokens: 16 });
        return { result, submissions: (await worker("submissions")) - before };
      }, [url(), expected.prompt, clock]);
      assert.deepEqual(found.result.ids, expected.greedy.ids.slice(0, 16));
      counts.push(found.submissions);
    }
    assert.ok(counts[1] > 4 * counts[0], `${counts}`);
    return `${counts[0]} where it is fast, ${counts[1]} where it is slow`;
  });
  await browser.close();
}

const only = process.argv[4];
if (only !== "gpu") await processor();
if (only !== "cpu") await graphics();
server.close();
close();
