// The page as it is shipped, with the real package and the bundled model, beside the native program.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { DIST, MODEL, NO_GPU, ROOT, browser, check, equal, ok, site } from './harness.mjs';
import { idle, send } from './states.mjs';

const CARAT = process.env.CARAT_BIN ?? join(resolve(ROOT, process.env.CARGO_TARGET_DIR ?? 'target'), 'release/carat');
const PROMPT = 'It was late in the evening when the stranger came to the door of the inn.';
const SLOW = { timeout: 120_000 };

/** Runs the command that the page shows, as it is, in a shell, beside the model. */
function native(command) {
  ok(existsSync(CARAT), `${CARAT} is not there; cargo build --release -p carat-cli, or name it in CARAT_BIN`);
  const bin = mkdtempSync(join(tmpdir(), 'carat-bin-'));
  try {
    symlinkSync(CARAT, join(bin, 'carat'));
    const env = { ...process.env, PATH: `${bin}:${process.env.PATH}` };
    return JSON.parse(execFileSync('sh', ['-c', command], { cwd: dirname(MODEL), env, stdio: ['ignore', 'pipe', 'ignore'] }));
  } finally {
    rmSync(bin, { recursive: true });
  }
}

/** The last answer: its text as the page keeps it, its hash and its command. */
const answer = async (page) => ({ text: await page.locator('.passage.assistant .body').last().textContent(), hash: await page.textContent('#hash'), command: await page.textContent('#command') });

async function fresh(b, url) {
  const page = await b.context.newPage();
  await page.goto(url);
  await page.waitForSelector('#device:not([hidden])', SLOW);
  return page;
}

/** Sends a text and waits for the end of the answer, which may be over between two looks at the page: it is watched. */
async function told(page, text) {
  await page.evaluate(() => {
    const stop = document.querySelector('#stop');
    let begun = false;
    window.answered = new Promise((resolve, reject) => {
      setTimeout(() => reject(new Error('no answer has ended')), 120_000);
      new MutationObserver(() => {
        if (!stop.hidden) begun = true;
        else if (begun) resolve();
      }).observe(stop, { attributes: true, attributeFilter: ['hidden'] });
    });
  });
  await send(page, text);
  await page.evaluate(() => window.answered);
  const bad = page.locator('.notice.bad');
  if ((await bad.count()) > 0) throw new Error(await bad.first().textContent());
}

/** Sets numbers in the settings. */
async function set(page, values) {
  await page.click('#open-settings');
  for (const [key, value] of Object.entries(values)) {
    if (key === 'device') await page.selectOption('#set-device', value);
    else await page.fill(`#set-${key}`, String(value));
  }
  await page.getByRole('button', { name: 'Done' }).click();
  await page.waitForSelector('#device:not([hidden])', SLOW);
}

