// Light and dark: the system's, or the one that was chosen here.

import { $ } from './dom.js';

const PLACE = 'carat.theme';
const system = matchMedia('(prefers-color-scheme: dark)');

/** 'light', 'dark', or 'system'. */
export const chosen = () => document.documentElement.dataset.theme ?? 'system';

const dark = () => (chosen() === 'system' ? system.matches : chosen() === 'dark');

/** Takes one of them and keeps it. */
export function choose(theme) {
  if (theme === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    if (theme === 'system') localStorage.removeItem(PLACE);
    else localStorage.setItem(PLACE, theme);
  } catch {
    // It holds until the page is closed.
  }
  label();
}

function label() {
  const text = dark() ? 'Light colours' : 'Dark colours';
  $('theme').setAttribute('aria-label', text);
  $('theme').title = text;
}

/** Wires the button of the bar, which takes the other one. */
export function start() {
  label();
  system.addEventListener('change', label);
  $('theme').addEventListener('click', () => choose(dark() ? 'light' : 'dark'));
}
