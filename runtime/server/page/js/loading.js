// The card that shows how a model is being opened.

import { $, el, button } from './dom.js';
import { bytes, duration } from './format.js';
import { announce } from './announce.js';

const PHASES = {
  header: 'Reading the header',
  download: 'Downloading',
  read: 'Reading the file',
  verify: 'Checking the hashes',
  upload: 'Moving to the graphics card',
  compile: 'Preparing the kernels',
  ready: 'Ready',
};

export class Loading {
  constructor(cancel) {
    this.phase = el('span', { class: 'phase' });
    this.numbers = el('span', { class: 'dim' });
    this.title = el('strong', { id: 'loading-title' });
    this.bar = el('progress', { 'aria-labelledby': 'loading-title', max: 1 });
    this.card = el(
      'section',
      { class: 'notice loading', 'aria-label': 'Opening a model' },
      el('div', { class: 'loading-line' }, this.title, button('Cancel', cancel)),
      this.bar,
      el('div', { class: 'loading-line' }, this.phase, this.numbers),
    );
    this.quarter = 0;
    this.choice = null;
  }

  begin(choice) {
    this.choice = choice;
    this.quarter = 0;
    this.title.textContent = `Opening ${choice.name}`;
    this.phase.textContent = PHASES.header;
    this.numbers.textContent = '';
    this.bar.removeAttribute('value');
    $('notices').prepend(this.card);
  }

  /** @param {{ phase: string, loaded: number, total: number, bytesPerSecond: number, secondsLeft: number | null, fromCache: boolean }} p */
  show(p) {
    // The stored copy is read and checked in one.
    this.phase.textContent = p.phase === 'verify' && p.fromCache ? 'Reading the stored copy' : (PHASES[p.phase] ?? p.phase);
    if (!(p.total > 0)) {
      this.bar.removeAttribute('value');
      this.numbers.textContent = '';
      return;
    }
    this.bar.max = p.total;
    this.bar.value = p.loaded;
    const sized = ['download', 'read', 'upload', 'verify'].includes(p.phase);
    const parts = [sized ? `${bytes(p.loaded)} of ${bytes(p.total)}` : `${p.loaded} of ${p.total}`];
    if (sized && p.bytesPerSecond > 0) parts.push(`${bytes(p.bytesPerSecond)}/s`);
    if (p.secondsLeft !== null && p.loaded < p.total) parts.push(`${duration(p.secondsLeft)} left`);
    this.numbers.textContent = parts.join(' · ');
    // A voice says the quarters, of what takes long enough to wait for.
    const quarter = Math.floor((p.loaded / p.total) * 4);
    if (p.phase === 'download' && quarter > this.quarter && quarter < 4 && (p.secondsLeft ?? 0) > 3) announce(`${quarter * 25} percent, ${duration(p.secondsLeft)} left.`);
    this.quarter = Math.max(quarter, this.quarter);
  }

  end() {
    this.card.remove();
  }
}
