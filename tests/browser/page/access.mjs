// Keyboard, screen reader, contrast: axe-core over the page's states, and what it cannot see.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { browser, check, equal, ok, site } from './harness.mjs';
import { idle, opened, openStorage, send } from './states.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const STORED = [{ key: 'k', url: 'https://example.org/a.gguf', name: 'Model A', bytes: 1e9, complete: false, storedBytes: 4e8 }];
const MARKDOWN = '# Title\n\nA **list** with `code` and a [link](https://example.org):\n\n1. one\n2. two\n\n```\nlong code\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n> quoted';

/** States of the page, each with what leads there. */
const STATES = {
  empty: [{}, async () => {}],
  'no WebGPU': [{ gpu: false }, async () => {}],
  answered: [{ pieceDelay: 0 }, async (page) => (await send(page, 'It was'), await page.waitForSelector('.stats'))],
  answering: [{ pieceDelay: 20, answer: 'word '.repeat(500) }, async (page) => (await send(page, 'It was'), await page.waitForTimeout(300))],
  chat: [{ pieceDelay: 0, answer: MARKDOWN }, async (page) => (await page.check('input[value=chat]'), await send(page, 'Hi'), await page.waitForSelector('.stats'))],
  edit: [{ pieceDelay: 0 }, async (page) => (await send(page, 'It was'), await page.waitForSelector('.stats'), await page.locator('[data-action=edit]').first().click())],
  settings: [{}, async (page) => (await page.click('#open-settings'), await page.fill('#set-seed', '-1'))],
  limit: [{ pieceDelay: 0, answer: MARKDOWN }, async (page) => {
    await page.check('input[value=chat]');
    await page.evaluate(() => localStorage.setItem('carat.settings', '{"maxTokens":9}'));
    await page.reload();
    await page.waitForSelector('#device:not([hidden])');
    await page.check('input[value=chat]');
    await send(page, 'Hi');
    await page.waitForSelector('[data-action=go-on]');
    await page.evaluate(() => localStorage.clear());
  }],
  conversations: [{ pieceDelay: 0 }, async (page) => {
    await send(page, 'It was a very long beginning of a text, far longer than the name of a conversation may be, so that it is cut');
    await page.waitForSelector('.stats');
    await page.click('#open-history');
    await page.waitForSelector('#history-dialog .item');
    await page.setInputFiles('#import', { name: 'x.json', mimeType: 'application/json', buffer: Buffer.from('{}') });
    await page.waitForSelector('#history-dialog .notice.bad');
  }],
  models: [{ stored: STORED }, async (page) => (await page.click('#open-models'), await page.waitForSelector('#models-dialog [aria-label="Stored on this device"] li'))],
  storage: [{ stored: STORED }, async (page) => (await openStorage(page), await page.getByRole('button', { name: 'Delete Model A' }).click())],
  error: [{ failAnswer: { code: 'memory', message: 'no memory' } }, async (page) => (await send(page, 'It was'), await page.waitForSelector('.notice.bad'))],
  same: [{ pieceDelay: 0 }, async (page, width) => (await send(page, 'It was'), await page.waitForSelector('.stats'), width < 1000 && (await page.click('#open-same')), await page.fill('#other-hash', 'd0'.repeat(32)))],
};

