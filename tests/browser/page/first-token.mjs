// How long from opening the page to the first token, and of what it is made up: node first-token.mjs [RUNS].
// Each run has a new profile, so that nothing is stored; times are medians in ms after the navigation began.

import { GPU, NO_GPU, browser, site } from './harness.mjs';

const runs = Number(process.argv[2] ?? 5);
const PARTS = [
  ['page', 'carat:page', 'scripts run'],
  ['wasm', 'carat:header', 'the package has begun to read the file'],
  ['model bytes', 'carat:download', 'the first of them are there'],
  ['checked', 'carat:verify', 'hashes'],
  ['to the graphics card', 'carat:upload', ''],
  ['kernels', 'carat:compile', ''],
  ['open', 'carat:open', 'tokenizer, session'],
  ['first token', 'carat:first-token', ''],
  ['CPU serves', 'carat:device-cpu', ''],
  ['GPU serves', 'carat:device-webgpu', ''],
  ['devices compared', 'carat:device-kept', 'the CPU is faster and goes on'],
];
const median = (all) => all.toSorted((a, b) => a - b)[all.length >> 1];

for (const [what, flags, device] of [['automatic, SwiftShader', GPU, 'auto'], ['WebGPU alone, SwiftShader', GPU, 'webgpu'], ['CPU, no WebGPU', NO_GPU, 'auto']]) {
  const server = await site();
  const seen = [];
  for (let i = 0; i < runs; i += 1) {
    const b = await browser({ flags });
    await b.page.addInitScript((device) => {
      try {
        localStorage.setItem('carat.settings', JSON.stringify({ device }));
      } catch {
        // The first document has no storage.
      }
      // Asks as soon as there is a button for it: what comes before is part of the time.
      new MutationObserver((_, watch) => {
        const button = document.querySelector('.starter');
        if (button) (watch.disconnect(), button.click());
      }).observe(document, { childList: true, subtree: true });
    }, device);
    await b.page.goto(server.url);
    await b.page.waitForFunction(() => performance.getEntriesByName('carat:first-token').length > 0, null, { timeout: 120_000 });
    if (flags === GPU) await b.page.waitForFunction(() => ['carat:device-webgpu', 'carat:device-kept'].some((m) => performance.getEntriesByName(m).length > 0), null, { timeout: 120_000 });
    seen.push(await b.page.evaluate(() => Object.fromEntries(performance.getEntriesByType('mark').map((m) => [m.name, m.startTime]))));
    await b.close();
  }
  console.log(`\n${what}, ${runs} runs`);
  for (const [name, mark, note] of PARTS) {
    const times = seen.map((s) => s[mark]).filter((t) => t !== undefined);
    if (times.length > 0) console.log(`${name.padEnd(22)} ${String(Math.round(median(times))).padStart(6)} ms  ${note}`);
  }
  server.close();
}
