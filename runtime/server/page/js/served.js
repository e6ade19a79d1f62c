// Whether a server computes, which gave this page with a package of its own (runtime/server/page). Null where this page does.

import * as carat from '../carat-web/index.js';
import { $ } from './dom.js';

/** @type {{ models(): Promise<object[]>, key(): string, setKey(text: string): void } | null} */
export const served = carat.served ?? null;

/** Says and shows only what holds where a server computes. */
export function prepare() {
  if (!served) return;
  $('empty-title').textContent = 'A language model, on this server';
  $('empty-text').textContent =
    'It computes in whole numbers only. One file, one prompt and one seed give the same tokens on every machine, to the bit. ' +
    'What you write goes to this server and nowhere else; conversations are kept in this browser.';
  $('open-storage').hidden = true;
}
