// The page's plain parts, without a browser: prompts, commands, numbers.

import { deepStrictEqual } from 'node:assert';
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT, check, equal, ok } from './harness.mjs';
import * as talk from '../../../runtime/server/page/js/talk.js';
import * as sampling from '../../../runtime/server/page/js/sampling.js';
import * as catalogue from '../../../runtime/server/page/js/catalogue.js';
import * as exchange from '../../../runtime/server/page/js/exchange.js';
import * as record from '../../../runtime/server/page/js/record.js';
import * as format from '../../../runtime/server/page/js/format.js';

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
    equal(sampling.seedOf(3, 0), 3n);
    equal(sampling.seedOf(3, 2), 5n);
    equal(sampling.seedOf(Number.MAX_SAFE_INTEGER, 1), 2n ** 53n);
  });
  await check('what a shell makes of the command is what was meant', () => {
    for (const text of ["it's", '$(touch x) `y` "z"', 'two\nlines', "-p '; rm -rf", '\\', '“quoted” — ünïcode']) {
      const run = { mode: 'continue', prompt: text, messages: null, sampling: { temperature: 0, topP: 1, seed: 3n, maxTokens: 5, stop: [text] }, context: 64, model: { file: "a file's.gguf" }, result: null, left: 0 };
      const words = talk.command(run).replace('carat run', 'printf "%s\\0" run');
      const seen = execFileSync('sh', ['-c', words]).toString().split('\0').slice(0, -1);
      equal(JSON.stringify(seen), JSON.stringify(['run', "a file's.gguf", '-p', text, '--json', '-n', '5', '--temp', '0', '--top-p', '1', '--seed', '3', '--stop', text, '--ctx', '64']));
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
    const src = join(ROOT, 'runtime/server/page');
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
  await check('a conversation that was kept is the same again, prompts and all', () => {
    const answered = (more) => ({ ...JSON.parse(JSON.stringify(RUN)), ...more });
    const passages = [
      { role: 'user', text: 'one' },
      { role: 'assistant', text: 'two', variant: 1, run: answered({ system: 'Be short.' }) },
      { role: 'user', text: 'three' },
      { role: 'assistant', text: 'four', variant: 0, run: answered({ left: 1 }) },
    ];
    const back = record.read(passages);
    equal(JSON.stringify(back[1].run.messages), '[{"role":"system","content":"Be short."},{"role":"user","content":"one"}]');
    equal(JSON.stringify(back[3].run.messages), '[{"role":"user","content":"three"}]');
    equal(back[1].run.sampling.seed, 2n ** 64n - 1n);
    deepStrictEqual(record.write(back), passages);
    const text = exchange.write([conversation({ passages })]);
    deepStrictEqual(exchange.read(`\ufeff${text}`, 'a.json'), [conversation({ passages })]);
  });
  await check('a file to import is refused by name: place, found, expected', () => {
    const wrong = [
      ['junk', /^x\.json: no JSON/],
      ['[]', /^x\.json: found a list of 0, expected an object$/],
      ['{}', /^x\.json: format: found nothing, expected a value$/],
      [file({ format: 'other' }), /format: found "other", expected "carat-conversations"/],
      [file({ version: 2 }), /version: found 2, expected at most 1; a newer page wrote it/],
      [file({ version: '1' }), /version: found "1", expected 1/],
      [file({ more: 1 }), /^x\.json: more: found 1, expected only format, version, conversations there$/],
      [file().replace('"format"', '"__proto__": {"a": 1}, "format"'), /__proto__: found an object/],
      [of({ id: '../x' }), /conversations\[0\]\.id: found "\.\.\/x", expected an id/],
      [of({ updated: -1 }), /updated: found -1, expected a whole number from 0/],
      [of({ mode: 'shell' }), /mode: found "shell", expected "chat" or "continue"/],
      [of({ passages: [{ role: 'system', text: '' }] }), /passages\[0\]\.role: found "system"/],
      [of({ passages: [{ role: 'user', text: 5 }] }), /passages\[0\]\.text: found 5, expected a text/],
      [of({ passages: [{ role: 'user', text: 'x'.repeat(5 << 20) }] }), /text: found 5242880 characters, expected at most/],
      [of({ passages: Array(100_001).fill(0) }), /passages: found 100001 entries, expected at most 100000/],
      [withRun((r) => (r.sampling.temperature = '0; rm -rf ~')), /run\.sampling\.temperature: found "0; rm -rf ~", expected a number/],
      [withRun((r) => (r.sampling.seed = '1 --json')), /seed: found "1 --json"/],
      [withRun((r) => (r.sampling.maxTokens = 1.5)), /maxTokens: found 1\.5, expected a whole number/],
      [withRun((r) => (r.context = '64')), /context: found "64"/],
      [withRun((r) => (r.result.logitsHash = '<b>')), /logitsHash: found "<b>"/],
      [withRun((r) => (r.result.device = 'tpu')), /device: found "tpu"/],
      [withRun((r) => (r.ids = [-1])), /ids\[0\]: found -1/],
      [withRun((r) => delete r.model.file), /model\.file: found nothing/],
      ['['.repeat(100_000), /^x\.json: no JSON/],
    ];
    for (const [text, message] of wrong) {
      let said = 'it was taken';
      try {
        exchange.read(text, 'x.json');
      } catch (error) {
        said = error.message;
        equal(error.code, 'import', `code of ${said}`);
      }
      ok(message.test(said), `${said}; expected ${message}`);
    }
    equal(exchange.read(file(), 'x.json').length, 1);
  });
  await check('an imported conversation’s command runs nothing of its own', () => {
    const evil = "'; touch x; '$(touch x)`touch x`";
    const [{ passages }] = exchange.read(withRun((r) => ((r.model.file = evil), (r.sampling.stop = [evil]), (r.mode = 'continue')), evil), 'x.json');
    const { run } = record.read(passages)[1];
    const seen = execFileSync('sh', ['-c', talk.command(run).replace('carat run', 'printf "%s\\0" run')]).toString().split('\0');
    equal(JSON.stringify([seen[1], seen[3], seen[seen.indexOf('--stop') + 1]]), JSON.stringify([evil, evil, evil]));
  });
  await check('a list of models: addresses, Hugging Face, and entries that are refused by name', () => {
    const base = 'https://host.example/page/';
    const read = (...models) => catalogue.read(JSON.stringify({ models }), base);
    const { models, wrong } = read(
      { name: 'Here', url: 'models/a.gguf' },
      { name: 'There', url: 'https://other.example/b.gguf?x=1' },
      { huggingface: 'owner/some-repo/deep/c d.gguf', bytes: 7e7 },
      { huggingface: 'owner/repo/e.gguf', revision: 'v1.0', name: 'E', bytes: 1 },
    );
    equal(wrong.join(), '');
    equal(JSON.stringify(models.map((m) => [m.name, m.source, m.bytes])), JSON.stringify([
      ['Here', 'https://host.example/page/models/a.gguf', undefined],
      ['There', 'https://other.example/b.gguf?x=1', undefined],
      ['c d.gguf', 'https://huggingface.co/owner/some-repo/resolve/main/deep/c%20d.gguf', 7e7],
      ['E', 'https://huggingface.co/owner/repo/resolve/v1.0/e.gguf', 1],
    ]));
    const refused = [
      [{ name: 'J', url: 'javascript:alert(1)' }, /models\[0\]\.url: found "javascript:alert\(1\)", expected an address/],
      [{ name: 'D', url: 'data:,x' }, /url: found "data:,x"/],
      [{ huggingface: 'owner/repo', bytes: 1 }, /huggingface: found "owner\/repo", expected owner\/repository\/file/],
      [{ huggingface: 'owner/../x/y.gguf', bytes: 1 }, /huggingface: found/],
      [{ huggingface: 'owner/repo/../../x', bytes: 1 }, /huggingface: found/],
      [{ huggingface: 'owner/repo/a.gguf' }, /bytes: found nothing/],
      [{ huggingface: 'owner/repo/a.gguf', bytes: 1, revision: 'a/../..' }, /revision: found/],
      [{ name: 'X', url: 'a.gguf', colour: 'red' }, /models\[0\]\.colour: found "red", expected only/],
      [{ name: 'X', url: 'a.gguf', starters: 'one' }, /starters: found "one", expected a list/],
      [7, /models\[0\]: found 7, expected an object/],
    ];
    for (const [entry, message] of refused) {
      const { models, wrong } = read(entry, { name: 'Good', url: 'good.gguf' });
      ok(wrong.length === 1 && message.test(wrong[0]), `${wrong}; expected ${message}`);
      equal(models.length, 1, 'models that are left');
    }
    for (const text of ['<!doctype html>', '[]', '{"models":{}}']) equal(catalogue.read(text, base).wrong.length, 1, text);
  });
  await check('the build names what is missing before it compiles', () => {
    const { status, out } = build({ tools: [] });
    ok(status !== 0, 'it goes on');
    for (const what of ['cargo', 'rustc', 'node', 'npm', 'rustup.rs', 'apt-get install']) ok(out.includes(what), `${what} is not named: ${out}`);
    const target = build({ tools: ['cargo', 'rustc', 'node', 'npm'], libdir: '/nowhere' });
    ok(target.status !== 0 && target.out.includes('rustup target add wasm32-unknown-unknown'), target.out);
    equal(target.ran.join(), '', 'what ran all the same');
  });
  await check('the build keeps to CARGO_TARGET_DIR', () => {
    const { status, out, made } = build({ tools: ['cargo', 'rustc', 'node', 'npm', 'wasm-bindgen'], libdir: '/', target: 'elsewhere' });
    equal(status, 0, out);
    ok(made.includes('elsewhere/web-tools') && !made.includes('target'), `there is: ${made}`);
    ok(made.includes('runtime/web/npm/dist/carat_web_bg.wasm'), `there is: ${made}`);
  });
}

const RUN = {
  mode: 'chat',
  context: null,
  model: { name: 'm', file: 'm.gguf', address: null },
  system: '',
  left: 0,
  sampling: { temperature: 0.5, maxTokens: 5, stop: [], seed: '18446744073709551615' },
  ids: [1, 2, 3, 4, 5],
  result: { reason: 'length', logitsHash: 'ab'.repeat(32), promptTokens: 3, generatedTokens: 5, msToFirstToken: 1, tokensPerSecond: 2, device: 'cpu' },
};
const conversation = (more = {}) => ({ id: '0f'.repeat(16), created: 1, updated: 2, mode: 'chat', model: null, passages: [], ...more });
const file = (more = {}, ...all) => JSON.stringify({ format: 'carat-conversations', version: 1, conversations: all.length ? all : [conversation()], ...more });
const of = (more) => file({}, conversation(more));

/** A file whose one answer's run was changed. */
function withRun(change, text = 'a') {
  const run = JSON.parse(JSON.stringify(RUN));
  change(run);
  return of({ passages: [{ role: 'user', text }, { role: 'assistant', text: 'b', run }] });
}

/** Runs a copy of the package's build script with no other tools than the ones named, which are doubles. */
function build({ tools, libdir = '/', target }) {
  const root = mkdtempSync(join(tmpdir(), 'carat-build-'));
  try {
    for (const path of ['runtime/web', 'bin']) mkdirSync(join(root, path), { recursive: true });
    for (const path of ['runtime/web/build.sh', 'Cargo.lock']) copyFileSync(join(ROOT, path), join(root, path));
    const version = /name = "wasm-bindgen"\nversion = "([^"]+)"/.exec(readFileSync(join(ROOT, 'Cargo.lock'), 'utf8'))[1];
    const doubles = {
      cargo: 'echo "$@" >>ran; t=${CARGO_TARGET_DIR:-target}/wasm32-unknown-unknown/web; mkdir -p $t; echo wasm >$t/carat_web.wasm',
      rustc: `echo ${libdir}`,
      node: 'exit 0',
      npm: 'while [ "$1" != --prefix ]; do shift; done; mkdir -p $2/node_modules/.bin; o=$2/node_modules/.bin/wasm-opt; printf \'#!/bin/sh\\nwhile [ "$1" != -o ]; do shift; done; echo opt >$2\\n\' >$o; chmod +x $o',
      'wasm-bindgen': `if [ "$1" = --version ]; then echo "wasm-bindgen ${version}"; exit; fi; while [ "$1" != --out-name ]; do shift; done; mkdir -p $4; [ -f $5 ] && echo bound >$4/$2_bg.wasm`,
    };
    for (const tool of tools) writeFileSync(join(root, 'bin', tool), `#!/bin/sh\n${doubles[tool]}\n`, { mode: 0o755 });
    for (const tool of ['bash', 'sh', 'dirname', 'grep', 'sed', 'mkdir', 'mv', 'chmod']) symlinkSync(execFileSync('sh', ['-c', `command -v ${tool}`]).toString().trim(), join(root, 'bin', tool));
    const env = { PATH: join(root, 'bin'), ...(target ? { CARGO_TARGET_DIR: target } : {}) };
    const { status, stdout, stderr } = spawnSync(join(root, 'bin/bash'), [join(root, 'runtime/web/build.sh')], { cwd: tmpdir(), env, encoding: 'utf8' });
    const ran = existsSync(join(root, 'ran')) ? readFileSync(join(root, 'ran'), 'utf8').split('\n') : [];
    return { status, out: stdout + stderr, ran, made: readdirSync(root, { recursive: true }) };
  } finally {
    rmSync(root, { recursive: true });
  }
}
