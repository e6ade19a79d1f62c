// The page's plain parts, without a browser: prompts, commands, numbers.

import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT, check, equal, ok } from './harness.mjs';
import * as talk from '../../../examples/web/src/js/talk.js';
import * as format from '../../../examples/web/src/js/format.js';

export default async function parts() {
  await check('passages are joined into one text, a new paragraph where no space is', () => {
    const text = talk.join([talk.passage('user', 'It was dark.'), talk.passage('assistant', ' He rose'), talk.passage('user', ' and went.'), talk.passage('assistant', ' Slowly.'), talk.passage('user', 'Then')]);
    equal(text, 'It was dark. He rose and went. Slowly.\n\nThen');
  });
  await check('messages for the template, oldest exchanges left out', () => {
    const all = [talk.passage('user', 'a'), talk.passage('assistant', 'b'), talk.passage('user', 'c')];
    equal(JSON.stringify(talk.messages(all, 's')), '[{"role":"system","content":"s"},{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"}]');
    equal(JSON.stringify(talk.messages(all, ' ', 1)), '[{"role":"user","content":"c"}]');
  });
  await check('variants take the next seeds, modulo 2^64', () => {
    equal(talk.seedOf(3, 0), 3n);
    equal(talk.seedOf(3, 2), 5n);
    equal(talk.seedOf(Number.MAX_SAFE_INTEGER, 1), 2n ** 53n);
  });
  await check('what a shell makes of the command is what was meant', () => {
    for (const text of ["it's", '$(touch x) `y` "z"', 'two\nlines', "-p '; rm -rf", '\\', '“quoted” — ünïcode']) {
      const run = { mode: 'continue', prompt: text, messages: null, sampling: { temperature: 0, topP: 1, seed: 3n, maxTokens: 5 }, context: 64, file: "a file's.gguf", result: null, left: 0 };
      const words = talk.command(run).replace('carat run', 'printf "%s\\0" run');
      const seen = execFileSync('sh', ['-c', words]).toString().split('\0').slice(0, -1);
      equal(JSON.stringify(seen), JSON.stringify(['run', "a file's.gguf", '-p', text, '--json', '-n', '5', '--temp', '0', '--top-p', '1', '--seed', '3', '--ctx', '64']));
    }
  });
  await check('sizes and times as people read them', () => {
    equal(format.bytes(3419904), '3.4 MB');
    equal(format.bytes(0), '0 bytes');
    equal(format.bytes(999_999), '1.0 MB');
    equal(format.bytes(1.07e9), '1.1 GB');
    equal(format.duration(73), '1 min 13 s');
    equal(format.duration(7290), '2 h 1 min');
    equal(format.many(5770496), '5.8 million');
    equal(format.milliseconds(999.6), '1000 ms');
    ok(format.quality(null) === null, 'no card is no quality');
  });
  await check('the page’s policy is strict, and its sources keep it', () => {
    const src = join(ROOT, 'examples/web/src');
    const html = readFileSync(join(src, 'index.html'), 'utf8');
    const policy = /http-equiv="Content-Security-Policy" content="([^"]+)"/.exec(html)[1];
    for (const part of ["default-src 'none'", "script-src 'self' 'wasm-unsafe-eval';", "style-src 'self'", "base-uri 'none'", "require-trusted-types-for 'script'"]) ok(policy.includes(part), `${part} is missing`);
    ok(!/unsafe-inline|'unsafe-eval'/.test(policy), policy);
    ok(!/<script(?![^>]* src=)|<style| style=| on[a-z]+=|(?:src|href)="(?:https?:)?\/\//.test(html), 'index.html has scripts or styles of its own, or loads from elsewhere');
    for (const file of readdirSync(join(src, 'js'))) {
      ok(['early.js', 'main.js'].includes(file) || html.includes(`"modulepreload" href="js/${file}"`), `js/${file} is not preloaded`);
      const bad = /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function/.exec(readFileSync(join(src, 'js', file), 'utf8'));
      ok(!bad, `${file}: ${bad}`);
    }
  });
}
