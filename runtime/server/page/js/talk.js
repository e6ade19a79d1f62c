// What was said, as plain data, and the prompts made of it. No element is touched here.

import * as sampling from './sampling.js';

/**
 * A passage: what someone wrote, or what the model did.
 * `reasoning`: what the model thought first, where the server tells it apart.
 * @typedef {{ id: number, role: 'user' | 'assistant', text: string, reasoning?: string, variant?: number, run?: Run }} Passage
 */
/**
 * How an answer was made and what came out: enough to make it again anywhere.
 * @typedef {{ mode: 'chat' | 'continue', prompt: string | null, messages: object[] | null, system: string, left: number,
 *   sampling: object, context: number | null, model: { name: string, file: string, address: string | null }, ids: number[],
 *   result: object | null }} Run
 */

let ids = 0;

/** A new passage. */
export const passage = (role, text, more = {}) => ({ id: (ids += 1), role, text, ...more });

/** Texts one after another: where neither has white space a new paragraph begins. */
export function join(passages) {
  let text = '';
  for (const p of passages) {
    const apart = text === '' || p.text === '' || p.role === 'assistant' || /\s$/.test(text) || /^\s/.test(p.text);
    text += apart ? p.text : `\n\n${p.text}`;
  }
  return text;
}

/** Messages for the template, without the first `left` exchanges. */
export function messages(passages, system, left = 0) {
  const out = system.trim() === '' ? [] : [{ role: 'system', content: system }];
  let exchange = -1;
  for (const p of passages) {
    if (p.role === 'user') exchange += 1;
    if (exchange >= left || exchange < 0) out.push({ role: p.role, content: p.text });
  }
  return out;
}

/** Exchanges that begin with a message of the user. */
export const exchanges = (passages) => passages.filter((p) => p.role === 'user').length;

/** A text in single quotes for a POSIX shell. */
export const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** A word as it stands if the shell leaves it alone, in quotes otherwise. */
const word = (text) => (/^[\w./:@%+=-]+$/.test(text) && !text.startsWith('-') ? text : quoted(text));

/** Whether an answer can go on where it ended: a limit of tokens ended it, or a person, or the page was closed. */
export const open = ({ ids, result }) => ids.length > 0 && (result === null || result.reason === 'length' || result.reason === 'cancelled');

/**
 * The command that makes this answer again on any machine and prints its hash. An answer without a limit, or one that
 * something else ended, is made again up to there.
 * @param {Run} run
 */
export function command(run) {
  const { result, model } = run;
  const limit = run.sampling.maxTokens;
  const stopped = limit === null || result?.reason === 'cancelled' || result?.reason === 'context';
  const flags = ['--json', `-n ${stopped ? result.generatedTokens : limit}`, ...sampling.flags(run.sampling, quoted), ...(run.context === null ? [] : [`--ctx ${run.context}`])].join(' ');
  if (run.mode === 'chat') {
    const talk = quoted(JSON.stringify({ messages: run.messages }));
    return `printf '%s' ${talk} | carat run ${word(model.file)} --messages - ${flags}`;
  }
  return `carat run ${word(model.file)} -p ${quoted(run.prompt)} ${flags}`;
}

/** What became of an answer, in words. */
export function ending(reason) {
  return {
    end: 'the model ended it',
    length: 'longest answer reached',
    context: 'the context is full',
    stop: 'a stop text came',
    complete: 'it is complete',
    cancelled: 'stopped',
  }[reason] ?? reason;
}
