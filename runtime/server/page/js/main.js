// The page: puts the parts together and decides what happens.

import { $, el } from './dom.js';
import { Answers } from './answers.js';
import { Devices } from './devices.js';
import { Engine, aborted, fromFile } from './engine.js';
import { Keeping } from './keeping.js';
import { Loading } from './loading.js';
import { Same } from './same.js';
import { View, fit } from './view.js';
import { announce } from './announce.js';
import { bytes } from './format.js';
import { mark } from './marks.js';
import { notice } from './errors.js';
import * as catalogue from './catalogue.js';
import * as history from './history.js';
import * as models from './models.js';
import { prepare, served } from './served.js';
import * as record from './record.js';
import * as settingsOf from './settings.js';
import * as stored from './stored.js';
import * as talk from './talk.js';
import * as theme from './theme.js';

mark('carat:page');

const settings = settingsOf.read();
/** `chosenFor`: the model whose mode was chosen, after which it is the user's; `unkept`: that conversations are not kept was said. */
const state = { models: [], gpu: false, chosenFor: null, unkept: false };

const engine = new Engine({
  progress: (choice, p) => {
    mark(`carat:${p.phase}`);
    loading.show(p);
  },
  changed: () => {
    drawModel();
    same.changed();
  },
  device: (device, why, change) => {
    mark(change === 'kept' ? 'carat:device-kept' : `carat:device-${device}`);
    devices.changed(device, why, change);
  },
});
const devices = new Devices({
  gpu: () => engine.hasGpu(),
  now: () => engine.carat?.device ?? null,
  wanted: () => settings.device,
  choose: (device) => {
    settings.device = device;
    settingsOf.keep(settings);
    settingsChanged(settings, 'device');
  },
});
const loading = new Loading(() => engine.cancel());
const view = new View({
  again: (p) => regenerate(p),
  edit: (p, text) => edit(p, text),
  same: (p) => (same.show(p.run), same.open()),
  goOn: (p) => {
    answers.goOn(p).then(() => document.activeElement === $('send') && view.focusLast('go-on'));
    $('stop').focus({ preventScroll: true });
  },
  canGoOn: (p) => !answers.running && answers.canGoOn(p),
  raise: () => (showSettings(), $('set-context').focus()),
});
const same = new Same(
  (run, device) => engine.again(run, device),
  (run) => otherDevice(run),
);
const answers = new Answers(engine, {
  settings,
  view,
  same,
  draw,
  changed: () => keeping.changed(),
  busy,
  failed: (error, again) => {
    $('failures').append(notice(error, { again, closed: () => $('prompt').focus() }));
    view.toEnd();
  },
});
const keeping = new Keeping(
  () => ({ mode: answers.mode, model: answers.passages.findLast((p) => p.run)?.run.model ?? null, passages: answers.passages }),
  (error) => {
    // Once is enough: the next answer would say it again.
    if (!state.unkept) $('notices').append(notice(Object.assign(error, { code: 'storage' })));
    state.unkept = true;
  },
);

// ---- the model ----

async function open(choice, { restore = true } = {}) {
  const before = engine.choice;
  answers.stop();
  devices.reset();
  if (restore) clearNotices('.bad, .device-note');
  loading.begin(choice);
  const opened = engine.open(choice, settings);
  // Its mode is chosen once, before the file is here where that can be said; after that it is the user's.
  const fresh = state.chosenFor !== choice.source;
  if (fresh && choice.mode) setMode(choice.mode);
  try {
    await opened;
  } catch (error) {
    if (engine.opening) return;
    loading.end();
    if (!aborted(error)) $('notices').prepend(notice(error, { again: () => open(choice) }));
    // What worked before is opened again: it is stored, or was given as a file.
    if (restore && before && before.source !== choice.source) await open(before, { restore: false });
    return;
  }
  loading.end();
  mark('carat:open');
  remember();
  announce(`${choice.name} is ready.`);
  const template = engine.info.hasTemplate;
  $('modes').hidden = !template;
  setMode(!template ? 'continue' : fresh && !choice.mode ? 'chat' : answers.mode);
  state.chosenFor = choice.source;
}

function drawModel() {
  const choice = engine.choice ?? engine.opening;
  $('model-name').textContent = choice ? choice.name : 'no model';
  const size = choice && (engine.info?.bytes ?? choice.bytes);
  $('model-size').textContent = size ? bytes(size) : '';
  if (!engine.choice) $('device').hidden = true;
}

