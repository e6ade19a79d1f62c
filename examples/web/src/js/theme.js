// Light and dark: the system's, or the one that was chosen here.

import { $ } from './dom.js';

const system = matchMedia('(prefers-color-scheme: dark)');

const dark = () => (document.documentElement.dataset.theme ?? (system.matches ? 'dark' : 'light')) === 'dark';

function label() {
  const text = dark() ? 'Light colours' : 'Dark colours';
  $('theme').setAttribute('aria-label', text);
  $('theme').title = text;
}

export function start() {
  label();
  system.addEventListener('change', label);
  $('theme').addEventListener('click', () => {
    const next = dark() ? 'light' : 'dark';
    document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem('carat.theme', next);
    } catch {
      // It holds until the page is closed.
    }
    label();
  });
}
