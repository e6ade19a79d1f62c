// The settings: their ranges, where they are kept, and their dialog.

import { $, el, button, dialogHead, openDialog } from './dom.js';
import * as theme from './theme.js';

/** Every setting: its range is what the command line takes. */
const FIELDS = [
  { key: 'temperature', label: 'Temperature', min: 0, max: 2, step: 0.05, slider: true, help: '0 always takes the likeliest token; higher values surprise more.' },
  { key: 'topP', label: 'Top-p', min: 0, max: 1, step: 0.01, slider: true, help: 'Chooses among the likeliest tokens that together reach this share.' },
  { key: 'seed', label: 'Seed', min: 0, max: Number.MAX_SAFE_INTEGER, step: 1, help: 'One seed, one text. Another variant of an answer takes the next seed.' },
  { key: 'maxTokens', label: 'Longest answer', unit: 'tokens', min: 1, max: 32768, step: 1, help: 'An answer ends here at the latest.' },
  { key: 'context', label: 'Context', unit: 'positions', min: 64, max: 131072, step: 1, optional: true, help: 'How much text the model sees at once; empty: the model’s own, 4,096 at most. A change opens the model again.' },
];

export const DEFAULTS = { temperature: 0.8, topP: 0.95, seed: 3, maxTokens: 160, context: null, device: 'auto', system: '' };

const PLACE = 'carat.settings';

/** What is wrong with a number for a field, or null. An optional one may be null: as the model says. */
export function problem(field, value) {
  if (value === null && field.optional) return null;
  if (!Number.isFinite(value)) return 'Give a number.';
  if (value < field.min || value > field.max) return `Give a number from ${field.min} to ${field.max}.`;
  if (field.step === 1 && !Number.isInteger(value)) return 'Give a whole number.';
  return null;
}

/** The kept settings, each one only if it is in its range. */
export function read() {
  const settings = { ...DEFAULTS };
  let kept = {};
  try {
    kept = JSON.parse(localStorage.getItem(PLACE) ?? '{}') ?? {};
  } catch {
    // Unreadable or forbidden: the defaults hold.
  }
  for (const field of FIELDS) if (field.key in kept && !problem(field, kept[field.key])) settings[field.key] = kept[field.key];
  if (['auto', 'webgpu', 'cpu'].includes(kept.device)) settings.device = kept.device;
  if (typeof kept.system === 'string') settings.system = kept.system;
  return settings;
}

function keep(settings) {
  try {
    localStorage.setItem(PLACE, JSON.stringify(settings));
  } catch {
    // They hold until the page is closed.
  }
}

/** Opens the dialog; `changed(settings, key)` is told of each valid change at once. */
export function show(settings, info, changed) {
  const dialog = $('settings-dialog');
  const set = (key, value) => {
    settings[key] = value;
    keep(settings);
    changed(settings, key);
  };
  const rows = FIELDS.map((field) => row(field, settings, set));
  const device = select('device', 'Computes on', [['auto', 'Automatic'], ['webgpu', 'WebGPU'], ['cpu', 'CPU']], settings.device, (v) => set('device', v), 'The tokens are the same on each.');
  const colours = select('theme', 'Colours', [['system', 'As the system'], ['light', 'Light'], ['dark', 'Dark']], theme.chosen(), theme.choose, 'Of this page.');
  const system = el('textarea', { id: 'set-system', rows: 3, value: settings.system, 'aria-describedby': 'help-system', on: { input: (e) => set('system', e.target.value) } });
  dialog.replaceChildren(
    dialogHead(dialog, 'settings-title', 'Settings'),
    el(
      'div',
      { class: 'dialog-body settings' },
      ...rows,
      device,
      colours,
      el(
        'div',
        { class: 'field' },
        el('label', { htmlFor: 'set-system' }, 'System message'),
        system,
        el('p', { id: 'help-system', class: 'help' }, 'Put before a chat; not used to continue a text.'),
      ),
    ),
    el(
      'footer',
      { class: 'dialog-foot' },
      button('Back to the defaults', () => {
        const { device: oldDevice, context: oldContext } = settings;
        Object.assign(settings, DEFAULTS);
        keep(settings);
        changed(settings, oldDevice !== DEFAULTS.device ? 'device' : oldContext !== DEFAULTS.context ? 'context' : 'all');
        show(settings, info, changed);
        $('set-temperature').focus();
      }),
      button('Done', () => dialog.close(), { kind: 'primary' }),
    ),
  );
  if (info) dialog.querySelector('#help-context').append(` This model was made for ${info.contextLength.toLocaleString('en')}.`);
  openDialog(dialog);
}

function select(key, label, choices, value, chosen, help) {
  const field = el(
    'select',
    { id: `set-${key}`, 'aria-describedby': `help-${key}`, on: { change: (e) => chosen(e.target.value) } },
    ...choices.map(([of, text]) => el('option', { value: of }, text)),
  );
  field.value = value;
  return el('div', { class: 'field' }, el('label', { htmlFor: `set-${key}` }, label), field, el('p', { id: `help-${key}`, class: 'help' }, help));
}

function row(field, settings, set) {
  const id = `set-${field.key}`;
  const wrong = el('p', { id: `wrong-${field.key}`, class: 'wrong', role: 'alert' });
  const shared = { min: field.min, max: field.max, step: field.step, value: settings[field.key] ?? '' };
  const take = (value, from) => {
    const message = problem(field, value);
    wrong.textContent = message ?? '';
    number.setAttribute('aria-invalid', message ? 'true' : 'false');
    if (message) return;
    if (slider && from !== slider) slider.value = value;
    if (from !== number) number.value = value ?? '';
    set(field.key, value);
  };
  const number = el('input', {
    type: 'number',
    id,
    placeholder: field.optional ? 'automatic' : '',
    inputMode: field.step === 1 ? 'numeric' : 'decimal',
    'aria-describedby': `help-${field.key} wrong-${field.key}`,
    ...shared,
    // A context is taken when it is written out: each change opens the model again.
    on: { [field.key === 'context' ? 'change' : 'input']: () => take(number.value !== '' ? Number(number.value) : field.optional && !number.validity.badInput ? null : NaN, number) },
  });
  const slider = field.slider
    ? el('input', { type: 'range', 'aria-label': `${field.label}, slider`, ...shared, on: { input: () => take(Number(slider.value), slider) } })
    : null;
  return el(
    'div',
    { class: 'field' },
    el('label', { htmlFor: id }, field.label, field.unit ? el('span', { class: 'dim' }, `, ${field.unit}`) : null),
    el('div', { class: slider ? 'pair' : '' }, slider, number),
    el('p', { id: `help-${field.key}`, class: 'help' }, field.help),
    wrong,
  );
}
