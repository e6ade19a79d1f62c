// What went wrong, in words, with what to try.

import { el, button } from './dom.js';

/** By the code of a CaratError: a title, and what a person can do. */
const KNOWN = {
  network: ['The model could not be fetched', 'Check the address and the connection. A host other than this page’s must allow it (CORS: Access-Control-Allow-Origin). What arrived is kept; another try goes on where it stopped.'],
  hash: ['The file is damaged', 'Its bytes do not match its own hashes. Delete the stored copy and load it again; if that fails too, the file at its source is damaged.'],
  format: ['This is no Carat file', 'Give a file that “carat convert” wrote. Another GGUF or a checkpoint is made into one by: carat convert MODEL -o model.gguf. If a stored copy is to blame, delete it under “Stored models”.'],
  webgpu: ['WebGPU failed', 'Update the browser or the graphics driver, or choose “CPU” in the settings: the tokens are the same.'],
  'device-lost': ['The graphics device was lost', 'Send again: the device is built anew and the conversation goes on. If it happens again, choose “CPU” in the settings.'],
  memory: ['There is not enough memory', 'Close other tabs, choose a smaller context in the settings, or a smaller model.'],
  context: ['The text is longer than the context', 'Raise the context in the settings, shorten the text, or begin a new conversation.'],
  parameter: ['A setting is out of its range', 'Open the settings and correct it.'],
  server: ['The server failed', 'Try again. If it stays, look at what the server wrote, or whether it still runs.'],
  key: ['The server needs a key', 'Give the key under “Settings”; whoever runs the server has it.'],
  unopened: ['No model is open', 'Choose one with the button at the top, or drop a file on the page.'],
  template: ['The model’s chat template failed', 'Choose “Text”, which needs no template, or change the message.'],
  storage: ['The browser’s storage failed', 'Free space under “Stored models”. In a private window models may not be stored; they work all the same, and are fetched again.'],
  import: ['The file was not imported', 'Nothing was changed. Choose a file that “Export” wrote; one that was changed by hand must keep its form.'],
  catalogue: ['A model of the list is left out', 'Whoever runs this page can correct the entry; the other models are there.'],
  internal: ['Something failed inside', 'Try again. If it stays, tell the project what the message says.'],
};

/** Title, message and advice of whatever was thrown. */
export function describe(error) {
  const code = error && Object.hasOwn(KNOWN, error.code) ? error.code : 'internal';
  const [title, advice] = KNOWN[code];
  return { code, title, advice, message: String(error?.message ?? error) };
}

/** A notice of it. `again`: what the button for another try does; `closed` is called when it is closed. */
export function notice(error, { again, closed } = {}) {
  const { code, title, advice, message } = describe(error);
  const box = el(
    'div',
    { class: 'notice bad', role: 'alert', dataset: { code } },
    el('h2', {}, title),
    el('p', { class: 'message' }, message),
    el('p', {}, advice),
  );
  const remove = () => {
    box.remove();
    closed?.();
  };
  box.append(
    el(
      'div',
      { class: 'actions' },
      again ? button('Try again', () => (remove(), again()), { kind: 'primary' }) : null,
      button('Close', remove),
      el('span', { class: 'code dim' }, `code: ${code}`),
    ),
  );
  return box;
}
