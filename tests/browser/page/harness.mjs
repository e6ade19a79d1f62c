// What the page's tests share: the browser, the server, checks that are counted.

import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { serve } from '../../../examples/web/serve.mjs';

export const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
export const DIST = process.env.CARAT_PAGE ?? join(ROOT, 'examples/web/dist');
export const MODEL = join(DIST, 'models/facet-6m-4bit.gguf');
const HERE = fileURLToPath(new URL('.', import.meta.url));
const CHROMIUM = process.env.CARAT_CHROMIUM ?? '/usr/bin/chromium';

const COMMON = ['--no-sandbox', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run', '--no-default-browser-check', '--disable-default-apps', '--disable-domain-reliability', '--disable-extensions'];
/** SwiftShader behind WebGPU, or no WebGPU at all. */
export const GPU = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'];
export const NO_GPU = ['--disable-features=WebGPU', '--disable-gpu'];

let passed = 0;
let failed = 0;

/** One check, one line. What it throws is why it failed. */
export async function check(name, body) {
  const start = performance.now();
  try {
    await body();
    passed += 1;
    console.log(`ok    ${name} (${Math.round(performance.now() - start)} ms)`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL  ${name}\n      ${String(error?.stack ?? error).replaceAll('\n', '\n      ')}`);
  }
}

export function equal(found, expected, what = 'value') {
  if (found !== expected) throw new Error(`${what}: found ${JSON.stringify(found)}, expected ${JSON.stringify(expected)}`);
}

export function ok(condition, what) {
  if (!condition) throw new Error(what);
}

/** The closing line; the exit status of the whole. */
export function close() {
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

export const absent = () => [
  [CHROMIUM, 'apt-get install chromium'],
  [join(DIST, 'index.html'), 'examples/web/build.sh'],
].filter(([path]) => !existsSync(path));

/** The page's server; with `double` its package is the tests' own. */
export const site = ({ double = false, before } = {}) => serve(double ? [HERE, DIST] : [DIST], 0, (request, response) => {
  if (before?.(request, response)) return true;
  if (double && request.url.startsWith('/carat-web/')) request.url = request.url.replace('/carat-web/', '/double/');
  return false;
});

/** A browser with a profile of its own. Errors of the page are kept in `problems`. */
export async function browser({ flags = GPU, ...context } = {}) {
  const profile = mkdtempSync(join(tmpdir(), 'carat-page-'));
  const opened = await chromium.launchPersistentContext(profile, {
    executablePath: CHROMIUM,
    headless: true,
    args: [...COMMON, ...flags],
    ignoreDefaultArgs: ['--enable-unsafe-swiftshader', '--disable-extensions'],
    chromiumSandbox: false,
    viewport: { width: 1280, height: 800 },
    permissions: ['clipboard-read', 'clipboard-write'],
    ...context,
  });
  // A machine that builds beside the tests is slow; what hangs still fails.
  opened.setDefaultTimeout(Number(process.env.CARAT_TIMEOUT ?? 120_000));
  const problems = [];
  opened.on('weberror', (e) => problems.push(`error: ${e.error().stack}`));
  opened.on('console', (m) => m.type() === 'error' && problems.push(`console: ${m.text()}`));
  return {
    problems,
    context: opened,
    page: opened.pages()[0] ?? (await opened.newPage()),
    close: async () => {
      await opened.close();
      rmSync(profile, { recursive: true, force: true });
    },
  };
}