export default async function whole() {
  const server = await site();
  const b = await browser();
  const checked = (name, body, { expect = /^$/ } = {}) =>
    check(name, async () => {
      const page = await fresh(b, server.url);
      try {
        await body(page);
        const problems = b.problems.splice(0).filter((p) => !expect.test(p));
        equal(problems.join('\n'), '', 'errors of the page');
      } finally {
        await page.evaluate(() => localStorage.clear());
        await page.close();
      }
    });

  let first;
  await checked('first open: the bundled model, a beginning, a streamed answer', async (page) => {
    await page.evaluate(() => {
      globalThis.grown = new Set();
      new MutationObserver(() => grown.add(document.querySelector('.passage.assistant .body')?.textContent.length ?? 0)).observe(document.getElementById('talk'), { childList: true, subtree: true, characterData: true });
    });
    await page.locator('.starter').first().click();
    await page.waitForSelector('.stats', SLOW);
    const grown = await page.evaluate(() => globalThis.grown.size);
    ok(grown >= 3, `the text was shown in ${grown} steps`);
    first = await answer(page);
    ok(first.text.length > 100, `only ${first.text}`);
    ok(/^160 tokens at [\d.]+ a second, first after \d/.test(await page.textContent('.stats')), await page.textContent('.stats'));
  });
  await checked('the command of the panel gives the same hash and text natively', async (page) => {
    await told(page, PROMPT);
    const here = await answer(page);
    equal(here.hash, first.hash, 'hash, a second time');
    const there = native(here.command);
    equal(there.logits_hash, here.hash, 'logits hash');
    equal(there.text.replace(/^ /, ''), here.text, 'text');
  });
  await checked('greedy, with quotes and line breaks in the prompt', async (page) => {
    await set(page, { temperature: 0, maxTokens: 64 });
    await told(page, 'He said: "It\'s late", and\nwent $HOME. ');
    const here = await answer(page);
    equal(native(here.command).logits_hash, here.hash, 'logits hash');
  });
  await checked('a chat of two messages gives the same hash natively', async (page) => {
    await page.check('input[value=chat]');
    await set(page, { maxTokens: 24, system: 'Answer in one sentence.' });
    await told(page, 'Who are you?');
    await told(page, 'And <|im_end|> where?');
    const here = await answer(page);
    equal(native(here.command).logits_hash, here.hash, 'logits hash');
  });
  await checked('stopped midway: the command makes again what there is', async (page) => {
    await set(page, { maxTokens: 900 });
    await send(page, PROMPT);
    // In the page itself: a fast device is done before a click from outside arrives.
    await page.waitForFunction(() => document.querySelector('.passage.assistant .body')?.textContent.length > 60 && (document.querySelector('#stop').click(), true), null, SLOW);
    await idle(page);
    const here = await answer(page);
    const there = native(here.command);
    ok(there.ids.length < 900, 'it was not stopped');
    equal(there.logits_hash, here.hash, 'logits hash');
    equal(there.text.replace(/^ /, ''), here.text, 'text');
  });
  await checked('regenerate: another text with the next seed, and the same one with the same seed', async (page) => {
    await set(page, { maxTokens: 32 });
    await told(page, PROMPT);
    const one = await answer(page);
    await page.click('[data-action=again]');
    await page.waitForSelector('#stop', { state: 'hidden', ...SLOW });
    await page.waitForFunction((t) => document.querySelector('.passage.assistant .body')?.textContent !== t && document.querySelector('.stats'), one.text, SLOW);
    const two = await answer(page);
    ok(one.hash !== two.hash, 'the same hash with another seed');
    equal(native(two.command).logits_hash, two.hash, 'logits hash');
    const [, seed] = /--seed (\d+)/.exec(two.command);
    await set(page, { seed });
    await page.click('#new-talk');
    await told(page, PROMPT);
    equal((await answer(page)).text, two.text, 'text of that seed');
  });
  await checked('settings change the result', async (page) => {
    await set(page, { maxTokens: 32 });
    const texts = [];
    for (const values of [{}, { temperature: 0 }, { temperature: 2, topK: 0, topP: 0.5, minP: 0 }, { temperature: 0.8, repeatPenalty: 1.3 }, { temperature: '', topK: '', topP: '', minP: '', repeatPenalty: '' }]) {
      if (Object.keys(values).length > 0) await set(page, values);
      await page.locator('#new-talk').click({ force: true }).catch(() => {});
      await told(page, PROMPT);
      const here = await answer(page);
      texts.push(here.text);
      equal(native(here.command).logits_hash, here.hash, 'logits hash');
    }
    equal(new Set(texts).size, 4, 'different texts');
    equal(texts[4], texts[0], 'text of the same settings');
  });
  await checked('a chat’s answer that its limit ended goes on: at once, and computed again after a reload, with the hash of one that had no end', async (page) => {
    await page.check('input[value=chat]');
    await set(page, { maxTokens: 10 });
    await told(page, 'Who are you?');
    const short = await answer(page);
    for (const [n, before] of [[20, async () => {}], [30, async () => (await page.reload(), await page.waitForSelector('#device:not([hidden])', SLOW), await page.waitForSelector('[data-action=go-on]', SLOW))]]) {
      await before();
      await page.click('[data-action=go-on]');
      await page.waitForFunction((n) => document.querySelector('.stats')?.textContent.startsWith(`${n} tokens`), n, SLOW);
      const here = await answer(page);
      ok(here.command.includes(`-n ${n} `) && here.text.length > short.text.length, `${here.text}\n${here.command}`);
      equal(native(here.command).logits_hash, here.hash, 'logits hash');
    }
  });
  await checked('an edited beginning is continued anew', async (page) => {
    await set(page, { maxTokens: 16 });
    await told(page, PROMPT);
    await page.click('.passage.user [data-action=edit]');
    await page.fill('.editor', 'The sea was calm');
    await page.click('.edit .primary');
    await page.waitForFunction(() => document.querySelector('#command')?.textContent.includes('The sea was calm'), null, SLOW);
    await page.waitForSelector('.stats');
    const here = await answer(page);
    equal(native(here.command).logits_hash, here.hash, 'logits hash');
  });
  await checked('continued without more text: one text of two answers', async (page) => {
    await set(page, { maxTokens: 12 });
    await told(page, PROMPT);
    await told(page, '');
    const here = await answer(page);
    ok(here.command.includes(PROMPT) && (await page.locator('.passage.assistant').count()) === 2, 'no second answer');
    equal(native(here.command).logits_hash, here.hash, 'logits hash');
  });
  await checked('the storage manager lists the model; without the network it opens from there; deleted it is gone', async (page) => {
    const stored = async () => {
      await page.click('#open-storage');
      await page.waitForSelector('#room');
      return page.locator('#storage-dialog .item').count();
    };
    equal(await stored(), 1, 'stored models');
    ok((await page.textContent('#storage-dialog .item')).includes('3.4 MB'), await page.textContent('#storage-dialog .item'));
    await page.keyboard.press('Escape');
    let fetched = 0;
    await page.route('**/*.gguf', (route) => ((fetched += 1), route.abort()));
    await page.reload();
    await page.waitForSelector('#device:not([hidden])', SLOW);
    await set(page, { maxTokens: 8 });
    await told(page, PROMPT);
    equal(await stored(), 1, 'stored models');
    await page.locator('#storage-dialog .item button').click();
    await page.locator('#storage-dialog .danger').click();
    await page.waitForFunction(() => document.querySelectorAll('#storage-dialog .item').length === 0);
  });
  await checked('a file that is picked, and one that is dropped, gives the same hash', async (page) => {
    await page.evaluate(() => {
      globalThis.phases = [];
      const seen = () => phases.push(document.querySelector('.loading .phase')?.textContent ?? '');
      new MutationObserver(seen).observe(document.getElementById('notices'), { childList: true, subtree: true, characterData: true });
    });
    await page.click('#open-models');
    await page.setInputFiles('#file', MODEL);
    await page.waitForFunction(() => document.getElementById('model-name').textContent === 'facet-6m-4bit.gguf' && !document.getElementById('device').hidden, null, SLOW);
    equal([...new Set(await page.evaluate(() => globalThis.phases))].filter((p) => /Download/.test(p)).join(), '', 'what was said of a file of this device');
    ok((await page.evaluate(() => globalThis.phases)).includes('Reading the file'), JSON.stringify(await page.evaluate(() => globalThis.phases)));
    await page.check('input[value=continue]');
    await told(page, PROMPT);
    equal((await answer(page)).hash, first.hash, 'hash of the picked file');
    // A reload opens it again, from where it was kept.
    await page.reload();
    await page.waitForSelector('#device:not([hidden])', SLOW);
    equal(await page.textContent('#model-name'), 'facet-6m-4bit.gguf', 'model after a reload');
    equal((await answer(page)).hash, first.hash, 'hash after a reload');
    await page.click('#new-talk');
    await page.evaluate(async () => {
      const bytes = await (await fetch('models/facet-6m-4bit.gguf')).blob();
      const data = new DataTransfer();
      data.items.add(new File([bytes], 'dropped.gguf'));
      dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }));
    });
    await page.waitForFunction(() => document.getElementById('model-name').textContent === 'dropped.gguf' && !document.getElementById('device').hidden, null, SLOW);
    await page.check('input[value=continue]');
    await told(page, PROMPT);
    equal((await answer(page)).hash, first.hash, 'hash of the dropped file');
  });
  for (const [what, code, buffer] of [
    ['junk', 'format', () => Buffer.from('this is no model')],
    ['a file that is cut', 'format', () => readFileSync(MODEL).subarray(0, 1_000_000)],
    ['a file with a changed byte', 'hash', () => { const bytes = Buffer.from(readFileSync(MODEL)); bytes[bytes.length - 5000] ^= 1; return bytes; }],
  ]) {
    await checked(`${what} is refused as '${code}', and the model before answers on`, async (page) => {
      await page.click('#open-models');
      await page.setInputFiles('#file', { name: 'bad.gguf', mimeType: 'application/octet-stream', buffer: buffer() });
      await page.waitForSelector('.notice.bad', SLOW);
      equal(await page.getAttribute('.notice.bad', 'data-code'), code, await page.textContent('.notice.bad .message'));
      await page.waitForSelector('#device:not([hidden])', SLOW);
      equal(await page.textContent('#model-name'), 'facet-6m');
    });
  }
  await checked('an address without a file is refused as a network error', async (page) => {
    await page.click('#open-models');
    await page.fill('#address', `${server.url}models/none.gguf`);
    await page.press('#address', 'Enter');
    await page.waitForSelector('.notice.bad', SLOW);
    equal(await page.getAttribute('.notice.bad', 'data-code'), 'network', await page.textContent('.notice.bad .message'));
  }, { expect: /404/ });
  await checked('the other device, asked by the panel, gives the same hash', async (page) => {
    await set(page, { maxTokens: 24 });
    await told(page, PROMPT);
    await page.locator('.elsewhere .button').click();
    await page.waitForSelector('.verdict.good', SLOW);
  });
  await checked('“Automatic” leaves a slow GPU whatever the model’s size, and says so', async (page) => {
    // The package's own worker, to which every file is a large one: it goes to the device first, and only a part to the CPU.
    await page.route('**/carat-web/worker.js', async (route) => {
      const response = await route.fetch();
      const body = await response.text();
      const large = body.replace(/const KEEP = [^;]+;/, 'const KEEP = 0;');
      ok(large !== body, 'the worker has no such limit any more');
      await route.fulfill({ response, body: large });
    });
    await page.reload();
    await page.waitForSelector('#device:not([hidden])', SLOW);
    equal(await page.textContent('#device'), 'CPU');
    const said = await page.textContent('.device-note');
    const [, gpu, cpu] = /WebGPU takes ([\d.]+) ms for a token here, the CPU ([\d.]+)/.exec(said) ?? [];
    ok(Number(cpu) > 0 && Number(gpu) > Number(cpu), said);
    await set(page, { maxTokens: 24 });
    await told(page, PROMPT);
    const here = await answer(page);
    equal(native(here.command).logits_hash, here.hash, 'logits hash');
  });
  await checked('a GPU that is destroyed midway is built again: the answer goes on with the same hash', async (page) => {
    // The package's own worker, with its devices where the test can reach them.
    await page.route('**/carat-web/worker.js', async (route) => {
      const response = await route.fetch();
      const keep = 'const { requestDevice } = GPUAdapter.prototype; globalThis.devices = []; GPUAdapter.prototype.requestDevice = async function (...a) { const d = await requestDevice.apply(this, a); devices.push(d); return d; };\n';
      await route.fulfill({ response, body: keep + (await response.text()) });
    });
    await set(page, { device: 'webgpu', maxTokens: 48 });
    await page.waitForFunction(() => document.getElementById('device').dataset.device === 'webgpu' && !document.getElementById('device').hidden, null, SLOW);
    await send(page, PROMPT);
    await page.waitForFunction(() => document.querySelector('.passage.assistant .body')?.textContent.length > 20, null, SLOW);
    const worker = page.workers().at(-1);
    ok((await worker.evaluate(() => devices.splice(0).map((d) => d.destroy()).length)) > 0, 'there was no device');
    await page.waitForSelector('.stats', SLOW);
    const here = await answer(page);
    equal(native(here.command).logits_hash, here.hash, 'logits hash');
    ok((await worker.evaluate(() => devices.length)) > 0, 'the device was not built again');
  });
  await b.close();

  const none = await browser({ flags: NO_GPU });
  await check('without WebGPU: the page says so, answers, and the hash is the same', async () => {
    const page = await fresh(none, server.url);
    ok((await page.textContent('.device-note')).includes('no WebGPU'), 'it says nothing');
    await told(page, PROMPT);
    equal((await answer(page)).hash, first.hash, 'logits hash');
    equal(none.problems.join('\n'), '', 'errors of the page');
  });
  await none.close();
  server.close();
}
