// What the page does, with a double in the package's place: answers, failures, devices and files as they are wanted.

import { browser, check, equal, ok, site } from './harness.mjs';

const HOSTILE = [
  'before <img src=x onerror="globalThis.hacked=1"> after',
  '<script>globalThis.hacked=2</script>',
  '[click](javascript:globalThis.hacked=3) [data](data:text/html,x) [fine](https://example.org/)',
  '![picture](https://example.org/seen.png)',
  '<a href="javascript:globalThis.hacked=4">a</a><svg onload="globalThis.hacked=5"></svg><iframe srcdoc="x"></iframe>',
  '<form action="https://example.org"><input name="q"></form><style>body{display:none}</style>',
  '**bold** `code`\n\n| a |\n|---|\n| <b onclick=globalThis.hacked=6>b</b> |',
].join('\n\n');

/** A page with a double that does as it is wished. */
export async function opened(b, url, double = {}, ready = true) {
  const page = await b.context.newPage();
  await page.addInitScript((d) => (globalThis.double = d), double);
  await page.goto(url);
  if (ready) await page.waitForSelector('#device:not([hidden])');
  return page;
}

export const idle = (page) => page.waitForSelector('#stop', { state: 'hidden' });
/** A narrow bar has no button for it. */
export const openStorage = async (page) => {
  const wide = await page.isVisible('#open-storage');
  await page.click(wide ? '#open-storage' : '#open-models');
  if (!wide) await page.click('#manage');
};
export const send = async (page, text) => {
  await page.fill('#prompt', text);
  await page.press('#prompt', 'Enter');
};

