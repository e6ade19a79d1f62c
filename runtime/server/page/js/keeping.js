// Keeps the conversation that is open in this tab, so that a reload finds it again.

import * as record from './record.js';
import * as shelf from './shelf.js';

const PLACE = 'carat.conversation';
/** What a page that goes could not be sure to have kept. */
const LEFT = 'carat.left';
/** Milliseconds from a change until it is kept: an answer changes with every token. */
const WAIT = 400;

export class Keeping {
  /** @param {() => { mode: string, model: object | null, passages: object[] }} now @param {(error: Error) => void} failed */
  constructor(now, failed) {
    this.now = now;
    this.failed = failed;
    this.queue = Promise.resolve();
    this.timer = 0;
    /** What was written last, or is being written. */
    this.last = null;
    this.talk = { id: null, created: null, seen: null };
    /** Writes that are not through yet. */
    this.pending = 0;
    addEventListener('pagehide', () => this.leave());
    document.addEventListener('visibilitychange', () => document.visibilityState === 'hidden' && this.flush());
  }

  /** The conversation that this tab had before it was loaded again, or null. */
  async restored() {
    let [id, left] = [null, null];
    try {
      [id, left] = [PLACE, LEFT].map((place) => sessionStorage.getItem(place));
      sessionStorage.removeItem(LEFT);
      left = left && record.conversation(JSON.parse(left), 'record');
    } catch {
      // Without storage, or with what is no conversation in it, there is nothing to go on with.
      left = null;
    }
    const kept = id === null ? null : await shelf.get(id);
    if (!left || left.id !== id || (kept && kept.updated >= left.updated)) return kept;
    await shelf.put(left, kept?.updated);
    return left;
  }

  /** The page goes. A database may not be written to any more, so what it may lack is left where the next page looks first. */
  leave() {
    if (!this.timer && this.pending === 0) return;
    this.flush();
    try {
      if (this.last) sessionStorage.setItem(LEFT, JSON.stringify(this.last));
    } catch {
      // Too large, or forbidden: what was kept last holds.
    }
  }

  /** From here on this one is kept; null: a new one, once it has something. */
  begin(kept) {
    this.flush();
    // `seen`: the time of what this tab last read or wrote.
    this.talk = { id: kept?.id ?? null, created: kept?.created ?? null, seen: kept?.updated ?? null };
    this.mark();
  }

  /** What is open was deleted: nothing of it is kept any more. */
  forget() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.begin(null);
  }

  get id() {
    return this.talk.id;
  }

  mark() {
    try {
      if (this.id === null) sessionStorage.removeItem(PLACE);
      else sessionStorage.setItem(PLACE, this.id);
    } catch {
      // A reload begins anew.
    }
  }

  /** Something changed: it is kept soon. */
  changed() {
    this.timer ||= setTimeout(() => this.flush(), WAIT);
  }

  /** Keeps what is to be kept now. */
  flush() {
    if (!this.timer) return;
    clearTimeout(this.timer);
    this.timer = 0;
    const { talk } = this;
    const { mode, model, passages } = this.now();
    if (passages.length === 0) return;
    if (talk.id === null) {
      talk.id = record.newId();
      talk.created = Date.now();
      this.mark();
    }
    const updated = Math.max(Date.now(), (talk.seen ?? 0) + 1, (this.last?.updated ?? 0) + 1);
    // In the order of the shape, so that an export of it equals it.
    const kept = { id: talk.id, created: talk.created, updated, mode, model, passages: record.write(passages) };
    this.last = kept;
    this.pending += 1;
    this.queue = this.queue.then(() => this.put(talk, kept)).finally(() => (this.pending -= 1));
  }

  async put(talk, kept) {
    try {
      // What would not be read again is not written.
      talk.id = await shelf.put(record.conversation({ ...kept, id: talk.id }, 'conversation'), talk.seen);
      talk.seen = kept.updated;
      if (talk === this.talk) this.mark();
    } catch (error) {
      this.failed(error);
    }
  }
}
