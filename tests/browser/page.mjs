// The page's tests: node tests/browser/page.mjs. One line a check, a closing line, a status of 1 if any failed.
//
// CARAT_PAGE names a directory that examples/web/build.sh wrote; without it that script runs first, and its CARAT_PACKAGE
// holds here too.
// CARAT_REQUIRE_DRIVERS=1 fails where Chromium is absent.

import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const run = (program, args, cwd) => execFileSync(program, args, { cwd, stdio: ['ignore', 2, 2] });

const chromium = process.env.CARAT_CHROMIUM ?? '/usr/bin/chromium';
if (!existsSync(chromium)) {
  console.log(`ABSENT: ${chromium}: the page is not tested. sudo apt-get install chromium`);
  process.exit(process.env.CARAT_REQUIRE_DRIVERS === '1' ? 1 : 0);
}
if (!existsSync(at('page/node_modules/playwright-core'))) run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--silent'], at('page'));
if (!process.env.CARAT_PAGE) run('bash', [at('../../examples/web/build.sh')], at('../..'));

const { close } = await import('./page/harness.mjs');
for (const suite of ['parts', 'states', 'kept', 'access', 'whole']) {
  const only = process.argv.slice(2);
  if (only.length > 0 && !only.includes(suite)) continue;
  await (await import(`./page/${suite}.mjs`)).default();
}
process.exit(close());
