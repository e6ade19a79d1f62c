// The open model: one at a time, opened with progress, closed before the next.

import { Carat, storage, webgpu } from '../carat-web/index.js';
import { fileName } from './address.js';
import { asked } from './sampling.js';

/**
 * A model that can be opened.
 * @typedef {{ name: string, source: string | Blob, file: string, bytes?: number, card?: object, parameters?: number,
 *   mode?: 'chat' | 'continue', starters?: string[], note?: string, from?: string }} Choice
 */

/** A choice of an address. */
export const fromAddress = (address) => ({ name: fileName(address), source: new URL(address, location.href).href, file: fileName(address) });

/** A choice of a file of this device. */
export const fromFile = (file) => ({ name: file.name, source: file, file: file.name, bytes: file.size });

export class Engine {
  /** @param {{ progress(choice: Choice, p: object): void, changed(): void, device(device: string, why: string | null, change: string | null): void }} events */
  constructor(events) {
    this.events = events;
    /** @type {Carat | null} */
    this.carat = null;
    /** @type {Choice | null} */
    this.choice = null;
    /** What an answer keeps of it. */
    this.model = null;
    /** The choice that is being opened. */
    this.opening = null;
    /** The one that was opened last, or failed to be. */
    this.last = null;
    /** Positions that the open model was asked to have; null where it chose itself. */
    this.context = null;
    this.controller = null;
    this.turn = 0;
    this.ready = Promise.resolve();
  }

  get info() {
    return this.carat?.info ?? null;
  }

  /** Where the open model comes from, also after the page is loaded again; null of a file that is not stored. */
  get address() {
    const source = this.choice?.source;
    return typeof source === 'string' ? source : (this.carat?.storageKey ?? null);
  }

  /** Whether an answer of that model can be made again here. */
  has(model) {
    return this.carat !== null && (model === this.model || (model.address !== null && model.address === this.address));
  }

  /** Whether this browser has WebGPU with an adapter; asked once. */
  hasGpu() {
    this.gpu ??= webgpu.available().catch(() => false);
    return this.gpu;
  }

  /** Opens a model in place of the one that is open. Rejects with the package's errors; a newer call aborts this one. */
  open(choice, settings) {
    this.controller?.abort();
    const controller = new AbortController();
    const turn = (this.turn += 1);
    this.controller = controller;
    this.opening = choice;
    this.last = choice;
    const context = settings.context;
    this.ready = (async () => {
      const old = this.carat;
      this.carat = null;
      this.choice = null;
      this.model = null;
      this.events.changed();
      try {
        await old?.close();
        const carat = await Carat.load(choice.source, {
          device: settings.device,
          context: context ?? undefined,
          signal: controller.signal,
          onProgress: (p) => turn === this.turn && this.events.progress(choice, p),
        });
        if (turn !== this.turn) {
          await carat.close();
          throw new DOMException('Another model was chosen.', 'AbortError');
        }
        carat.onDevice = (device, why, change) => turn === this.turn && this.events.device(device, why, change);
        this.carat = carat;
        this.choice = choice;
        this.model = { name: choice.name, file: choice.file, address: this.address };
        this.context = context;
        this.events.device(carat.device, carat.deviceReason ?? null, null);
      } finally {
        if (turn === this.turn) {
          this.opening = null;
          this.events.changed();
        }
      }
    })();
    // Whoever waits for it sees the failure; without a waiter it is no unhandled one.
    this.ready.catch(() => {});
    return this.ready;
  }

  /** Stops what is being opened. */
  cancel() {
    this.controller?.abort();
  }

  /** Begins a run's generation, with more options. */
  generate(run, carat, options) {
    const sampling = { ...asked(run.sampling), ...options };
    return run.mode === 'chat' ? carat.chat(run.messages, sampling) : carat.generate(run.prompt, sampling);
  }

  /** Makes an answer again with a second engine on the other device; resolves to its result. */
  async again(run, device, signal) {
    const carat = await Carat.load(this.choice.source, { device, context: run.context ?? undefined, signal });
    try {
      const generation = this.generate(run, carat, { maxTokens: run.result.generatedTokens, signal });
      for await (const _ of generation);
      return await generation.result;
    } finally {
      await carat.close();
    }
  }
}

export { storage };

/** Whether an error only says that somebody stopped something. */
export const aborted = (error) => error?.code === 'aborted' || error?.name === 'AbortError';
