// The page: puts the parts together and decides what happens.

import { $, el } from './dom.js';
import { Engine, aborted, fromFile } from './engine.js';
import { Loading } from './loading.js';
import { Same, device as deviceName } from './same.js';
import { View, fit } from './view.js';
import { announce } from './announce.js';
import { bytes, plural, rate } from './format.js';
import { notice } from './errors.js';
import * as models from './models.js';
import * as settingsOf from './settings.js';
import * as stored from './stored.js';
import * as talk from './talk.js';
import * as theme from './theme.js';

performance.mark('carat:page');

const settings = settingsOf.read();
const state = { models: [], passages: [], mode: 'continue', running: null, waiting: false, gpu: false, chosenFor: null, device: null };

const engine = new Engine({
  progress: (choice, p) => {
    mark(`carat:${p.phase}`);
    loading.show(p);
  },
  changed: () => {
    drawModel();
    same.changed();
  },
  device: (device, why) => deviceChanged(device, why),
});
const loading = new Loading(() => engine.cancel());
const view = new View({
  again: (p) => regenerate(p),
  edit: (p, text) => edit(p, text),
  same: (p) => (same.show(p.run), same.open()),
});
const same = new Same(
  (run, device) => engine.again(run, device),
  (run) => otherDevice(run),
);

/** A moment for whoever measures; the first of its name counts. */
function mark(name) {
  if (performance.getEntriesByName(name).length === 0) performance.mark(name);
}

// ---- the model ----

async function open(choice, { restore = true } = {}) {
  const before = engine.choice;
  stop();
  state.device = null;
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
  remember(choice);
  announce(`${choice.name} is ready.`);
  const template = engine.info.hasTemplate;
  $('modes').hidden = !template;
  setMode(!template ? 'continue' : fresh && !choice.mode ? 'chat' : state.mode);
  state.chosenFor = choice.source;
}

function drawModel() {
  const choice = engine.choice ?? engine.opening;
  $('model-name').textContent = choice ? choice.name : 'no model';
  $('model-size').textContent = choice ? bytes(engine.info?.bytes ?? choice.bytes ?? 0) : '';
  if (!engine.choice) $('device').hidden = true;
}

/** The model that was open last, if it is one that opens by itself: listed here, or stored. */
function remember(choice) {
  try {
    if (typeof choice.source === 'string') localStorage.setItem('carat.model', choice.source);
  } catch {
    // The first one listed opens the next time.
  }
}

async function deviceChanged(device, why) {
  const kept = why !== null && state.device === device;
  state.device = device;
  mark(kept ? 'carat:device-kept' : `carat:device-${device}`);
  const badge = $('device');
  badge.hidden = false;
  badge.textContent = device === 'webgpu' ? 'WebGPU' : 'CPU';
  badge.title = device === 'webgpu' ? 'Computed by WebGPU' : 'Computed by the CPU';
  badge.dataset.device = device;
  clearNotices('.device-note');
  const gpu = await engine.hasGpu();
  if (engine.carat?.device !== device) return;
  let text = null;
  if (kept && device === 'cpu') text = `The CPU goes on: it is the faster device here (${why}). The tokens are the same.`;
  else if (kept) text = `The graphics device was built again (${why}). The conversation goes on with the same tokens.`;
  else if (why && device === 'webgpu') announce(`WebGPU computes from here on: ${why}.`);
  else if (why) text = `The device changed: the CPU computes from here on (${why}). The conversation goes on with the same tokens.`;
  else if (device === 'cpu' && !gpu) text = 'This browser has no WebGPU, so the CPU computes. The tokens are the same; they come slower.';
  if (text) $('notices').append(el('div', { class: 'notice device-note', role: 'status' }, el('p', {}, text)));
  if (why && device === 'webgpu') badge.title += `: ${why}`;
}

function clearNotices(which) {
  for (const node of document.querySelectorAll('.notices > .notice')) if (node.matches(which)) node.remove();
}

/** The device that did not compute this answer, if there is one and the same model is still open. */
function otherDevice(run) {
  if (!engine.carat || engine.choice?.source !== run.choice?.source) return null;
  if (run.result.device === 'webgpu') return 'cpu';
  return state.gpu ? 'webgpu' : null;
}

// ---- the conversation ----

function draw() {
  view.set(state.passages, state.mode);
  const text = state.mode === 'continue' ? 'Continue' : 'Send';
  $('send-text').textContent = text;
  const begun = state.passages.length > 0;
  $('new-talk').hidden = !begun;
  $('prompt-label').textContent = state.mode === 'chat' ? 'Your message' : begun ? 'More text of yours, or nothing' : 'Text to continue';
  $('prompt').placeholder = state.mode === 'chat' ? 'Write a message' : begun ? 'Add a passage, or continue as it is' : 'Write a beginning; the model continues it';
}

