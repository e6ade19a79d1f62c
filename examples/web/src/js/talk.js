// What was said, as plain data, and the prompts made of it. No element is touched here.

/**
 * A passage: what someone wrote, or what the model did.
 * @typedef {{ id: number, role: 'user' | 'assistant', text: string, variant?: number, run?: Run }} Passage
 */
/**
 * How an answer was made and what came out: enough to make it again anywhere.
 * @typedef {{ mode: 'chat' | 'continue', prompt: string | null, messages: object[] | null, sampling: object,
 *   context: number | null, file: string, device: string, result: object | null, left: number }} Run
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

/** The seed of an answer's variant: the first takes the setting's, every other one the next. */
export const seedOf = (seed, variant) => (BigInt(seed) + BigInt(variant)) & 0xffff_ffff_ffff_ffffn;

/** A text in single quotes for a POSIX shell. */
export const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** A word as it stands if the shell leaves it alone, in quotes otherwise. */
const word = (text) => (/^[\w./:@%+=-]+$/.test(text) && !text.startsWith('-') ? text : quoted(text));

/**
 * The command that makes this answer again on any machine and prints its hash. An answer that was stopped, or that
 * the context's end stopped, is made again up to there.
 * @param {Run} run
 */
export function command(run) {
  const { sampling, result } = run;
  const stopped = result?.reason === 'cancelled' || result?.reason === 'context';
  const flags = [
    '--json',
    `-n ${stopped ? result.generatedTokens : sampling.maxTokens}`,
    `--temp ${sampling.temperature}`,
    `--top-p ${sampling.topP}`,
    `--seed ${sampling.seed}`,
    run.context === null ? null : `--ctx ${run.context}`,
  ]
    .filter(Boolean)
    .join(' ');
  if (run.mode === 'chat') {
    const talk = quoted(JSON.stringify({ messages: run.messages }));
    return `printf '%s' ${talk} | carat run ${word(run.file)} --messages - ${flags}`;
  }
  return `carat run ${word(run.file)} -p ${quoted(run.prompt)} ${flags}`;
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