const LAST = 'carat.model';

/** The model that was open last, in this tab and in any: if it is one that opens by itself, listed here or stored. */
function remember() {
  const { address } = engine;
  if (address === null) return;
  try {
    for (const storage of storages()) storage.setItem(LAST, address);
  } catch {
    // The first one listed opens the next time.
  }
}

/** Where that is said; none where storage is forbidden. */
function storages() {
  try {
    return [sessionStorage, localStorage];
  } catch {
    return [];
  }
}

function clearNotices(which) {
  for (const node of document.querySelectorAll('.notices > .notice:not([data-code=catalogue])')) if (node.matches(which)) node.remove();
}

/** The device that did not compute this answer, if there is one and the same model is open. */
function otherDevice(run) {
  if (!engine.has(run.model)) return null;
  if (run.result.device === 'webgpu') return 'cpu';
  return state.gpu ? 'webgpu' : null;
}

// ---- the conversation ----

function draw() {
  view.set(answers.passages, answers.mode);
  const chat = answers.mode === 'chat';
  $('send-text').textContent = chat ? 'Send' : 'Continue';
  const begun = answers.passages.length > 0;
  $('new-talk').hidden = !begun;
  $('prompt-label').textContent = chat ? 'Your message' : begun ? 'More text of yours, or nothing' : 'Text to continue';
  $('prompt').placeholder = chat ? 'Write a message' : begun ? 'Add a passage, or continue as it is' : 'Write a beginning; the model continues it';
}

function setMode(mode) {
  // An answer that still waits for its model is written in the new mode.
  if (mode !== answers.mode && answers.running && !answers.waiting) answers.stop();
  answers.mode = mode;
  for (const radio of document.getElementsByName('mode')) radio.checked = radio.value === mode;
  const choice = engine.choice ?? engine.opening;
  const starters = choice?.starters ?? [];
  $('starters').replaceChildren(...(mode === 'continue' ? starters : []).map((text) => el('li', {}, el('button', { type: 'button', class: 'starter', on: { click: () => submit(text) } }, text))));
  const note = choice?.note;
  $('empty-note').hidden = !note;
  $('empty-note').textContent = note ?? '';
  draw();
}

/** Takes what was written and answers it. */
function submit(text) {
  if (answers.running) return;
  const empty = text.trim() === '';
  // Nothing more is needed to continue a text, or to answer a message that has no answer yet.
  if (empty && (answers.mode === 'chat' ? answers.passages.at(-1)?.role !== 'user' : answers.passages.length === 0)) {
    $('prompt').focus();
    return;
  }
  if (!empty) answers.passages.push(talk.passage('user', text));
  answers.answer(0);
}

function busy(is) {
  if (is) clearNotices('.bad');
  const focused = document.activeElement === $('send') || document.activeElement === $('stop');
  $('send').hidden = is;
  $('stop').hidden = !is;
  $('meter').textContent = '';
  // The button under the focus went; its successor takes it.
  if (focused) (is ? $('stop') : $('send')).focus({ preventScroll: true });
}

function regenerate(p) {
  if (answers.running) return;
  answers.passages = answers.passages.filter((q) => q !== p);
  // Back to where it was asked for, unless the user has gone elsewhere.
  answers.answer(p.variant + 1).then(() => document.activeElement === $('send') && view.focusLast('again'));
  $('stop').focus({ preventScroll: true });
}

function edit(p, text) {
  answers.stop();
  const at = answers.passages.indexOf(p);
  if (at < 0) return;
  answers.passages = answers.passages.slice(0, at + 1);
  // A new passage in its place: nothing of the old one's run holds any more.
  answers.passages[at] = talk.passage(p.role, text, { variant: p.variant });
  keeping.changed();
  draw();
  $('prompt').focus();
  if (p.role === 'user') answers.whenIdle(() => answers.answer(0));
}

/** Shows a conversation that was kept, or a new one. */
function show(kept) {
  answers.stop();
  keeping.begin(kept);
  answers.passages = kept ? record.read(kept.passages) : [];
  clearNotices('.bad');
  same.show(answers.passages.findLast((p) => p.run?.result)?.run ?? null);
  if (kept) setMode(kept.mode === 'chat' && engine.info?.hasTemplate === false ? 'continue' : kept.mode);
  else draw();
  $('meter').textContent = '';
}

function newTalk() {
  show(null);
  $('prompt').focus();
  announce('A new conversation.');
}

