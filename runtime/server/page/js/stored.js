// The storage manager: what is kept in this browser, how large it is, and away with it.

import { $, el, button, dialogHead, openDialog } from './dom.js';
import { bytes } from './format.js';
import { storage } from './engine.js';
import { notice } from './errors.js';
import { announce } from './announce.js';

/** Opens the dialog. */
export async function show() {
  const dialog = $('storage-dialog');
  const body = el('div', { class: 'dialog-body' }, el('p', { class: 'dim' }, 'Reading …'));
  dialog.replaceChildren(dialogHead(dialog, 'storage-title', 'Stored models'), body);
  openDialog(dialog);
  await fill(body);
}

async function fill(body) {
  let models;
  let room;
  try {
    [models, room] = await Promise.all([storage.list(), storage.estimate()]);
  } catch (error) {
    body.replaceChildren(notice(error, { again: () => fill(body) }));
    return;
  }
  const list = el('ul', { class: 'list', 'aria-label': 'Stored models' }, ...models.map((m) => item(m, body)));
  body.replaceChildren(
    models.length > 0 ? list : el('p', {}, 'Nothing is stored. A model that is opened from an address is kept here, and opens without the network the next time.'),
    el(
      'div',
      { class: 'field' },
      el('label', { htmlFor: 'room' }, 'Used of what the browser allows this site'),
      el('progress', { id: 'room', max: Math.max(room.quota, 1), value: room.usage }),
      el('p', { class: 'help' }, `${bytes(room.usage)} of ${bytes(room.quota)}`),
    ),
  );
}

function item(model, body) {
  const name = model.name || model.key;
  const state = model.complete ? bytes(model.storedBytes) : `${bytes(model.storedBytes)} of ${bytes(model.bytes)}, not whole yet`;
  const row = el('li', { class: 'item' });
  const text = el('div', { class: 'item-text' }, el('strong', {}, name), el('span', { class: 'dim' }, state), el('span', { class: 'help address' }, model.url ?? 'from a file'));
  const ask = button('Delete', () => {
    row.replaceChildren(text, el('span', { class: 'pair' }, yes, no));
    no.focus();
  }, { 'aria-label': `Delete ${name}` });
  const yes = button(`Delete ${bytes(model.storedBytes)}`, async () => {
    try {
      await storage.remove(model.key);
    } catch (error) {
      row.after(notice(error));
      return;
    }
    announce(`${name} is deleted.`);
    await fill(body);
    (body.querySelector('.item button') ?? $('storage-title')).focus();
  }, { kind: 'danger' });
  const no = button('Keep', () => {
    row.replaceChildren(text, ask);
    ask.focus();
  });
  row.append(text, ask);
  return row;
}
