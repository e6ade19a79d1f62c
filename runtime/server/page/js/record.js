// A conversation as it is kept and exported: plain JSON, without what can be made again from it.

import * as shape from './shape.js';
import * as talk from './talk.js';
import { FIELDS } from './sampling.js';

const TEXT = 4 << 20;
const COUNT = shape.whole(0, 2 ** 31);
const TIME = shape.whole(0, 8.64e15);
const MS = shape.number(0, 1e12);

/** What an answer was sampled by. Its numbers go into a command line: they are numbers. */
const sampling = shape.object(
  { seed: shape.matching(/^\d{1,20}$/, 'a text of up to 20 digits'), maxTokens: shape.orNull(COUNT), stop: shape.list(shape.text(1000), 64) },
  Object.fromEntries(FIELDS.map(({ key }) => [key, shape.number(0, Number.MAX_SAFE_INTEGER)])),
);

const model = shape.object({ name: shape.text(1 << 12), file: shape.text(1 << 12), address: shape.orNull(shape.text(1 << 16)) });

const result = shape.object({
  reason: shape.oneOf('end', 'length', 'context', 'stop', 'complete', 'cancelled'),
  logitsHash: shape.matching(/^[0-9a-f]{64}$/, 'a hash of 64 hexadecimal digits'),
  promptTokens: COUNT,
  generatedTokens: COUNT,
  msToFirstToken: MS,
  tokensPerSecond: MS,
  device: shape.oneOf('webgpu', 'cpu', 'server'),
});

const run = shape.object({
  mode: shape.oneOf('chat', 'continue'),
  sampling,
  context: shape.orNull(shape.whole(1, 2 ** 31)),
  model,
  system: shape.text(TEXT),
  left: COUNT,
  ids: shape.list(shape.whole(0, 2 ** 32 - 1), 1 << 20),
  result: shape.orNull(result),
});

const passage = shape.object({ role: shape.oneOf('user', 'assistant'), text: shape.text(TEXT) }, { reasoning: shape.text(TEXT), variant: COUNT, run });

/** A conversation, checked. */
export const conversation = shape.object({
  id: shape.matching(/^[0-9a-f]{32}$/, 'an id of 32 hexadecimal digits'),
  created: TIME,
  updated: TIME,
  mode: shape.oneOf('chat', 'continue'),
  model: shape.orNull(model),
  passages: shape.list(passage, 100_000),
});

/** The fields of `from` that a shape names. */
const only = (keys, from) => Object.fromEntries(keys.map((key) => [key, from[key]]));

/** A speed over no time is none. */
const finite = (n) => (Number.isFinite(n) ? n : 0);

/** What is kept of a run. Tokens are kept where the answer can go on. */
function runOf(r) {
  const { seed, ...rest } = r.sampling;
  return {
    ...only(['mode', 'context', 'model', 'system', 'left'], r),
    sampling: { ...rest, seed: String(seed) },
    ids: talk.open(r) ? [...r.ids] : [],
    result: r.result && { ...only(['reason', 'logitsHash', 'promptTokens', 'generatedTokens', 'msToFirstToken', 'device'], r.result), tokensPerSecond: finite(r.result.tokensPerSecond) },
  };
}

/** Passages as they are kept. */
export const write = (passages) =>
  passages.map(({ role, text, reasoning, variant, run }) => ({ role, text, ...(reasoning ? { reasoning } : {}), ...(variant === undefined ? {} : { variant }), ...(run ? { run: runOf(run) } : {}) }));

/** Passages as the page has them: each run has its prompt again. */
export function read(kept) {
  const passages = [];
  for (const { role, text, reasoning, variant, run } of kept) {
    const p = talk.passage(role, text, { ...(reasoning ? { reasoning } : {}), ...(variant === undefined ? {} : { variant }) });
    if (run) {
      const { seed, ...rest } = run.sampling;
      const chat = run.mode === 'chat';
      p.run = {
        ...run,
        sampling: { ...rest, seed: BigInt(seed) },
        messages: chat ? talk.messages(passages, run.system, run.left) : null,
        prompt: chat ? null : talk.join(passages),
      };
    }
    passages.push(p);
  }
  return passages;
}

/** What a conversation is called: its first words. */
export function title({ passages }) {
  const text = (passages.find((p) => p.text.trim() !== '')?.text ?? '').trim().replace(/\s+/g, ' ');
  return text.length > 80 ? `${text.slice(0, 79)}…` : text || 'Empty';
}

/** A new id. */
export const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, '0')).join('');