function setMode(mode) {
  // An answer that still waits for its model is written in the new mode.
  if (mode !== state.mode && state.running && !state.waiting) stop();
  state.mode = mode;
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
  if (state.running) return;
  const empty = text.trim() === '';
  // Nothing more is needed to continue a text, or to answer a message that has no answer yet.
  if (empty && (state.mode === 'chat' ? state.passages.at(-1)?.role !== 'user' : state.passages.length === 0)) {
    $('prompt').focus();
    return;
  }
  if (!empty) state.passages.push(talk.passage('user', text));
  answer(0);
}

/** Has the model write the next passage. */
async function answer(variant) {
  const before = [...state.passages];
  const p = talk.passage('assistant', '', { variant, running: true });
  state.passages.push(p);
  const controller = new AbortController();
  state.running = controller;
  busy(true);
  clearNotices('.bad');
  draw();
  view.toEnd();
  announce(state.mode === 'chat' ? 'Answering.' : 'Continuing.');
  let failure = null;
  try {
    state.waiting = true;
    try {
      await untilOpen(controller.signal);
    } finally {
      state.waiting = false;
    }
    await generate(p, before, controller);
  } catch (error) {
    failure = error;
  }
  p.running = false;
  if (state.running === controller) {
    state.running = null;
    busy(false);
  }
  // Nothing came: the passage goes, what the user wrote stays.
  if (p.text === '' && !p.run?.result?.generatedTokens) state.passages = state.passages.filter((q) => q !== p);
  view.keepEnd(draw);
  if (!p.run?.result) same.settle();
  if (failure && !aborted(failure)) {
    $('failures').append(notice(failure, { again: () => retry(before, variant), closed: () => $('prompt').focus() }));
    view.toEnd();
    return;
  }
  if (p.run?.result) same.show(p.run);
  view.keepEnd(() => finished(p));
}

/** The same answer again after a failure. */
function retry(before, variant) {
  if (state.running) return;
  state.passages = before;
  answer(variant);
}

/** Waits for the model that is being opened. */
async function untilOpen(signal) {
  if (!engine.carat && !engine.opening) throw unopened();
  if (!engine.carat) $('meter').textContent = 'Waiting for the model';
  const stopped = new Promise((_, reject) => signal.addEventListener('abort', () => reject(new DOMException('Stopped.', 'AbortError')), { once: true }));
  stopped.catch(() => {});
  for (;;) {
    const { ready } = engine;
    try {
      await Promise.race([ready, stopped]);
    } catch {
      // Whoever opened the model has said why it failed.
      throw new DOMException('No model is open.', 'AbortError');
    }
    if (ready === engine.ready) break;
  }
  if (!engine.carat) throw unopened();
}

const unopened = () => Object.assign(new Error('No model is open. Choose one.'), { code: 'unopened' });

async function generate(p, before, controller) {
  const { carat, choice } = engine;
  const sampling = { temperature: settings.temperature, topP: settings.topP, seed: talk.seedOf(settings.seed, p.variant), maxTokens: settings.maxTokens };
  const run = { mode: state.mode, prompt: null, messages: null, sampling, context: engine.context, file: choice.file, choice, result: null, left: 0 };
  for (;;) {
    try {
      let generation;
      if (run.mode === 'chat') {
        run.messages = talk.messages(before, settings.system, run.left);
        generation = carat.chat(run.messages, { ...sampling, signal: controller.signal });
      } else {
        run.prompt = talk.join(before);
        generation = carat.generate(run.prompt, { ...sampling, signal: controller.signal });
      }
      generation.result.catch(() => {});
      p.run = run;
      await stream(p, generation);
      const result = await generation.result;
      // An answer that the context's end cuts short is written again with more room, as one that has none at all is.
      if (cutShort(result) && run.mode === 'chat' && run.left + 1 < talk.exchanges(before)) {
        p.text = '';
        run.left += 1;
        continue;
      }
      run.result = result;
      p.text = result.text;
      return;
    } catch (error) {
      // A chat goes on without its oldest exchange; a text has no such part to leave out.
      if (error?.code !== 'context' || run.mode !== 'chat' || run.left + 1 >= talk.exchanges(before) || p.text !== '') throw error;
      run.left += 1;
    }
  }
}

