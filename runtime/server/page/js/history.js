// The dialog of the conversations that are kept: open, export, delete, import.

import { $, el, button, dialogHead, openDialog } from './dom.js';
import { plural } from './format.js';
import { notice } from './errors.js';
import { announce } from './announce.js';
import { title } from './record.js';
import * as exchange from './exchange.js';
import * as shelf from './shelf.js';

/** Opens the dialog. `asked`: `current()` is the id of the one that is open, `open(record)` opens one, `removed(id)` is told. */
export async function show(asked) {
  const dialog = $('history-dialog');
  const body = el('div', { class: 'dialog-body' }, el('p', { class: 'dim' }, 'Reading …'));
  dialog.replaceChildren(dialogHead(dialog, 'history-title', 'Conversations'), body);
  openDialog(dialog);
  await fill(body, asked);
}

async function fill(body, asked) {
  let all;
  try {
    all = await shelf.list();
  } catch (error) {
    body.replaceChildren(notice(error, { again: () => fill(body, asked) }));
    return;
  }
  const said = el('div', { class: 'notices' });
  const file = el('input', { type: 'file', id: 'import', class: 'file', accept: '.json,application/json', on: { change: () => file.files[0] && take(file.files[0], body, said, asked) } });
  body.replaceChildren(
    said,
    all.length > 0
      ? el('ul', { class: 'list', 'aria-label': 'Conversations' }, ...all.map((c) => item(c, body, asked)))
      : el('p', {}, 'Nothing is kept yet. A conversation is kept in this browser as it is written.'),
    el('div', { class: 'field' }, el('label', { htmlFor: 'import' }, 'Import'), file, el('p', { class: 'help' }, 'A file that “Export” wrote. What is here stays.')),
    ...(all.length > 0 ? [el('div', { class: 'actions' }, button('Export all', () => save(all, 'carat-conversations')))] : []),
  );
}

async function take(file, body, said, asked) {
  try {
    const { added, known } = await shelf.add(await exchange.readFile(file));
    await fill(body, asked);
    const text = `${plural(added, 'conversation')} imported${known > 0 ? `, ${known} here already` : ''}.`;
    body.querySelector('.notices').append(el('div', { class: 'notice', role: 'status' }, el('p', {}, text)));
    announce(text);
    $('history-title').focus();
  } catch (error) {
    said.replaceChildren(notice(error, { closed: () => body.querySelector('#import').focus() }));
    body.querySelector('#import').value = '';
    said.scrollIntoView({ block: 'nearest' });
  }
}

const DATE = new Intl.DateTimeFormat('en', { dateStyle: 'medium', timeStyle: 'short' });

function item(record, body, asked) {
  const name = title(record);
  const current = record.id === asked.current();
  const row = el('li', { class: 'item', 'aria-current': current ? 'true' : null });
  const facts = [DATE.format(record.updated), plural(record.passages.length, 'passage'), record.model?.name].filter(Boolean).join(' · ');
  const text = el('div', { class: 'item-text' }, el('strong', {}, name), el('span', { class: 'dim' }, facts));
  const ask = button('Delete', () => {
    row.replaceChildren(text, el('span', { class: 'pair' }, yes, no));
    no.focus();
  }, { 'aria-label': `Delete “${name}”` });
  const yes = button('Delete it', async () => {
    try {
      await shelf.remove(record.id);
    } catch (error) {
      row.after(notice(error));
      return;
    }
    asked.removed(record.id);
    announce(`“${name}” is deleted.`);
    await fill(body, asked);
    (body.querySelector('.item button') ?? $('history-title')).focus();
  }, { kind: 'danger' });
  const no = button('Keep', () => {
    row.replaceChildren(text, actions);
    ask.focus();
  });
  const actions = el(
    'span',
    { class: 'pair' },
    current
      ? el('span', { class: 'chip' }, 'Open')
      : button('Open', () => ($('history-dialog').close(), asked.open(record)), { 'aria-label': `Open “${name}”` }),
    button('Export', () => save([record], 'carat-conversation'), { 'aria-label': `Export “${name}”` }),
    ask,
  );
  row.append(text, actions);
  return row;
}

/** Gives the browser a file to save. */
function save(records, name) {
  const url = URL.createObjectURL(new Blob([exchange.write(records)], { type: 'application/json' }));
  el('a', { href: url, download: `${name}-${new Date().toISOString().slice(0, 10)}.json` }).click();
  // The browser has taken it up by then.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
