// One polite live region for the whole page: short sentences, never a token at a time.

import { $ } from './dom.js';

let last = '';

/** Says a sentence to a screen reader. The same one twice is said twice. */
export function announce(text) {
  // A region that does not change is not read.
  last = text === last ? `${text}\u00a0` : text;
  $('announce').textContent = last;
}
