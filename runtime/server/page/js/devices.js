// Which device computes: the badge in the bar, what is said when that changes, and the choice of another.

import { $, el, button } from './dom.js';
import { announce } from './announce.js';
import { served } from './served.js';

const NAMES = { webgpu: 'WebGPU', cpu: 'the CPU' };

export class Devices {
  /** @param {{ gpu(): Promise<boolean>, now(): string | null, wanted(): string, choose(device: string): void }} page */
  constructor(page) {
    this.page = page;
    this.device = null;
    /** What was measured of both, in a sentence. */
    this.why = null;
  }

  /** Another model is being opened. */
  reset() {
    this.device = null;
    this.why = null;
  }

  /** The package says which device computes, and why that changed or did not. */
  async changed(device, why, change) {
    this.device = device;
    if (why && change !== 'rebuilt') this.why = why;
    const badge = $('device');
    badge.hidden = false;
    if (served) {
      badge.textContent = 'Server';
      badge.title = 'Computed by the server that gave this page';
      return;
    }
    badge.textContent = device === 'webgpu' ? 'WebGPU' : 'CPU';
    badge.title = `Computed by ${NAMES[device]}${why ? `: ${why}` : ''}`;
    badge.dataset.device = device;
    clear();
    const gpu = await this.page.gpu();
    if (this.page.now() !== device) return;
    const text = this.sentence(device, why, change, gpu);
    if (change === 'moved' && device === 'webgpu') announce(text);
    else if (text) this.note(text, device, gpu);
  }

  sentence(device, why, change, gpu) {
    if (change === 'kept' && device === 'cpu') return `The CPU goes on: it is the faster device here (${why}). The tokens are the same.`;
    // Nothing is slower than it was thought to be.
    if (change === 'kept') return null;
    if (change === 'rebuilt') return `The graphics device was built again (${why}). The conversation goes on with the same tokens.`;
    if (change === 'moved' && device === 'webgpu') return `WebGPU computes from here on: ${why}.`;
    if (change === 'moved') return `The CPU computes from here on (${why}). The conversation goes on with the same tokens.`;
    if (why) return `The CPU computes (${why}). The tokens are the same.`;
    if (device === 'cpu' && !gpu) return 'This browser has no WebGPU, so the CPU computes. The tokens are the same; they come slower.';
    return null;
  }

  note(text, device, gpu) {
    const other = device === 'cpu' ? 'webgpu' : 'cpu';
    const free = this.page.wanted() === 'auto' && gpu;
    const actions = el(
      'div',
      { class: 'actions' },
      free ? button(`Always use ${NAMES[other]}`, () => this.page.choose(other), { kind: 'small' }) : null,
      button('Close', () => (clear(), $('prompt').focus()), { kind: 'small' }),
    );
    $('notices').append(el('div', { class: 'notice device-note', role: 'status' }, el('p', {}, text), actions));
  }

  /** For the settings: what “Automatic” has chosen, and why. */
  chosen() {
    if (this.device === null || this.page.wanted() !== 'auto') return null;
    return `Automatic chose ${NAMES[this.device]}${this.why ? `: ${this.why}` : ''}. The tokens are the same on each.`;
  }
}

function clear() {
  for (const node of document.querySelectorAll('.device-note')) node.remove();
}
