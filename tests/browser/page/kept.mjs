// What the page keeps and gives out: conversations, settings, files; answers that go on; models of a list. With a double in the
// package's place.

import { readFileSync } from 'node:fs';
import { browser, check, equal, ok, site } from './harness.mjs';
import { idle, opened, send } from './states.mjs';

const CODE = 'See:\n\n```js\nconst a = 1;\n\nb(a);\n```\n\nand\n\n```\nlast\n```';
const LONG = 'one two three four five six seven eight nine ten eleven twelve';

/** A document of the page's origin that runs nothing. */
const BLANK = '/blank';

const bodies = (page) => page.$$eval('.passage .body', (all) => all.map((e) => e.textContent.trim()));
const ready = (page) => page.waitForSelector('#device:not([hidden])');
const file = (name, text) => ({ name, mimeType: 'application/json', buffer: Buffer.from(text) });

/** The text of the file that a click saves. */
async function saved(page, click) {
  const [download] = await Promise.all([page.waitForEvent('download'), click()]);
  return { name: download.suggestedFilename(), text: readFileSync(await download.path(), 'utf8') };
}

export default async function kept() {
  const list = {
    models: [
      { name: 'Double', url: 'models/double.gguf', bytes: 3419904 },
      { huggingface: 'owner/some-repo/deep/model.gguf', bytes: 7e7, parameters: 1.35e8 },
      { name: 'Broken', url: 'ftp://x/y' },
    ],
  };
  let listed = null;
  const server = await site({
    double: true,
    before: (request, response) => {
      if (request.url === BLANK) {
        response.writeHead(200, { 'Content-Type': 'text/html' }).end('<!doctype html><link rel="icon" href="data:,">');
        return true;
      }
      if (!listed || new URL(request.url, 'http://x').pathname !== '/models.json') return false;
      response.writeHead(200, { 'Content-Type': 'application/json' }).end(listed);
      return true;
    },
  });
  const b = await browser({ acceptDownloads: true });
  const checked = (name, double, body, expect = []) =>
    check(name, async () => {
      const page = await opened(b, server.url, double);
      try {
        await body(page);
        const problems = b.problems.splice(0).filter((p) => !expect.some((e) => e.test(p)));
        equal(problems.join('\n'), '', 'errors of the page');
      } finally {
        // The page leaves first: what it still writes as it goes is deleted too, and nothing holds the database open.
        await page.goto(new URL(BLANK, server.url).href);
        await page.evaluate(
          () =>
            new Promise((resolve, reject) => {
              localStorage.clear();
              const gone = indexedDB.deleteDatabase('carat');
              gone.onsuccess = resolve;
              gone.onerror = () => reject(gone.error);
            }),
        );
        await page.close();
      }
    });

  await checked('a reload keeps the conversation, its mode, its figures, the model and the settings', { answer: LONG, pieceDelay: 0 }, async (page) => {
    await page.click('#open-models');
    await page.fill('#address', 'https://example.org/other.gguf');
    await page.press('#address', 'Enter');
    await page.waitForFunction(() => document.getElementById('model-name').textContent === 'other.gguf');
    await ready(page);
    await page.click('#open-settings');
    await page.fill('#set-topK', '7');
    await page.fill('#set-minP', '0.2');
    await page.fill('#set-stop', 'END\n\nSTOP');
    await page.keyboard.press('Escape');
    await page.check('input[value=chat]');
    await send(page, 'Hello');
    await page.waitForSelector('.stats');
    const before = [await bodies(page), await page.textContent('.stats'), await page.textContent('#command')];
    await page.evaluate((m) => localStorage.setItem('carat.model', m), 'https://elsewhere.example/x.gguf');
    await page.evaluate(() => (globalThis.double = null));
    await page.addInitScript(() => (globalThis.double.stored = [{ key: 'k', url: 'https://example.org/other.gguf', name: 'other.gguf', bytes: 5, complete: true, storedBytes: 5 }]));
    await page.reload();
    await ready(page);
    equal(await page.textContent('#model-name'), 'other.gguf', 'model of this tab');
    equal(JSON.stringify([await bodies(page), await page.textContent('.stats'), await page.textContent('#command')]), JSON.stringify(before), 'what is shown');
    ok(await page.isChecked('input[value=chat]'), 'the mode is another');
    await page.click('[data-action=again]');
    await page.waitForFunction(() => globalThis.seen.calls.length === 1);
    await idle(page);
    const { messages, options } = await page.evaluate(() => globalThis.seen.calls[0]);
    equal(JSON.stringify(messages), '[{"role":"user","content":"Hello"}]', 'messages');
    equal(JSON.stringify([options.topK, options.minP, options.stop, options.seed]), '[7,0.2,["END","STOP"],"4"]', 'settings');
    const other = await opened(b, server.url);
    equal(await other.locator('.passage').count(), 0, 'passages of a new tab');
    await other.close();
  });
  await checked('a reload in the middle of an answer keeps what came, and it goes on from there', { answer: LONG, pieceDelay: 150 }, async (page) => {
    await page.check('input[value=chat]');
    await send(page, 'Hello');
    await page.waitForFunction(() => document.querySelector('.passage.assistant .body')?.textContent.includes('three'));
    await page.waitForTimeout(450);
    await page.reload();
    await ready(page);
    await page.waitForSelector('[data-action=go-on]');
    equal(await page.textContent('.stats'), 'broken off');
    ok((await bodies(page))[1].startsWith('one two three'), 'what came is lost');
    await page.click('[data-action=go-on]');
    await page.waitForFunction((t) => document.querySelector('.passage.assistant .body').textContent.trim() === t, LONG);
    await page.waitForSelector('#hash');
    const { options } = await page.evaluate(() => globalThis.seen.calls[0]);
    ok(options.after.length >= 3 && options.maxTokens === undefined, JSON.stringify(options));
    equal(await page.locator('[data-action=go-on]').count(), 0, 'buttons to go on with what has ended');
  });
  await checked('a chat’s answer has no limit of its own; one that is set is said, and “Continue” goes on', { answer: LONG, pieceDelay: 0 }, async (page) => {
    await page.check('input[value=chat]');
    await send(page, 'Hello');
    await page.waitForSelector('.stats');
    equal((await bodies(page))[1], LONG);
    equal(await page.evaluate(() => globalThis.seen.calls[0].options.maxTokens), undefined, 'limit');
    ok((await page.textContent('#command')).includes('-n 12 '), 'the command has another length');
    await page.click('#open-settings');
    await page.fill('#set-maxTokens', '5');
    await page.keyboard.press('Escape');
    await page.click('[data-action=again]');
    await page.waitForSelector('[data-action=go-on]');
    ok((await page.textContent('.stats')).includes('longest answer reached'), await page.textContent('.stats'));
    ok((await page.textContent('#command')).includes('-n 5 '), 'the command has another length');
    for (const n of [10, 15]) {
      await page.click('[data-action=go-on]');
      await page.waitForFunction((n) => document.querySelector('.stats')?.textContent.startsWith(`${Math.min(n, 12)} tokens`), n);
      await idle(page);
      equal(await page.evaluate(() => globalThis.seen.calls.at(-1).options.maxTokens), n, 'limit');
    }
    equal((await bodies(page))[1], LONG, 'text');
    equal(await page.locator('[data-action=go-on]').count(), 0, 'buttons to go on with what has ended');
    equal(await page.locator('.passage').count(), 2, 'passages');
    // A text has no turns: a passage of it ends, and the field below goes on.
    await page.click('#new-talk');
    await page.click('#open-settings');
    await page.fill('#set-maxTokens', '');
    await page.keyboard.press('Escape');
    await page.check('input[value=continue]');
    await send(page, 'Once');
    await page.waitForSelector('.stats');
    ok((await page.evaluate(() => globalThis.seen.calls.at(-1).options.maxTokens)) > 0, 'no limit');
  });
  await checked('each setting is the package’s where it is empty, and shown', { pieceDelay: 0 }, async (page) => {
    await page.click('#open-settings');
    const wanted = { temperature: 0.7, topK: 33, topP: 0.9, minP: 0.01, repeatPenalty: 1.1, repeatLastN: 64, dryMultiplier: 0, dryBase: 1.5, dryAllowedLength: 20, seed: '3' };
    for (const [key, value] of Object.entries(wanted)) equal(await page.getAttribute(`#set-${key}`, 'placeholder'), String(value), key);
    equal(await page.getAttribute('#set-context', 'placeholder'), '1024', 'context');
    await page.keyboard.press('Escape');
    await send(page, 'x');
    await page.waitForSelector('.stats');
    const { options } = await page.evaluate(() => globalThis.seen.calls[0]);
    equal(Object.keys(options).filter((key) => key !== 'seed' && key in wanted).join(), '', 'what is set');
    const command = await page.textContent('#command');
    for (const flag of ['--temp 0.7', '--top-k 33', '--top-p 0.9', '--min-p 0.01', '--repeat-penalty 1.1', '--repeat-last-n 64', '--dry-multiplier 0', '--dry-base 1.5', '--dry-allowed-length 20', '--seed 3']) ok(command.includes(` ${flag}`), `${flag} is missing: ${command}`);
    await page.click('#open-settings');
    for (const [key, value] of Object.entries({ temperature: 0.1, topK: 1, topP: 0.2, minP: 0.3, repeatPenalty: 1.4, repeatLastN: 12, dryMultiplier: 0.5, dryBase: 2, dryAllowedLength: 9 })) {
      await page.fill(`#set-${key}`, String(value));
      await page.press(`#set-${key}`, 'Tab');
    }
    await page.fill('#set-temperature', '');
    await page.keyboard.press('Escape');
    await page.click('[data-action=again]');
    await page.waitForFunction(() => globalThis.seen.calls.length === 2);
    await idle(page);
    const second = await page.evaluate(() => globalThis.seen.calls[1].options);
    const numbers = Object.fromEntries(Object.entries(second).filter(([key]) => key !== 'seed' && key in wanted));
    equal(JSON.stringify(numbers), '{"topK":1,"topP":0.2,"minP":0.3,"repeatPenalty":1.4,"repeatLastN":12,"dryMultiplier":0.5,"dryBase":2,"dryAllowedLength":9}');
    ok((await page.textContent('#command')).includes('--temp 0.7 --top-k 1 '), await page.textContent('#command'));
  });
  await checked('conversations are listed, opened, exported, deleted and imported; an import twice adds nothing', { answer: LONG, pieceDelay: 0 }, async (page) => {
    for (const text of ['First <b>talk</b>', 'Second']) {
      await page.check('input[value=chat]');
      await send(page, text);
      await page.waitForSelector('.stats');
      await page.click('#new-talk');
    }
    const items = () => page.locator('#history-dialog .item strong').allTextContents();
    await page.click('#open-history');
    await page.waitForSelector('#history-dialog .item');
    equal(JSON.stringify(await items()), '["Second","First <b>talk</b>"]');
    const all = await saved(page, () => page.getByRole('button', { name: 'Export all' }).click());
    ok(/^carat-conversations-\d{4}-\d\d-\d\d\.json$/.test(all.name), all.name);
    const { format, version, conversations } = JSON.parse(all.text);
    equal(JSON.stringify([format, version, conversations.length]), '["carat-conversations",1,2]');
    const one = await saved(page, () => page.getByRole('button', { name: 'Export “Second”' }).click());
    equal(JSON.parse(one.text).conversations[0].passages[0].text, 'Second');
    await page.getByRole('button', { name: 'Open “First <b>talk</b>”' }).click();
    equal(JSON.stringify(await bodies(page)), JSON.stringify(['First <b>talk</b>', LONG]));
    equal(await page.textContent('#hash'), 'd0'.repeat(32), 'hash');
    await page.click('#open-history');
    await page.getByRole('button', { name: 'Delete “First <b>talk</b>”' }).click();
    equal(await page.evaluate(() => document.activeElement.textContent), 'Keep', 'focus');
    await page.getByRole('button', { name: 'Delete it' }).click();
    await page.waitForFunction(() => document.querySelectorAll('#history-dialog .item').length === 1);
    equal(await page.locator('.passage').count(), 0, 'passages of the one that is gone');
    for (const said of ['1 conversation imported, 1 here already.', '0 conversations imported, 2 here already.']) {
      await page.setInputFiles('#import', file(all.name, all.text));
      await page.waitForFunction((t) => document.querySelector('#history-dialog [role=status]')?.textContent === t, said);
    }
    equal((await items()).length, 2, 'conversations');
  });
  await checked('a hostile import is refused by name, and nothing of it is kept', { pieceDelay: 0 }, async (page) => {
    await page.click('#open-history');
    const good = { id: '00'.repeat(16), created: 1, updated: 1, mode: 'chat', model: null, passages: [{ role: 'user', text: '<img src=x onerror="globalThis.hacked=1">' }] };
    const all = (...conversations) => JSON.stringify({ format: 'carat-conversations', version: 1, conversations });
    for (const [text, said] of [
      ['GIF89a', 'evil.json: no JSON'],
      [all(good, { ...good, passages: 'all' }), 'evil.json: conversations[1].passages: found "all", expected a list'],
      [all({ ...good, onload: 'x' }), 'evil.json: conversations[0].onload: found "x", expected only'],
    ]) {
      await page.setInputFiles('#import', file('evil.json', text));
      await page.waitForFunction((t) => document.querySelector('#history-dialog .message')?.textContent.startsWith(t), said);
      equal(await page.getAttribute('#history-dialog .notice.bad', 'data-code'), 'import');
      equal(await page.locator('#history-dialog .item').count(), 0, 'conversations');
    }
    await page.setInputFiles('#import', file('odd.json', all(good)));
    await page.waitForSelector('#history-dialog .item');
    await page.getByRole('button', { name: /^Open/ }).click();
    equal((await bodies(page))[0], good.passages[0].text);
    equal(await page.evaluate(() => globalThis.hacked), undefined, 'what a script left');
  });
  await checked('two tabs of one conversation: neither overwrites the other', { answer: LONG, pieceDelay: 0 }, async (page) => {
    await page.check('input[value=chat]');
    await send(page, 'Shared');
    await page.waitForSelector('.stats');
    await page.waitForTimeout(600);
    const other = await opened(b, server.url, { answer: 'Other.', pieceDelay: 0 });
    await other.click('#open-history');
    await other.getByRole('button', { name: 'Open “Shared”' }).click();
    for (const [tab, text] of [[other, 'from the other'], [page, 'from this one']]) {
      await send(tab, text);
      await tab.waitForFunction(() => document.querySelectorAll('.stats').length === 2);
      await tab.waitForTimeout(600);
    }
    await page.click('#open-history');
    await page.waitForFunction(() => document.querySelectorAll('#history-dialog .item').length === 2);
    const all = JSON.parse((await saved(page, () => page.getByRole('button', { name: 'Export all' }).click())).text).conversations;
    equal(JSON.stringify(all.map((c) => c.passages[2].text).sort()), '["from the other","from this one"]');
    await other.close();
  });
  await checked('code has a button that copies it', { answer: CODE, pieceDelay: 0 }, async (page) => {
    await page.check('input[value=chat]');
    await send(page, 'x');
    await page.waitForSelector('.stats');
    equal(await page.locator('.copy-code').count(), 2, 'buttons');
    for (const [i, code] of ['const a = 1;\n\nb(a);', 'last'].entries()) {
      await page.locator('.copy-code').nth(i).click();
      await page.waitForFunction(() => document.getElementById('announce').textContent.startsWith('Copied.'));
      equal(await page.evaluate(() => navigator.clipboard.readText()), code, 'clipboard');
    }
  });
  await check('a file of this device is read, not downloaded', async () => {
    const page = await opened(b, server.url, { load: [{ phase: 'read', loaded: 3e6, total: 6e6, bytesPerSecond: 1e6, secondsLeft: 3, wait: 2500 }] }, false);
    await page.waitForFunction(() => document.querySelector('.loading')?.textContent.includes('Reading the file3.0 MB of 6.0 MB'));
    ok(!(await page.textContent('.loading')).includes('Download'), await page.textContent('.loading'));
    await page.close();
  });
  listed = JSON.stringify(list);
  await checked('a list that names a file on Hugging Face: its size is shown, it opens by its address; a bad entry is named', {}, async (page) => {
    equal(await page.getAttribute('.notice.bad', 'data-code'), 'catalogue');
    ok((await page.textContent('.notice.bad .message')).startsWith('models.json: models[2].url: found "ftp://x/y"'), await page.textContent('.notice.bad .message'));
    await page.click('#open-models');
    const text = await page.textContent('#models-dialog [aria-label="Offered here"]');
    for (const part of ['model.gguf', '70.0 MB', '135.0 million parameters', 'Hugging Face: owner/some-repo']) ok(text.includes(part), `${part} is not shown: ${text}`);
    await page.getByRole('button', { name: 'Open model.gguf' }).click();
    await page.waitForFunction(() => globalThis.seen.loads.at(-1).source === 'https://huggingface.co/owner/some-repo/resolve/main/deep/model.gguf');
    await ready(page);
    await page.click('#open-models');
    await page.fill('#address', 'me/mine/a.gguf');
    await page.press('#address', 'Enter');
    await page.waitForFunction(() => globalThis.seen.loads.at(-1).source === 'https://huggingface.co/me/mine/resolve/main/a.gguf');
  });
  listed = null;
  await b.close();
  server.close();
}
