// A double of the package for the page's own tests: slow downloads, odd answers, failures and changes of device on
// demand. The page that is shipped never sees it. `globalThis.double`, set before the page runs, says what happens.

const wish = {
  gpu: true,
  device: null,
  answer: 'Double answer.',
  pieceDelay: 5,
  load: [],
  failLoad: null,
  failAnswer: null,
  stored: [],
  template: true,
  name: 'double',
  ...globalThis.double,
};

/** What the page asked for, for the tests to see. */
export const seen = (globalThis.seen = { loads: [], calls: [], removed: [], closed: 0 });

const wait = (ms) => new Promise((r) => setTimeout(r, ms));

export class CaratError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

const stopped = (signal) => {
  if (signal?.aborted) throw new CaratError('aborted', 'stopped');
};

export class Carat {
  static async load(source, options = {}) {
    seen.loads.push({ source: typeof source === 'string' ? source : source.name, device: options.device, context: options.context });
    for (const p of wish.load) {
      options.onProgress?.({ bytesPerSecond: 0, secondsLeft: null, fromCache: false, ...p });
      await wait(p.wait ?? 0);
      stopped(options.signal);
    }
    const fail = wish.failLoad;
    if (fail?.once) wish.failLoad = null;
    if (fail && (!fail.for || seen.loads.at(-1).source.includes(fail.for))) throw new CaratError(fail.code, fail.message);
    const carat = new Carat();
    if (typeof source !== 'string') carat.storageKey = `opfs:${'f'.repeat(32)}`;
    carat.device = options.device && options.device !== 'auto' ? options.device : (wish.device ?? (wish.gpu ? 'webgpu' : 'cpu'));
    globalThis.carat = carat;
    return carat;
  }

  info = {
    name: wish.name,
    architecture: 'llama',
    parameters: 5770496,
    bytes: 3419904,
    bitsPerWeight: 4.36,
    contextLength: 1024,
    vocabSize: 4096,
    card: { tokens: 512, perplexity: 32.57, referencePerplexity: 32.26, meanKl: 0.0138, p99Kl: 0.047, sameTop: 0.909 },
    hasTemplate: wish.template,
    sampling: { temperature: 0.7, topK: 33, topP: 0.9, minP: 0.01, repeatPenalty: 1.1, repeatLastN: 64, dryMultiplier: 0, dryBase: 1.5, dryAllowedLength: 20, seed: '3' },
  };
  context = 1024;
  storageKey = null;

  generate(prompt, options) {
    return this.run({ prompt }, options);
  }

  chat(messages, options) {
    return this.run({ messages }, options);
  }

  run(input, options) {
    seen.calls.push({ ...input, options: { ...options, seed: String(options.seed), signal: undefined } });
    const { device } = this;
    const sampling = Object.fromEntries(Object.entries(this.info.sampling).map(([key, own]) => [key, options[key] ?? own]));
    let settle;
    const result = new Promise((yes, no) => (settle = { yes, no }));
    const pieces = (typeof wish.answer === 'function' ? wish.answer(seen.calls.length) : wish.answer).match(/\s*\S{1,6}|\s+/g) ?? [];
    async function* go() {
      let text = '';
      let n = 0;
      try {
        if (wish.failAnswer) {
          const { code, message } = wish.failAnswer;
          if (wish.failAnswer.once) wish.failAnswer = null;
          throw new CaratError(code, message);
        }
        for (const piece of pieces) {
          await wait(wish.pieceDelay);
          if (options.signal?.aborted || n >= (options.maxTokens ?? Infinity)) break;
          n += 1;
          text += piece;
          const known = options.after?.length ?? 0;
          if (n < known) continue;
          const logitsHash = String(n).padStart(64, 'a');
          yield n === known ? { text, id: null, logitsHash } : { text: piece, id: n, logitsHash };
        }
      } catch (error) {
        settle.no(error);
        throw error;
      }
      const reason = options.signal?.aborted ? 'cancelled' : n >= (options.maxTokens ?? Infinity) && n < pieces.length ? 'length' : 'end';
      settle.yes({ ids: Array.from({ length: n }, (_, i) => i + 1), text, reason, sampling, logitsHash: 'd0'.repeat(32), promptTokens: 7, generatedTokens: n, msToFirstToken: 5, tokensPerSecond: 100, device });
    }
    return Object.assign(go(), { result });
  }

  async close() {
    seen.closed += 1;
  }
}

export const storage = {
  list: async () => wish.stored,
  remove: async (key) => {
    seen.removed.push(key);
    wish.stored = wish.stored.filter((m) => m.key !== key);
  },
  estimate: async () => ({ usage: 5e6, quota: 2e9 }),
};

export const webgpu = { available: async () => wish.gpu };