export default async function access() {
  const server = await site({ double: true });
  for (const width of [390, 1280]) {
    for (const colorScheme of ['light', 'dark']) {
      const b = await browser({ viewport: { width, height: 844 }, colorScheme, reducedMotion: 'reduce' });
      for (const [name, [double, act]] of Object.entries(STATES)) {
        await check(`axe-core: ${name}, ${width} px, ${colorScheme}`, async () => {
          const page = await opened(b, server.url, double);
          await act(page, width);
          await page.evaluate(axe);
          const { violations, passes } = await page.evaluate(() => globalThis.axe.run());
          ok(passes.length > 15, `only ${passes.length} rules applied`);
          equal(violations.flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.target} ${n.failureSummary.replaceAll('\n', ' ')}`)).join('\n'), '', 'violations');
          const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
          ok(wide <= 0, `${wide} px wider than the screen`);
          await page.close();
        });
      }
      await b.close();
    }
  }

  const b = await browser();
  await check('by keyboard alone: skip, write, stop, regenerate, edit, settings, delete', async () => {
    const page = await opened(b, server.url, { answer: 'word '.repeat(200), pieceDelay: 5, stored: STORED });
    const focus = () => page.evaluate(() => ({ id: document.activeElement.id, name: document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent.trim(), outlined: getComputedStyle(document.activeElement).outlineStyle !== 'none' || document.activeElement.matches('#prompt, input[type=radio]') }));
    const to = async (wanted, key = 'Tab') => {
      for (let i = 0; i < 60; i += 1) {
        const now = await focus();
        if (now.id === wanted || now.name === wanted) return ok(now.outlined, `the focus on ${wanted} cannot be seen`);
        await page.keyboard.press(key);
      }
      throw new Error(`${key} does not lead to ${wanted}`);
    };
    await page.keyboard.press('Tab');
    equal((await focus()).name, 'Skip to the message field');
    await page.keyboard.press('Enter');
    equal((await focus()).id, 'prompt');
    await page.keyboard.type('It was');
    await page.keyboard.press('Enter');
    // An answer that is stopped before its first word leaves nothing to regenerate.
    await page.waitForFunction(() => document.querySelector('.passage.assistant .body')?.textContent.includes('word'));
    await to('stop');
    await page.keyboard.press('Enter');
    await idle(page);
    equal((await focus()).id, 'send', 'focus after stop');
    await to('Regenerate', 'Shift+Tab');
    await page.keyboard.press('Enter');
    equal((await focus()).id, 'stop', 'focus while it regenerates');
    await page.waitForFunction(() => document.querySelectorAll('.stats').length === 1);
    await page.waitForFunction(() => document.activeElement.dataset.action === 'again');
    await to('Edit', 'Shift+Tab');
    await page.keyboard.press('Enter');
    equal((await focus()).name, 'Edit: Continuation');
    await page.keyboard.press('Escape');
    equal((await focus()).name, 'Edit', 'focus after leaving the field');
    await to('open-settings', 'Shift+Tab');
    await page.keyboard.press('Enter');
    await to('set-seed');
    await page.keyboard.press('Escape');
    equal((await focus()).id, 'open-settings', 'focus after the settings');
    await to('open-storage', 'Shift+Tab');
    await page.keyboard.press('Enter');
    await to('Delete Model A');
    await page.keyboard.press('Enter');
    equal((await focus()).name, 'Keep');
    await to('Delete 400 MB', 'Shift+Tab');
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => globalThis.seen.removed.length === 1);
    await page.waitForFunction(() => document.activeElement.id === 'storage-title');
    await page.close();
  });
  await check('the live region speaks twice an answer, not once a token', async () => {
    const page = await opened(b, server.url, { answer: 'word '.repeat(200), pieceDelay: 2 });
    await page.evaluate(() => {
      globalThis.said = [];
      new MutationObserver(() => said.push(document.getElementById('announce').textContent)).observe(document.getElementById('announce'), { childList: true });
    });
    await send(page, 'It was');
    await page.waitForSelector('.stats');
    const said = await page.evaluate(() => globalThis.said);
    equal(said.length, 2, 'sentences');
    ok(said[1].includes('word word') && said[1].includes('tokens'), `said: ${said[1].slice(0, 80)}`);
    const live = await page.$$eval('[aria-live], [role=status], [role=alert], [role=log]', (all) => all.map((e) => e.closest('#talk') !== null));
    ok(!live.includes(true), 'a live region is in the conversation');
    await page.close();
  });
  await check('the theme follows the system, then the button, and is kept', async () => {
    const page = await opened(b, server.url);
    const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    await page.emulateMedia({ colorScheme: 'light' });
    const light = await paper();
    await page.emulateMedia({ colorScheme: 'dark' });
    const dark = await paper();
    ok(light !== dark, 'the system’s choice changes nothing');
    await page.click('#theme');
    equal(await paper(), light, 'after the button');
    await page.reload();
    equal(await paper(), light, 'after a reload');
    await page.close();
  });
  await b.close();
  server.close();
}
