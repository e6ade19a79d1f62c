// Choosing a model: those listed beside the page, those stored, an address, a file.

import { $, el, button, dialogHead, openDialog } from './dom.js';
import { bytes, many, quality } from './format.js';
import { address as addressOf, fileName } from './address.js';
import { fromAddress, fromFile, storage } from './engine.js';
import { served } from './served.js';

/** Size and quality in a line. */
function facts(model) {
  const parts = [];
  if (model.parameters) parts.push(`${many(model.parameters)} parameters`);
  if (model.bytes) parts.push(bytes(model.bytes));
  const card = quality(model.card);
  if (card) parts.push(card.short);
  return parts.join(' · ');
}

/** Stored models that are not listed; none where storage is forbidden. One that was a file opens by its key. */
export async function stored(known) {
  try {
    const all = await storage.list();
    // The rest of a file that was not whole can only come from an address.
    const open = all.filter((m) => (m.url ? !known.some((k) => k.source === m.url) : m.complete));
    return open.map(({ key, url, name, bytes, complete, storedBytes }) => ({
      ...(url ? fromAddress(url) : { source: key, file: name || 'model.gguf' }),
      name: name || fileName(url ?? key),
      bytes,
      complete,
      storedBytes,
    }));
  } catch {
    return [];
  }
}

/** Opens the dialog; `choose(choice)` is told what was picked, `manage()` opens the list of what is stored. */
export async function show(models, engine, choose, manage) {
  const dialog = $('models-dialog');
  const pick = (choice) => {
    dialog.close();
    choose(choice);
  };
  const address = el('input', { id: 'address', required: true, placeholder: 'https://…/model.gguf', autocomplete: 'url', spellcheck: false, 'aria-describedby': 'address-help address-wrong', inputMode: 'url' });
  const wrong = el('p', { id: 'address-wrong', class: 'wrong', role: 'alert' });
  const file = el('input', { type: 'file', id: 'file', accept: '.gguf,.carat', class: 'file', on: { change: () => file.files[0] && pick(fromFile(file.files[0])) } });
  const byAddress = el(
    'form',
    {
      class: 'field',
      noValidate: true,
      on: {
        submit: (e) => {
          e.preventDefault();
          const found = addressOf(address.value.trim());
          if (found !== null) return pick(fromAddress(found));
          wrong.textContent = 'Give an address that begins with https:// (or http:// on this machine), or owner/repository/file of Hugging Face.';
          address.setAttribute('aria-invalid', 'true');
          address.focus();
        },
      },
    },
    el('label', { htmlFor: 'address' }, 'From an address'),
    el('div', { class: 'pair tail' }, address, el('button', { class: 'button', type: 'submit' }, 'Open')),
    el('p', { id: 'address-help', class: 'help' }, 'Or a file on Hugging Face as owner/repository/file.gguf.'),
    wrong,
  );
  const local = el('ul', { class: 'list', 'aria-label': 'Stored on this device' });
  dialog.replaceChildren(
    dialogHead(dialog, 'models-title', 'Models'),
    el(
      'div',
      { class: 'dialog-body' },
      engine.info && !served ? opened(engine) : null,
      el('ul', { class: 'list', 'aria-label': 'Offered here' }, ...models.map((m) => item(m, engine, pick))),
      // What a server computes is its own.
      ...(served
        ? []
        : [
            local,
            byAddress,
            el('div', { class: 'field' }, el('label', { htmlFor: 'file' }, 'From a file'), file, el('p', { class: 'help' }, 'Or drop one anywhere on the page. It is read here and sent nowhere.')),
            el('div', { class: 'actions' }, button('Stored models', () => (dialog.close(), manage()), { id: 'manage' })),
          ]),
    ),
  );
  openDialog(dialog);
  local.append(...(await stored(models)).map((m) => item(m, engine, pick)));
}

function item(model, engine, pick) {
  const current = engine.choice !== null && engine.address === model.source;
  const part = model.complete === false ? ` · ${bytes(model.storedBytes)} here so far` : '';
  return el(
    'li',
    { class: 'item', 'aria-current': current ? 'true' : null },
    el('div', { class: 'item-text' }, el('strong', {}, model.name), el('span', { class: 'dim' }, facts(model) + part), model.from ? el('span', { class: 'help' }, model.from) : null, model.note ? el('span', { class: 'help' }, model.note) : null),
    current ? el('span', { class: 'chip' }, 'Open') : button('Open', () => pick(model), { 'aria-label': `Open ${model.name}` }),
  );
}

/** What the file that is open says of itself. */
function opened({ info, choice }) {
  const card = quality(info.card);
  return el(
    'section',
    { class: 'opened', 'aria-labelledby': 'opened-title' },
    el('h3', { id: 'opened-title' }, info.name || choice.name),
    el(
      'dl',
      { class: 'facts' },
      ...fact('Size', `${bytes(info.bytes)}, ${info.bitsPerWeight.toFixed(2)} bits a weight`),
      ...fact('Parameters', many(info.parameters)),
      ...fact('Architecture', info.architecture),
      ...fact('Quality', card ? el('span', {}, `${card.short}. ${card.full}`) : 'The file has no quality card.'),
      ...fact('Chat template', info.hasTemplate ? 'yes' : 'none: it continues text'),
    ),
  );
}

const fact = (name, value) => [el('dt', {}, name), el('dd', {}, value)];
