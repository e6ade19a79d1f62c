// The page that `carat serve` gives, in a browser: node tests/server/page.mjs URL [DIRECTORY FOR PICTURES].
// URL is that of a server without keys. It needs playwright-core (npm ci in tests/browser) and chromium.

import { existsSync, mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const [, , URL_OF_SERVER, PICTURES] = process.argv;
const CHROMIUM = process.env.CARAT_CHROMIUM ?? '/usr/bin/chromium';
const PLAYWRIGHT = process.env.CARAT_PLAYWRIGHT ?? new URL('../browser/', import.meta.url).pathname;
if (!URL_OF_SERVER) {
  console.error('page.mjs: give the address of a server, as http://127.0.0.1:8080/');
  process.exit(2);
}
if (!existsSync(CHROMIUM) || !existsSync(join(PLAYWRIGHT, 'node_modules/playwright-core'))) {
  console.error(`ABSENT: ${CHROMIUM}, or playwright-core in ${PLAYWRIGHT}node_modules; apt-get install chromium, and npm ci in tests/browser`);
  process.exit(0);
}
const { chromium } = createRequire(join(PLAYWRIGHT, 'package.json'))('playwright-core');
if (PICTURES) mkdirSync(PICTURES, { recursive: true });

let passed = 0;
let failed = 0;
async function check(name, body) {
  try {
    await body();
    passed += 1;
    console.log(`ok    ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL  ${name}\n      ${String(error?.message ?? error).slice(0, 1500)}`);
  }
}
function ok(condition, what) {
  if (!condition) throw new Error(what);
}

const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking'] });
const said = [];
async function open(width, colorScheme = 'light') {
  const context = await browser.newContext({ viewport: { width, height: 820 }, colorScheme });
  const page = await context.newPage();
  page.setDefaultTimeout(30000);
  page.on('console', (m) => m.type() === 'error' && !/status of 4\d\d/.test(m.text()) && said.push(m.text()));
  page.on('pageerror', (e) => said.push(String(e)));
  page.on('request', (r) => new URL(r.url()).origin === new URL(URL_OF_SERVER).origin || r.url().startsWith('data:') || said.push(`it asks ${r.url()}`));
  await page.goto(URL_OF_SERVER);
  return page;
}
const ready = (page) => page.waitForSelector('#device:not([hidden])');
const picture = (page, name) => PICTURES && page.screenshot({ path: join(PICTURES, `${name}.png`) });
async function send(page, text) {
  await page.fill('#prompt', text);
  await page.press('#prompt', 'Enter');
}
/** A small model may go on and on. */
async function limit(page, tokens) {
  await page.click('#open-settings');
  await page.fill('#set-maxTokens', String(tokens));
  await page.keyboard.press('Escape');
}
/** The text of the last answer. */
const answer = (page) => page.locator('.passage.assistant .body').last().innerText();
async function fits(page) {
  const [wide, inner] = await page.evaluate(() => [document.scrollingElement.scrollWidth, innerWidth]);
  ok(wide <= inner, `the page is ${wide} px wide in ${inner} px`);
}

/** Answers the next request for a chat with these chunks. */
async function tell(page, deltas, { status = 200, error = null } = {}) {
  const chunk = (choice, more = {}) => `data: ${JSON.stringify({ object: 'chat.completion.chunk', choices: [choice], ...more })}\n\n`;
  const end = { index: 0, delta: {}, finish_reason: 'stop', logits_hash: 'ab'.repeat(32), seed: 1 };
  const usage = { choices: [], usage: { prompt_tokens: 5, completion_tokens: deltas.length } };
  const body = deltas.map((delta) => chunk({ index: 0, delta })).join('') + chunk(end, { timings: { prompt_ms: 12, predicted_per_second: 30, predicted_n: deltas.length } }) + `data: ${JSON.stringify(usage)}\n\ndata: [DONE]\n\n`;
  await page.route('**/v1/chat/completions', (route) => route.fulfill({ status, contentType: error ? 'application/json' : 'text/event-stream', body: error ? JSON.stringify({ error }) : body }), { times: 1 });
}

const page = await open(1280);
await check('it opens the first model and says that a server computes', async () => {
  await ready(page);
  ok((await page.textContent('#device')) === 'Server', 'the badge does not say so');
  ok(/on this server/.test(await page.textContent('#empty-title')), 'the beginning does not say so');
  ok((await page.textContent('#model-name')).length > 0, 'no name of a model');
  ok(!(await page.isVisible('#open-storage')), 'stored models are offered');
  await picture(page, 'begin-1280');
});
let first = '';
await check('an answer streams, and has its hash', async () => {
  await limit(page, 80);
  await send(page, 'Tell me a story of a cat.');
  await page.waitForSelector('#stop:not([hidden])');
  await page.waitForSelector('.stats');
  first = await answer(page);
  ok(first.length > 0, 'there is no text');
  ok(/^[0-9a-f]{64}$/.test(await page.textContent('#hash')), 'there is no hash');
  ok((await page.textContent('#command')).includes('carat run'), 'there is no command');
  ok(/the server/.test(await page.textContent('#same')), 'the panel names another device');
  await picture(page, 'answered-1280');
});
await check('a reload goes on with the conversation', async () => {
  await page.waitForTimeout(600);
  await page.reload();
  await ready(page);
  ok((await answer(page)) === first, 'the answer is not there');
});
await check('a stop ends an answer, and the next one comes', async () => {
  await page.click('#open-settings');
  ok((await page.locator('#set-device, #set-context').count()) === 0, 'settings of a device of this page are there');
  await page.fill('#set-temperature', '1');
  await page.fill('#set-maxTokens', '2000');
  await page.keyboard.press('Escape');
  await send(page, 'Write a very long story about a cat, a king and the sea, with many chapters.');
  await page.waitForFunction(() => [...document.querySelectorAll('.passage.assistant .body')].at(-1).textContent.length > 60);
  await picture(page, 'streaming-1280');
  await page.click('#stop');
  await page.waitForSelector('#stop', { state: 'hidden' });
  const text = await answer(page);
  await page.waitForTimeout(500);
  ok((await answer(page)) === text, 'text came after the stop');
  await page.click('#new-talk');
  await limit(page, 40);
  await send(page, 'Hi');
  await page.waitForSelector('.stats');
});
await check('the list of models opens one', async () => {
  await page.click('#open-models');
  ok((await page.locator('#models-dialog .item').count()) > 0, 'the list is empty');
  ok((await page.locator('#address, #file').count()) === 0, 'files of this machine are offered');
  await picture(page, 'models-1280');
  await page.keyboard.press('Escape');
});
await check('a text is continued', async () => {
  await page.click('#new-talk');
  await page.locator('.modes label').first().click();
  await send(page, 'Once upon a time');
  await page.waitForSelector('.stats');
  ok((await answer(page)).length > 10, 'there is no text');
});

const dark = await open(400, 'dark');
await check('reasoning is folded', async () => {
  await ready(dark);
  await tell(dark, [{ reasoning_content: 'First I think ' }, { reasoning_content: 'of a **list**.' }, { content: 'Here is a **short** answer with `code` and a [link](https://example.org):\n\n1. First\n2. Then <b>this</b>\n   * inner\n\n' }, { content: '```rust\nfn main() { println!("one long line that scrolls to the right, and on, and on"); }\n```\n\n| bits | perplexity |\n|---|---|\n| 4 | 58.7 |\n\n> Quoted, in a word. ![x](https://example.org/x.png)' }]);
  await send(dark, 'Think.');
  await dark.waitForSelector('.stats');
  const thought = dark.locator('.thought');
  ok(await thought.isVisible(), 'there is no reasoning');
  ok(!(await dark.locator('.thought-text').isVisible()), 'it is not folded');
  await picture(dark, 'chat-400-dark');
  await dark.click('.thought summary');
  ok((await dark.locator('.thought-text').innerText()) === 'First I think of a **list**.', 'it is another text');
  await picture(dark, 'reasoning-400-dark');
  await fits(dark);
});
await check('Markdown is elements, and nothing of it is HTML', async () => {
  const body = dark.locator('.passage.assistant .body');
  const count = (what) => body.locator(what).count();
  for (const [what, n] of [['strong', 1], ['p code', 1], ['a[rel~=noopener]', 1], ['ol > li', 2], ['li ul li', 1], ['pre', 1], ['td', 2], ['blockquote', 1], ['b', 0], ['img', 0]]) {
    ok((await count(what)) === n, `${what}: found ${await count(what)}, expected ${n}`);
  }
  const text = await body.innerText();
  ok(text.includes('<b>this</b>'), 'markup is not shown as it was written');
  ok(text.includes('x (https://example.org/x.png)'), 'an image is not its address');
});
await check('errors are told', async () => {
  await tell(dark, [], { status: 400, error: { message: "'temperature' is -1", type: 'invalid_request_error', param: 'temperature', code: null } });
  await send(dark, 'Fail.');
  await dark.waitForSelector('.notice.bad');
  ok((await dark.textContent('.notice.bad')).includes("'temperature' is -1"), 'the notice has another text');
  await picture(dark, 'error-400-dark');
  await fits(dark);
  await tell(dark, [], { status: 401, error: { message: 'there is no key', code: 'invalid_api_key' } });
  await send(dark, 'Fail.');
  await dark.waitForSelector('.notice[data-code=key]');
});
await check('a key is kept and sent', async () => {
  await dark.click('#open-settings');
  await dark.fill('#set-key', 'a-key');
  await dark.press('#set-key', 'Tab');
  await picture(dark, 'settings-400-dark');
  await dark.keyboard.press('Escape');
  await limit(dark, 20);
  const asked = dark.waitForRequest('**/v1/chat/completions');
  await send(dark, 'Hi');
  ok((await asked).headers().authorization === 'Bearer a-key', 'it is not sent');
  await dark.waitForSelector('#stop', { state: 'hidden' });
});
const light = await open(400);
await check('it fits 400 px in light colours, too', async () => {
  await ready(light);
  await picture(light, 'begin-400');
  await limit(light, 40);
  await send(light, 'Hi');
  await light.waitForSelector('.stats');
  await picture(light, 'answered-400');
  await fits(light);
});
await check('nothing failed unseen, and nobody else was asked', async () => {
  ok(said.length === 0, said.join('\n'));
});
await browser.close();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