export default async function states() {
  const server = await site({ double: true });
  const b = await browser();
  const checked = (name, double, body) =>
    check(name, async () => {
      const page = await opened(b, server.url, double);
      try {
        await body(page);
        equal(b.problems.splice(0).join('\n'), '', 'errors of the page');
      } finally {
        await page.close();
      }
    });

  await checked('an answer of markup is shown as text and does nothing', { answer: HOSTILE, pieceDelay: 0 }, async (page) => {
    const asked = [];
    page.on('request', (r) => asked.push(r.url()));
    await page.check('input[value=chat]');
    await send(page, 'hello');
    await idle(page);
    await page.waitForTimeout(200);
    equal(await page.evaluate(() => globalThis.hacked), undefined, 'what a script left');
    const found = await page.$$eval('.passage.assistant .body *', (all) => all.flatMap((e) => [e.localName, ...e.getAttributeNames().filter((n) => n.startsWith('on'))]));
    for (const bad of ['img', 'script', 'svg', 'iframe', 'form', 'input', 'style', 'onerror', 'onload', 'onclick']) ok(!found.includes(bad), `${bad} is in the answer`);
    const links = await page.$$eval('.passage.assistant .body a', (all) => all.map((a) => [a.getAttribute('href'), a.rel, a.target]));
    equal(JSON.stringify(links.filter(([href]) => href)), '[["https://example.org/","noopener noreferrer nofollow","_blank"]]', 'links');
    const text = await page.textContent('.passage.assistant .body');
    ok(text.includes('<img src=x onerror="globalThis.hacked=1">'), 'the markup is not shown as it was written');
    ok(found.includes('strong') && found.includes('td'), 'Markdown is not rendered');
    equal(JSON.stringify(asked), '[]', 'requests');
  });
  await checked('Markdown that grows ends as the whole rendered at once', { pieceDelay: 0, answer: '### T\n\n##### U\n\n- a\n- b\n\n```\nx\n```\n\nsee [r]\n\n[r]: https://example.org/r\n\nlast *word*' }, async (page) => {
    await page.check('input[value=chat]');
    await send(page, 'x');
    await idle(page);
    const html = () => page.$eval('.passage.assistant .body', (e) => e.innerHTML);
    const grown = await html();
    // Another mode and back renders it anew.
    await page.check('input[value=continue]');
    await page.check('input[value=chat]');
    equal(await html(), grown, 'markup');
    ok(grown.includes('href="https://example.org/r"'), 'the reference is no link');
  });
  await checked('stop keeps what came, and the command makes as much again', { answer: 'word '.repeat(400), pieceDelay: 10 }, async (page) => {
    await send(page, 'Go on');
    await page.waitForFunction(() => document.querySelector('.passage.assistant .body')?.textContent.length > 20);
    await page.click('#stop');
    await idle(page);
    const n = (await page.textContent('.stats')).match(/^(\d+) tokens?/)[1];
    ok(Number(n) > 0 && Number(n) < 400, `${n} tokens`);
    ok((await page.textContent('#command')).includes(`-n ${n} `), 'the command has another length');
    ok((await page.textContent('.stats')).includes('stopped'), 'it does not say so');
  });
  await checked('who reads the end goes on seeing it, who reads elsewhere is left there', { answer: 'word '.repeat(600), pieceDelay: 10 }, async (page) => {
    await page.setViewportSize({ width: 390, height: 700 });
    await send(page, 'Go on');
    await page.waitForSelector('.stats');
    // It follows with the next frame.
    await page.waitForFunction(() => document.scrollingElement.scrollHeight - innerHeight - scrollY < 3);
    await page.click('[data-action=again]');
    // Far more than what still counts as the end.
    await page.waitForFunction(() => document.scrollingElement.scrollHeight - innerHeight > 200);
    await page.evaluate(() => scrollTo(0, 0));
    await page.waitForFunction(() => document.activeElement.dataset.action === 'again');
    equal(await page.evaluate(() => scrollY), 0, 'scroll position');
  });
  await checked('Escape stops too', { answer: 'word '.repeat(400), pieceDelay: 10 }, async (page) => {
    await send(page, 'Go on');
    await page.waitForSelector('#stop:not([hidden])');
    await page.keyboard.press('Escape');
    await idle(page);
    equal(await page.evaluate(() => document.activeElement.id), 'prompt', 'focus');
  });
  await checked('regenerate takes the next seed; an edit starts from the first again', { pieceDelay: 0 }, async (page) => {
    await send(page, 'First');
    await idle(page);
    await page.click('[data-action=again]');
    await idle(page);
    await page.click('.passage.user [data-action=edit]');
    await page.fill('.editor', 'Second');
    await page.click('.edit .primary');
    await page.waitForFunction(() => globalThis.seen.calls.length === 3);
    await idle(page);
    const calls = await page.evaluate(() => globalThis.seen.calls.map((c) => [c.prompt, c.options.seed]));
    equal(JSON.stringify(calls), '[["First","3"],["First","4"],["Second","3"]]');
    equal(await page.locator('.passage').count(), 2, 'passages');
  });
  await checked('an edit while it answers ends that answer and drops what comes after', { answer: 'word '.repeat(50), pieceDelay: 10 }, async (page) => {
    await page.check('input[value=chat]');
    await send(page, 'one');
    await page.waitForFunction(() => document.querySelector('.passage.assistant .body')?.textContent.length > 20);
    await page.click('.passage.user [data-action=edit]');
    await page.fill('.editor', 'two');
    await page.keyboard.press('Control+Enter');
    await page.waitForFunction(() => globalThis.seen.calls.length === 2);
    await idle(page);
    equal(JSON.stringify(await page.evaluate(() => globalThis.seen.calls[1].messages)), '[{"role":"user","content":"two"}]');
    equal(await page.locator('.passage').count(), 2, 'passages');
  });
  await checked('a download says how much, how fast, how long; Cancel ends it', { load: [{ phase: 'download', loaded: 12e7, total: 107e7, bytesPerSecond: 13e6, secondsLeft: 73, wait: 300 }, { phase: 'download', loaded: 2e8, total: 107e7, wait: 300 }] }, async () => {
    const page = await opened(b, server.url, { load: [{ phase: 'download', loaded: 12e7, total: 107e7, bytesPerSecond: 13e6, secondsLeft: 73, wait: 1500 }] }, false);
    await page.waitForFunction(() => document.querySelector('.loading')?.textContent.includes('120 MB of 1.1 GB · 13.0 MB/s · 1 min 13 s left'));
    await page.getByRole('button', { name: 'Cancel' }).click();
    await page.waitForSelector('.loading', { state: 'detached' });
    equal(await page.locator('.notice.bad').count(), 0, 'errors shown');
    equal(await page.textContent('#model-name'), 'no model');
    await page.close();
  });
  await checked('what is sent before the model is there waits for it', { load: [{ phase: 'download', loaded: 1, total: 2, wait: 400 }] }, async () => {
    const page = await opened(b, server.url, { load: [{ phase: 'download', loaded: 1, total: 2, wait: 400 }] }, false);
    await send(page, 'Early');
    await page.waitForSelector('.stats');
    equal(await page.evaluate(() => globalThis.seen.calls[0].prompt), 'Early');
    await page.close();
  });
  await checked('without WebGPU the page says so', { gpu: false }, async (page) => {
    ok((await page.textContent('.device-note')).includes('no WebGPU'), 'it says nothing');
    equal(await page.textContent('#device'), 'CPU');
  });
  await checked('the CPU answers while WebGPU is prepared; a lost device is named', { device: 'cpu' }, async (page) => {
    equal(await page.locator('.device-note').count(), 0, 'notices');
    const change = (device, why) => page.evaluate(([d, w]) => ((carat.device = d), carat.onDevice(d, w, 'moved')), [device, why]);
    await change('webgpu', 'the kernels are ready');
    equal(await page.textContent('#device'), 'WebGPU');
    ok((await page.textContent('#announce')).includes('the kernels are ready'), 'not announced');
    await change('cpu', 'the device was lost');
    await page.waitForSelector('.device-note');
    ok((await page.textContent('.device-note')).includes('the device was lost'), 'the reason is missing');
  });
  await checked('a GPU that is slower is named, and the CPU goes on; the settings say so, and the other one can be taken', { device: 'cpu' }, async (page) => {
    await page.evaluate(() => carat.onDevice('cpu', 'WebGPU takes 70.0 ms', 'kept'));
    await page.waitForSelector('.device-note');
    ok((await page.textContent('.device-note')).includes('the faster device here (WebGPU takes 70.0 ms)'), await page.textContent('.device-note'));
    equal(await page.textContent('#device'), 'CPU');
    await page.click('#open-settings');
    ok((await page.textContent('#help-device')).includes('Automatic chose the CPU: WebGPU takes 70.0 ms.'), await page.textContent('#help-device'));
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: 'Always use WebGPU' }).click();
    await page.waitForFunction(() => globalThis.seen.loads.at(-1).device === 'webgpu');
    equal(JSON.parse(await page.evaluate(() => localStorage.getItem('carat.settings'))).device, 'webgpu', 'what is kept');
    await page.evaluate(() => localStorage.clear());
  });
  await checked('the hash moves with the answer', { answer: 'word '.repeat(40), pieceDelay: 20 }, async (page) => {
    await send(page, 'Go on');
    await page.waitForSelector('#live-hash');
    const early = await page.textContent('#live-hash');
    await page.waitForFunction((h) => document.getElementById('live-hash')?.textContent !== h, early);
    ok(/^\d+ tokens? so far$/.test(await page.textContent('#live-over')), await page.textContent('#live-over'));
    await idle(page);
    equal(await page.locator('#live-hash').count(), 0, 'hashes under way');
    equal(await page.textContent('#hash'), 'd0'.repeat(32), 'hash at the end');
  });
  await checked('an answer that fails leaves the hash of the one before', { pieceDelay: 0 }, async (page) => {
    await send(page, 'One');
    await page.waitForSelector('#hash');
    await page.evaluate(() => {
      const { generate } = carat;
      carat.generate = (...args) => {
        const generation = generate.apply(carat, args);
        const error = Object.assign(new Error('broken off'), { code: 'internal' });
        async function* some() {
          yield { text: 'a', id: 1, logitsHash: 'ab'.repeat(32) };
          throw error;
        }
        return Object.assign(some(), { result: generation.result.then(() => Promise.reject(error)) });
      };
    });
    await send(page, 'Two');
    await page.waitForSelector('.notice.bad');
    equal(await page.textContent('#hash'), 'd0'.repeat(32), 'hash');
  });
  for (const code of ['network', 'hash', 'format', 'webgpu', 'device-lost', 'memory', 'context', 'parameter', 'unopened', 'template', 'storage', 'internal']) {
    await checked(`an error '${code}' is shown with what to try, and tried again`, { failAnswer: { code, message: `what ${code} is <b>`, once: true } }, async (page) => {
      await send(page, 'Hello');
      await page.waitForSelector('.notice.bad');
      equal(await page.getAttribute('.notice.bad', 'data-code'), code);
      ok((await page.textContent('.notice.bad .message')) === `what ${code} is <b>`, 'another message');
      equal(await page.locator('.passage').count(), 1, 'passages');
      await page.getByRole('button', { name: 'Try again' }).click();
      await page.waitForSelector('.stats');
      equal(await page.locator('.notice.bad').count(), 0, 'notices after it went well');
    });
  }
  await checked('a model that fails to open leaves the one before', { failLoad: { for: 'bad.gguf', code: 'format', message: 'bad.gguf: magic: found "junk", expected "GGUF"' } }, async (page) => {
    await page.click('#open-models');
    await page.setInputFiles('#file', { name: 'bad.gguf', mimeType: 'application/octet-stream', buffer: Buffer.from('junk') });
    await page.waitForSelector('.notice.bad[data-code=format]');
    await page.waitForSelector('#device:not([hidden])');
    equal(await page.textContent('#model-name'), 'facet-6m');
    await send(page, 'Still there?');
    await page.waitForSelector('.stats');
  });
  await checked('a first model that fails to open is named once; what waits for it is answered after another try', {}, async () => {
    const page = await opened(b, server.url, { load: [{ phase: 'download', loaded: 1, total: 2, wait: 1500 }], failLoad: { code: 'network', message: 'HTTP 503', once: true } }, false);
    await page.check('input[value=chat]');
    await send(page, 'Early');
    await page.waitForSelector('.notice.bad[data-code=network]');
    await idle(page);
    equal(await page.locator('.notice.bad').count(), 1, 'notices');
    equal(await page.textContent('.passage.user .body'), 'Early');
    await page.getByRole('button', { name: 'Try again' }).click();
    await page.waitForSelector('#device:not([hidden])');
    await page.check('input[value=chat]');
    await page.press('#prompt', 'Enter');
    await page.waitForSelector('.stats');
    equal(await page.evaluate(() => globalThis.seen.calls[0].messages[0].content), 'Early');
    await page.click('#open-settings');
    await page.fill('#set-context', '300');
    await page.getByRole('button', { name: 'Done' }).click();
    await page.waitForFunction(() => globalThis.seen.closed === 1);
    await page.waitForSelector('#device:not([hidden])');
    ok(await page.isChecked('input[value=chat]'), 'the mode that was chosen is lost with the context');
    await page.evaluate(() => localStorage.clear());
    await page.close();
  });
  await checked('a chat without room for its oldest messages goes on without them', { pieceDelay: 0 }, async (page) => {
    await page.check('input[value=chat]');
    await send(page, 'one');
    await page.waitForSelector('.stats');
    await page.evaluate(() => {
      const { chat } = carat;
      carat.chat = (messages, options) => {
        if (messages.length < 2) return chat.call(carat, messages, options);
        const error = Object.assign(new Error('too long'), { code: 'context' });
        const result = Promise.reject(error);
        return { result, [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(error) }) };
      };
    });
    await send(page, 'two');
    await page.waitForFunction(() => document.querySelectorAll('.stats').length === 2);
    equal(JSON.stringify(await page.evaluate(() => globalThis.seen.calls.at(-1).messages)), '[{"role":"user","content":"two"}]');
    ok((await page.textContent('#same')).includes('oldest messages'), 'it is not said');
  });
  await checked('a model without a template only continues', { template: false }, async (page) => {
    ok(await page.isHidden('#modes'), 'the choice is shown');
    await send(page, 'Once');
    await page.waitForSelector('.stats');
    equal(await page.evaluate(() => globalThis.seen.calls[0].prompt), 'Once');
  });
  await checked('settings are checked, kept, and used', {}, async (page) => {
    await page.click('#open-settings');
    await page.fill('#set-temperature', '9');
    equal(await page.textContent('#wrong-temperature'), 'Give a number from 0 to 2.');
    await page.fill('#set-temperature', '0.3');
    await page.fill('#set-seed', '77');
    await page.fill('#set-maxTokens', '5');
    await page.fill('#set-context', '512');
    await page.press('#set-context', 'Tab');
    await page.getByRole('button', { name: 'Done' }).click();
    await page.waitForFunction(() => globalThis.seen.loads.length === 2);
    await page.waitForSelector('#device:not([hidden])');
    await send(page, 'x');
    await page.waitForSelector('.stats');
    const { options, context } = await page.evaluate(() => ({ options: globalThis.seen.calls[0].options, context: globalThis.seen.loads[1].context }));
    equal(JSON.stringify([options.temperature, options.seed, options.maxTokens, context]), '[0.3,"77",5,512]');
    await page.reload();
    await page.click('#open-settings');
    equal(await page.inputValue('#set-seed'), '77', 'seed after a reload');
    await page.getByRole('button', { name: 'Back to the defaults' }).click();
    equal(await page.inputValue('#set-seed'), '', 'seed after going back');
    equal(await page.getAttribute('#set-seed', 'placeholder'), '3', 'the package’s seed');
  });
  await checked('stored models are listed, deleted after a question, and opened', { stored: [{ key: 'k1', url: 'https://example.org/a.gguf', name: 'Model A', bytes: 1e9, complete: true, storedBytes: 1e9 }, { key: 'k2', url: null, name: 'Model B', bytes: 2e8, complete: false, storedBytes: 1e8 }] }, async (page) => {
    await page.click('#open-storage');
    await page.waitForSelector('#storage-dialog .item');
    ok((await page.textContent('#storage-dialog')).includes('100 MB of 200 MB, not whole yet'), 'the part is not named');
    await page.getByRole('button', { name: 'Delete Model B' }).click();
    equal(await page.evaluate(() => document.activeElement.textContent), 'Keep', 'focus');
    await page.getByRole('button', { name: 'Delete 100 MB' }).click();
    await page.waitForFunction(() => document.querySelectorAll('#storage-dialog .item').length === 1);
    equal(JSON.stringify(await page.evaluate(() => globalThis.seen.removed)), '["k2"]');
    equal(await page.evaluate(() => document.activeElement.getAttribute('aria-label')), 'Delete Model A', 'focus');
    await page.keyboard.press('Escape');
    equal(await page.evaluate(() => document.activeElement.id), 'open-storage', 'focus');
    await page.click('#open-models');
    await page.getByRole('button', { name: 'Open Model A' }).click();
    await page.waitForFunction(() => globalThis.seen.loads.at(-1).source === 'https://example.org/a.gguf');
  });
  await checked('a dropped file is opened', {}, async (page) => {
    const drop = async (kind) => page.evaluate((kind) => {
      const data = new DataTransfer();
      data.items.add(new File(['GGUF'], 'dropped.gguf'));
      dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
    }, kind);
    await drop('dragenter');
    ok(await page.isVisible('#drop'), 'nothing says that it may be dropped');
    await drop('drop');
    await page.waitForFunction(() => document.getElementById('model-name').textContent === 'dropped.gguf');
    ok(await page.isHidden('#drop'), 'the sign stays');
  });
  await checked('an address that is none is refused, with the focus on it', {}, async (page) => {
    await page.click('#open-models');
    await page.fill('#address', 'javascript:alert(1)');
    await page.press('#address', 'Enter');
    ok((await page.textContent('#address-wrong')).includes('https://'), 'nothing is said');
    equal(await page.evaluate(() => document.activeElement.id), 'address', 'focus');
    equal(await page.evaluate(() => globalThis.seen.loads.length), 1, 'loads');
  });
  await checked('a hash of another machine is compared, as JSON too', {}, async (page) => {
    await send(page, 'x');
    await page.waitForSelector('#other-hash');
    await page.fill('#other-hash', `{"ids":[1],"logits_hash":"${'d0'.repeat(32)}"}`);
    ok((await page.textContent('.verdict.good')).startsWith('Equal'), 'not equal');
    await page.fill('#other-hash', 'd1'.repeat(32));
    ok((await page.textContent('.verdict.different')).startsWith('Different'), 'not different');
  });
  await b.close();
  server.close();
}
