// The settings: their ranges, where they are kept, and their dialog.

import { $, el, button, dialogHead, openDialog } from './dom.js';
import { FIELDS as SAMPLING, PASSAGE, fields as known } from './sampling.js';
import { served } from './served.js';
import * as theme from './theme.js';

/** Numbers beside those of sampling. An empty one is what the model or the page says. */
const MORE = [
  { key: 'seed', label: 'Seed', min: 0, max: Number.MAX_SAFE_INTEGER, step: 1, help: 'One seed, one text. Another variant of an answer takes the next seed.' },
  { key: 'maxTokens', label: 'Longest answer', unit: 'tokens', min: 1, max: 1_000_000, step: 1, help: `An answer that reaches it can be continued; empty: a chat’s to the end of the turn, a text’s by ${PASSAGE}.` },
  { key: 'context', label: 'Context', unit: 'positions', min: 64, max: 131072, step: 1, help: 'How much text the model sees at once; empty: the model’s own, or as much as is usual. A change opens the model again.' },
];
const FIELDS = [...SAMPLING, ...MORE];
/** Settings that are texts. */
const TEXTS = ['system', 'stop'];
const DEVICES = ['auto', 'webgpu', 'cpu'];

export const DEFAULTS = { ...Object.fromEntries(FIELDS.map((f) => [f.key, null])), device: 'auto', system: '', stop: '' };

const PLACE = 'carat.settings';

/** What is wrong with a number for a field, or null; null itself is as the model says. */
export function problem(field, value) {
  if (value === null) return null;
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
  if (DEVICES.includes(kept.device)) settings.device = kept.device;
  for (const key of TEXTS) if (typeof kept[key] === 'string') settings[key] = kept[key];
  return settings;
}

/** Keeps them for the next time. */
export function keep(settings) {
  try {
    localStorage.setItem(PLACE, JSON.stringify(settings));
  } catch {
    // They hold until the page is closed.
  }
}

/** What a field is where it is empty, as far as that is known. */
function standard(field, info) {
  return info?.sampling[field.key] ?? (field.key === 'context' ? info?.context : null) ?? null;
}

/** Opens the dialog; `changed(settings, key)` is told of each valid change at once. `chosen`: what “Automatic” took, or null. */
export function show(settings, info, changed, chosen = null) {
  const dialog = $('settings-dialog');
  const set = (key, value) => {
    settings[key] = value;
    keep(settings);
    changed(settings, key);
  };
  const rows = (fields) => fields.map((field) => row(field, settings, set, info));
  const area = (key, label, help) =>
    el(
      'div',
      { class: 'field' },
      el('label', { htmlFor: `set-${key}` }, label),
      el('textarea', { id: `set-${key}`, rows: 2, value: settings[key], 'aria-describedby': `help-${key}`, on: { input: (e) => set(key, e.target.value) } }),
      el('p', { id: `help-${key}`, class: 'help' }, help),
    );
  const group = (id, title, ...fields) => el('section', { class: 'settings', 'aria-labelledby': id }, el('h3', { id }, title), ...fields);
  const device = select('device', 'Computes on', [['auto', 'Automatic'], ['webgpu', 'WebGPU'], ['cpu', 'CPU']], settings.device, (v) => set('device', v), chosen ?? 'Automatic takes the faster one. The tokens are the same on each.');
  const colours = select('theme', 'Colours', [['system', 'As the system'], ['light', 'Light'], ['dark', 'Dark']], theme.chosen(), theme.choose, 'Of this page.');
  dialog.replaceChildren(
    dialogHead(dialog, 'settings-title', 'Settings'),
    el(
      'div',
      { class: 'dialog-body' },
      group('settings-sampling', 'How tokens are chosen', el('p', { class: 'help wide' }, 'An empty field is what the model’s file says, or else what Carat takes.'), ...rows(known(info)), ...rows(MORE.slice(0, 1))),
      group('settings-answers', 'Answers', ...rows(MORE.slice(1).filter((f) => !served || f.key !== 'context')), area('stop', 'Stop texts', 'An answer ends before one of them; one a line.'), area('system', 'System message', 'Put before a chat; not used to continue a text.')),
      served ? group('settings-page', 'This page', keyField(changed, settings), colours) : group('settings-page', 'This device', device, colours),
    ),
    el(
      'footer',
      { class: 'dialog-foot' },
      button('Back to the defaults', () => {
        const { device: oldDevice, context: oldContext } = settings;
        Object.assign(settings, DEFAULTS);
        keep(settings);
        changed(settings, oldDevice !== DEFAULTS.device ? 'device' : oldContext !== DEFAULTS.context ? 'context' : 'all');
        show(settings, info, changed, chosen);
        $('set-temperature').focus();
      }),
      button('Done', () => dialog.close(), { kind: 'primary' }),
    ),
  );
  if (info && !served) dialog.querySelector('#help-context').append(` This model was made for ${info.contextLength.toLocaleString('en')}.`);
  openDialog(dialog);
}

/** The key of the server; it is kept in this browser. */
function keyField(changed, settings) {
  const field = el('input', {
    type: 'password',
    id: 'set-key',
    autocomplete: 'off',
    value: served.key(),
    'aria-describedby': 'help-key',
    on: { change: () => (served.setKey(field.value.trim()), changed(settings, 'key')) },
  });
  return el('div', { class: 'field' }, el('label', { htmlFor: 'set-key' }, 'Key of the server'), field, el('p', { id: 'help-key', class: 'help' }, 'If the server asks for one. It is kept in this browser.'));
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

function row(field, settings, set, info) {
  const id = `set-${field.key}`;
  const wrong = el('p', { id: `wrong-${field.key}`, class: 'wrong', role: 'alert' });
  const own = standard(field, info);
  const shared = { min: field.min, max: field.max, step: field.step };
  const take = (value, from) => {
    const message = problem(field, value);
    wrong.textContent = message ?? '';
    number.setAttribute('aria-invalid', message ? 'true' : 'false');
    if (message) return;
    if (slider && from !== slider) slider.value = value ?? own ?? field.min;
    if (from !== number) number.value = value ?? '';
    set(field.key, value);
  };
  const number = el('input', {
    type: 'number',
    id,
    placeholder: own === null ? 'automatic' : String(own),
    inputMode: field.step === 1 ? 'numeric' : 'decimal',
    'aria-describedby': `help-${field.key} wrong-${field.key}`,
    ...shared,
    value: settings[field.key] ?? '',
    // A context is taken when it is written out: each change opens the model again.
    on: { [field.key === 'context' ? 'change' : 'input']: () => take(number.value !== '' ? Number(number.value) : number.validity.badInput ? NaN : null, number) },
  });
  const slider = field.slider
    ? el('input', { type: 'range', 'aria-label': `${field.label}, slider`, ...shared, value: settings[field.key] ?? own ?? field.min, on: { input: () => take(Number(slider.value), slider) } })
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
