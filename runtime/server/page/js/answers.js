// The model writes: a new passage, one that goes on, the same one again. What comes is shown as it comes.

import { $ } from './dom.js';
import { aborted } from './engine.js';
import { announce } from './announce.js';
import { plural, rate } from './format.js';
import { mark } from './marks.js';
import { served } from './served.js';
import * as sampling from './sampling.js';
import * as talk from './talk.js';

const unopened = () => Object.assign(new Error('No model is open. Choose one.'), { code: 'unopened' });

export class Answers {
  /**
   * @param {import('./engine.js').Engine} engine
   * @param {{ settings: object, view: object, same: object, changed(): void, busy(is: boolean): void, failed(error: Error, again: () => void): void,
   *   draw(): void }} page
   */
  constructor(engine, page) {
    this.engine = engine;
    this.page = page;
    /** What is under way: it can be stopped. */
    this.running = null;
    /** Whether that waits for its model. */
    this.waiting = false;
    this.passages = [];
    this.mode = 'continue';
  }

  stop() {
    this.running?.abort();
  }

  /** Once the answer that was stopped has ended. */
  whenIdle(then) {
    if (this.running) setTimeout(() => this.whenIdle(then), 20);
    else then();
  }

  /** Has the model write the next passage. */
  async answer(variant) {
    const before = [...this.passages];
    const p = talk.passage('assistant', '', { variant });
    this.passages.push(p);
    await this.work(p, (controller) => this.generate(p, before, controller), () => this.retry(before, variant));
  }

  /** The same answer again after a failure. */
  retry(before, variant) {
    if (this.running) return;
    this.passages = before;
    this.answer(variant);
  }

  /** Whether a passage can go on: the last one, of the model that is open, with tokens or a limit left. */
  canGoOn(p) {
    // A server keeps no place to go on from.
    if (served) return false;
    return p === this.passages.at(-1) && p.run?.mode === 'chat' && this.mode === 'chat' && talk.open(p.run) && this.engine.has(p.run.model);
  }

  /** Goes on with an answer that a limit ended, as if the limit had been further away. */
  async goOn(p) {
    if (this.running || !this.canGoOn(p)) return;
    const { run } = p;
    const asked = run.sampling.maxTokens;
    // What was stopped goes on to the limit it had; what reached it gets as much again.
    const reached = asked !== null && run.ids.length >= asked;
    const most = reached ? run.ids.length + (this.page.settings.maxTokens ?? asked) : asked;
    const longer = { ...run, sampling: { ...run.sampling, maxTokens: most }, ids: [...run.ids], result: null };
    await this.work(p, (controller) => this.run(p, longer, controller, run.ids), () => this.goOn(p));
  }

  /** What every piece of work of the model is: shown as under way, ended by a stop or a failure, kept. */
  async work(p, write, again) {
    const controller = new AbortController();
    const { page } = this;
    this.running = controller;
    p.running = true;
    page.busy(true);
    page.draw();
    page.view.toEnd();
    page.changed();
    announce(this.mode === 'chat' ? 'Answering.' : 'Continuing.');
    let failure = null;
    try {
      this.waiting = true;
      try {
        await this.untilOpen(controller.signal);
      } finally {
        this.waiting = false;
      }
      await write(controller);
    } catch (error) {
      failure = error;
    }
    p.running = false;
    if (this.running === controller) {
      this.running = null;
      page.busy(false);
    }
    // Meanwhile another conversation may have been opened.
    const shown = this.passages.includes(p);
    // Nothing came: the passage goes, what the user wrote stays.
    if (p.text === '' && !p.reasoning && !p.run?.result?.generatedTokens) this.passages = this.passages.filter((q) => q !== p);
    page.view.keepEnd(page.draw);
    if (!shown) return;
    page.changed();
    if (!p.run?.result) page.same.settle();
    if (failure && !aborted(failure)) return page.failed(failure, again);
    if (p.run?.result) page.same.show(p.run);
    page.view.keepEnd(() => this.finished(p));
  }

  /** Waits for the model that is being opened. */
  async untilOpen(signal) {
    const { engine } = this;
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

  async generate(p, before, controller) {
    const { engine, mode } = this;
    const { settings } = this.page;
    const chat = mode === 'chat';
    const chosen = sampling.of(settings, engine.info, mode, p.variant);
    for (let left = 0; ; left += 1) {
      const run = {
        mode,
        prompt: chat ? null : talk.join(before),
        messages: chat ? talk.messages(before, settings.system, left) : null,
        system: chat ? settings.system : '',
        left,
        sampling: chosen,
        context: engine.context,
        model: engine.model,
        ids: [],
        result: null,
      };
      const more = chat && left + 1 < talk.exchanges(before);
      try {
        await this.run(p, run, controller);
        // An answer that the context's end cuts short is written again with more room, as one that has none at all is.
        if (!more || !cutShort(run)) return;
        p.text = '';
        p.reasoning = '';
      } catch (error) {
        // A chat goes on without its oldest exchange; a text has no such part to leave out.
        if (error?.code !== 'context' || !more || p.text !== '') throw error;
      }
    }
  }

  /** Runs a run, or goes on with it after the tokens `after`. */
  async run(p, run, controller, after = []) {
    const generation = this.engine.generate(run, this.engine.carat, { signal: controller.signal, ...(after.length > 0 ? { after } : {}) });
    generation.result.catch(() => {});
    if (after.length === 0) p.run = run;
    await this.stream(p, run, generation, after.length);
    const result = await generation.result;
    // Stopped before what was there had been computed again: it stays as it was.
    if (p.run !== run) return;
    run.result = result;
    run.ids = result.ids;
    run.sampling = sampling.held(run.sampling, result.sampling);
    p.text = result.text;
  }

  async stream(p, run, generation, known) {
    const start = performance.now();
    let first = 0;
    let tokens = 0;
    let metered = 0;
    let fresh = known > 0;
    if (fresh) $('meter').textContent = 'Going on';
    for await (const piece of generation) {
      const now = performance.now();
      // Of an answer that goes on the first piece is what is known.
      if (fresh) {
        p.run = run;
        p.text = '';
        fresh = false;
      }
      p.text += piece.text;
      if (piece.reasoning) p.reasoning = (p.reasoning ?? '') + piece.reasoning;
      if (piece.id !== null) {
        tokens += 1;
        run.ids.push(piece.id);
      }
      // A server counts itself.
      tokens = piece.tokens ?? tokens;
      if (tokens >= 1 && first === 0) {
        first = now;
        mark('carat:first-token');
      }
      this.page.view.grow(p);
      if (piece.logitsHash) this.page.same.grow(piece.logitsHash, known + tokens);
      this.page.changed();
      if (now - metered > 250 && tokens > 0) {
        metered = now;
        const speed = tokens > 1 ? `${rate(((tokens - 1) * 1000) / (now - first))} tokens/s` : '';
        const text = [speed, `first after ${Math.round(first - start)} ms`].filter(Boolean).join(', ');
        this.page.view.keepEnd(() => { $('meter').textContent = text; });
      }
    }
  }

  /** Says once what came. */
  finished(p) {
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
}

/** Whether the context ended an answer that had less than a quarter of it, and less than was asked for. */
function cutShort({ result, sampling: { maxTokens } }) {
  const { reason, generatedTokens, promptTokens } = result;
  return reason === 'context' && generatedTokens < Math.min(maxTokens ?? Infinity, (promptTokens + generatedTokens) / 4);
}