/** Whether the context ended an answer that had less than a quarter of it, and less than was asked for. */
function cutShort({ reason, generatedTokens, promptTokens }) {
  return reason === 'context' && generatedTokens < Math.min(settings.maxTokens, (promptTokens + generatedTokens) / 4);
}

async function stream(p, generation) {
  const start = performance.now();
  let first = 0;
  let tokens = 0;
  let metered = 0;
  for await (const piece of generation) {
    const now = performance.now();
    if (piece.id !== null) tokens += 1;
    if (tokens === 1 && first === 0) {
      first = now;
      mark('carat:first-token');
    }
    p.text += piece.text;
    view.grow(p);
    same.grow(piece.logitsHash, tokens);
    if (now - metered > 250) {
      metered = now;
      const speed = tokens > 1 ? `${rate(((tokens - 1) * 1000) / (now - first))} tokens/s` : '';
      const text = [speed, `first after ${Math.round(first - start)} ms`].filter(Boolean).join(', ');
      view.keepEnd(() => { $('meter').textContent = text; });
    }
  }
}

/** Says once what came. */
function finished(p) {
  const result = p.run?.result;
  if (!result) {
    $('meter').textContent = 'Stopped';
    return;
  }
  $('meter').textContent = `${rate(result.tokensPerSecond)} tokens/s`;
  const text = p.text.trim().replace(/\s+/g, ' ');
  const most = 1500;
  announce(`${text.length > most ? `${text.slice(0, most)} …` : text} ${plural(result.generatedTokens, 'token')}, ${talk.ending(result.reason)}.`);
}

function busy(is) {
  const focused = document.activeElement === $('send') || document.activeElement === $('stop');
  $('send').hidden = is;
  $('stop').hidden = !is;
  $('meter').textContent = '';
  // The button under the focus went; its successor takes it.
  if (focused) (is ? $('stop') : $('send')).focus({ preventScroll: true });
}

function stop() {
  state.running?.abort();
}

function regenerate(p) {
  if (state.running) return;
  state.passages = state.passages.filter((q) => q !== p);
  // Back to where it was asked for, unless the user has gone elsewhere.
  answer(p.variant + 1).then(() => document.activeElement === $('send') && view.focusLast('again'));
  $('stop').focus({ preventScroll: true });
}

function edit(p, text) {
  stop();
  const at = state.passages.indexOf(p);
  if (at < 0) return;
  state.passages = state.passages.slice(0, at + 1);
  // A new passage in its place: nothing of the old one's run holds any more.
  state.passages[at] = talk.passage(p.role, text, { variant: p.variant });
  draw();
  $('prompt').focus();
  if (p.role === 'user') whenIdle(() => answer(0));
}

/** Once the answer that was stopped has ended. */
function whenIdle(then) {
  if (state.running) setTimeout(() => whenIdle(then), 20);
  else then();
}

function newTalk() {
  stop();
  state.passages = [];
  clearNotices('.bad');
  same.show(null);
  draw();
  $('meter').textContent = '';
  $('prompt').focus();
  announce('A new conversation.');
}

// ---- wiring ----

function settingsChanged(now, key) {
  // Also the one that failed to open with what the settings were.
  if ((key === 'context' || key === 'device') && engine.last) open(engine.last);
}

function wire() {
  theme.start();
  const prompt = $('prompt');
  $('composer').addEventListener('submit', (e) => {
    e.preventDefault();
    if (state.running) return;
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
  $('stop').addEventListener('click', stop);
  document.addEventListener('keydown', (e) => {
    if (e.key === 'Escape' && state.running && !document.querySelector('dialog[open]')) stop();
  });
  for (const radio of document.getElementsByName('mode')) radio.addEventListener('change', () => setMode(radio.value));
  $('new-talk').addEventListener('click', newTalk);
  $('open-models').addEventListener('click', () => models.show(state.models, engine, open));
  $('open-settings').addEventListener('click', () => settingsOf.show(settings, engine.info, settingsChanged));
  $('open-storage').addEventListener('click', () => stored.show());
  wireDrop();
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

async function start() {
  wire();
  draw();
  engine.hasGpu().then((gpu) => (state.gpu = gpu));
  try {
    state.models = await models.listed();
  } catch (error) {
    $('notices').append(notice(Object.assign(error, { code: 'network' })));
    return;
  }
  let last = null;
  try {
    last = localStorage.getItem('carat.model');
  } catch {
    // The first one listed opens.
  }
  const choice = state.models.find((m) => m.source === last) ?? (last && (await models.stored(state.models)).find((m) => m.source === last && m.complete)) ?? state.models[0];
  if (choice) open(choice);
}

start();