/** Opens one that was kept. The model stays: which one answers is the user's choice. */
function openTalk(kept) {
  answers.stop();
  answers.whenIdle(() => {
    show(kept);
    view.toEnd();
    $('prompt').focus();
    announce(`The conversation “${record.title(kept)}” is open.`);
  });
}

// ---- wiring ----

function settingsChanged(now, key) {
  // Also the one that failed to open with what the settings were.
  if ((key === 'context' || key === 'device') && engine.last) open(engine.last);
  if (key === 'key') begin();
}

function showSettings() {
  const info = engine.carat && { ...engine.info, context: engine.carat.context };
  settingsOf.show(settings, info, settingsChanged, devices.chosen());
}

function wire() {
  theme.start();
  const prompt = $('prompt');
  $('composer').addEventListener('submit', (e) => {
    e.preventDefault();
    if (answers.running) return;
    const text = prompt.value;
    prompt.value = '';
    fit(prompt);
    submit(text);
  });
  prompt.addEventListener('input', () => fit(prompt));
  prompt.addEventListener('keydown', (e) => {
    if (e.key !== 'Enter' || e.shiftKey || e.isComposing) return;
    e.preventDefault();
    $('composer').requestSubmit();
  });
  $('stop').addEventListener('click', () => answers.stop());
  document.addEventListener('keydown', (e) => {
    if (e.key === 'Escape' && answers.running && !document.querySelector('dialog[open]')) answers.stop();
  });
  for (const radio of document.getElementsByName('mode')) {
    radio.addEventListener('change', () => {
      setMode(radio.value);
      keeping.changed();
    });
  }
  $('new-talk').addEventListener('click', newTalk);
  $('open-models').addEventListener('click', () => models.show(state.models, engine, open, stored.show));
  $('open-settings').addEventListener('click', showSettings);
  $('open-storage').addEventListener('click', () => stored.show());
  $('open-history').addEventListener('click', () => {
    keeping.flush();
    keeping.queue.then(() => history.show({ current: () => keeping.id, open: openTalk, removed: (id) => id === keeping.id && (keeping.forget(), show(null)) }));
  });
  if (!served) wireDrop();
}

function wireDrop() {
  const files = (e) => e.dataTransfer?.types.includes('Files');
  let depth = 0;
  const over = (is) => ($('drop').hidden = !is);
  addEventListener('dragenter', (e) => files(e) && ((depth += 1), over(true)));
  addEventListener('dragleave', (e) => files(e) && (depth -= 1) <= 0 && ((depth = 0), over(false)));
  addEventListener('dragover', (e) => files(e) && e.preventDefault());
  addEventListener('drop', (e) => {
    if (!files(e)) return;
    e.preventDefault();
    depth = 0;
    over(false);
    for (const dialog of document.querySelectorAll('dialog[open]')) dialog.close();
    if (e.dataTransfer.files[0]) open(fromFile(e.dataTransfer.files[0]));
  });
}

/** The model that opens by itself: the one of before, if it is listed or stored as a whole, else the first that is listed. */
async function first() {
  const last = storages().map((s) => s.getItem(LAST)).find((address) => address !== null);
  if (last === undefined) return state.models[0];
  const here = (all) => all.find((m) => m.source === last);
  return here(state.models) ?? here((await models.stored(state.models)).filter((m) => m.complete)) ?? state.models[0];
}

/** Asks which models there are. */
async function list() {
  try {
    const { models, wrong } = served ? { models: await served.models(), wrong: [] } : await catalogue.load();
    state.models = models;
    for (const message of wrong) $('notices').append(notice(Object.assign(new Error(message), { code: 'catalogue' })));
  } catch (error) {
    $('notices').append(notice(served ? error : Object.assign(error, { code: 'network' }), served ? { again: begin } : {}));
  }
}

/** Lists the models of a server again, and opens one if none is. */
async function begin() {
  clearNotices('.bad');
  await list();
  const choice = await first();
  if (choice && !engine.opening && !engine.choice) open(choice);
}

async function start() {
  prepare();
  wire();
  draw();
  engine.hasGpu().then((gpu) => (state.gpu = gpu));
  const before = keeping.restored().catch(() => null);
  await list();
  const kept = await before;
  const choice = await first();
  // Whoever has begun to write meanwhile goes on.
  if (kept && answers.passages.length === 0) {
    show(kept);
    state.chosenFor = choice?.source ?? null;
    view.toEnd();
  }
  if (choice && !engine.opening && !engine.choice) open(choice);
}

start();
