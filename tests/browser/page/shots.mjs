// Pictures of the page's states with the double, to be looked at: node shots.mjs [DIRECTORY].

import { mkdirSync } from 'node:fs';
import { browser, site } from './harness.mjs';
import { openStorage, send } from './states.mjs';

const out = process.argv[2] ?? new URL('shots', import.meta.url).pathname;
mkdirSync(out, { recursive: true });
const server = await site({ double: true });
const PROSE = ' The countess had gone in, and, with a look of surprise, came to the side of her master, and listened, and said, “I am going to hear that you have been talking to the king, that the count was in the house.”\n\nThe countess listened with a smile, and the man looked very pale, and then, turning to the window and looking at the house, he saw that there was no';
const MARKDOWN = 'Here is a **short** answer with `code`, a [link](https://example.org) and a list:\n\n1. First, the thing itself\n2. Then what follows from it\n\n```rust\nfn main() {\n    println!("integers only, on every device, and one long line that scrolls to the right");\n}\n```\n\n| bits | perplexity |\n|---|---|\n| 4 | 58.68 |\n| 2 | 80.50 |\n\n> Quoted, in a word.';
const STORED = [
  { key: 'a', url: 'https://example.org/models/qwen3-1.7b-4bit.gguf', name: 'Qwen3 1.7B', bytes: 1.07e9, complete: true, storedBytes: 1.07e9 },
  { key: 'b', url: 'https://example.org/models/smollm2-360m-3bit.gguf', name: 'SmolLM2 360M Instruct', bytes: 1.6e8, complete: false, storedBytes: 7.2e7 },
];
const STATES = {
  empty: [{}, async () => {}],
  loading: [{ load: [{ phase: 'download', loaded: 1.2e8, total: 1.07e9, bytesPerSecond: 1.3e7, secondsLeft: 73, wait: 60000 }] }, async (page) => page.waitForTimeout(700)],
  answering: [{ answer: PROSE, pieceDelay: 20 }, async (page) => (await page.locator('.starter').first().click(), page.waitForTimeout(600))],
  answered: [{ answer: PROSE, pieceDelay: 1, gpu: false }, async (page) => (await page.locator('.starter').first().click(), page.waitForSelector('#stop', { state: 'hidden' }))],
  chat: [{ answer: MARKDOWN, pieceDelay: 1 }, async (page) => {
    await page.check('input[value=chat]');
    await page.fill('#prompt', 'What does one file, one prompt and one seed give?');
    await page.keyboard.press('Enter');
    await page.waitForSelector('#stop', { state: 'hidden' });
    await page.locator('[data-action=edit]').first().focus();
  }],
  edit: [{ answer: PROSE, pieceDelay: 1 }, async (page) => (await page.locator('.starter').first().click(), await page.waitForSelector('#stop', { state: 'hidden' }), await page.locator('[data-action=edit]').first().click())],
  settings: [{}, async (page) => page.click('#open-settings')],
  models: [{ stored: STORED }, async (page) => page.click('#open-models')],
  storage: [{ stored: STORED }, async (page) => (await openStorage(page), page.getByRole('button', { name: 'Delete Qwen3 1.7B' }).click())],
  limit: [{ answer: MARKDOWN, pieceDelay: 1 }, async (page) => {
    await page.click('#open-settings');
    await page.fill('#set-maxTokens', '12');
    await page.keyboard.press('Escape');
    await page.check('input[value=chat]');
    await send(page, 'What does one seed give?');
    await page.waitForSelector('[data-action=go-on]');
  }],
  conversations: [{ answer: PROSE, pieceDelay: 1 }, async (page) => {
    for (const text of ['It was late in the evening when the stranger came to the door of the inn, and nobody knew him.', 'Short']) {
      await send(page, text);
      await page.waitForSelector('.stats');
      if (text !== 'Short') await page.click('#new-talk');
    }
    await page.click('#open-history');
    await page.waitForSelector('#history-dialog .item');
  }],
  slow: [{ answer: PROSE, pieceDelay: 1, device: 'cpu' }, async (page) => (await page.evaluate(() => carat.onDevice('cpu', 'WebGPU takes 770.1 ms for a token here, the CPU 52.9', 'kept')), page.waitForSelector('.device-note'))],
  error: [{ failAnswer: { code: 'network', message: 'https://example.org/models/qwen3.gguf: HTTP 404, expected 200 or 206' } }, async (page) => (await page.locator('.starter').first().click(), page.waitForSelector('.notice.bad'))],
  same: [{ answer: PROSE, pieceDelay: 1 }, async (page, width) => {
    await page.locator('.starter').first().click();
    await page.waitForSelector('#stop', { state: 'hidden' });
    if (width < 1000) await page.click('#open-same');
    await page.fill('#other-hash', 'd0'.repeat(32));
  }],
};
const only = process.argv[3]?.split(',');
for (const width of [390, 1280]) {
  for (const colorScheme of ['light', 'dark']) {
    const b = await browser({ viewport: { width, height: width === 390 ? 844 : 800 }, colorScheme });
    for (const [name, [double, act]] of Object.entries(STATES)) {
      if (only && !only.includes(name)) continue;
      const page = await b.context.newPage();
      await page.addInitScript((d) => (globalThis.double = d), double);
      await page.goto(server.url);
      if (name !== 'loading') await page.waitForSelector('#device:not([hidden])');
      await act(page, width);
      await page.waitForTimeout(150);
      await page.screenshot({ path: `${out}/${name}-${width}-${colorScheme}.png` });
      await page.close();
    }
    if (b.problems.length > 0) console.log([...new Set(b.problems)].join('\n'));
    await b.close();
  }
}
server.close();
