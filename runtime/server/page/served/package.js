// What the page imports as its engine, when this server gives the page: the same classes, but the server
// computes. See runtime/web/npm/index.d.ts for what they mean.

const PLACE = 'carat.key';

export class CaratError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/** The key that was given here before; none where there is none. */
const key = () => {
  try {
    return sessionStorage.getItem(PLACE) ?? localStorage.getItem(PLACE) ?? '';
  } catch {
    return '';
  }
};

/** What an answer that is an error means to the page. */
async function refused(response) {
  let error = {};
  try {
    ({ error = {} } = await response.json());
  } catch {
    // No JSON: something between here and the server answered.
  }
  const message = error.message ?? `HTTP ${response.status}`;
  if (response.status === 401) return new CaratError('key', message);
  if (error.code === 'context_length_exceeded') return new CaratError('context', message);
  if (response.status === 400) return new CaratError(error.param === 'messages' ? 'template' : 'parameter', message);
  return new CaratError('server', message);
}

/** Asks the server. Rejects with a CaratError. */
async function ask(path, { body, signal } = {}) {
  const headers = { ...(key() && { Authorization: `Bearer ${key()}` }), ...(body && { 'Content-Type': 'application/json' }) };
  let response;
  try {
    response = await fetch(path, { method: body ? 'POST' : 'GET', headers, body: body && JSON.stringify(body), signal });
  } catch (error) {
    if (signal?.aborted) throw new CaratError('aborted', 'stopped');
    throw new CaratError('server', String(error.message ?? error));
  }
  if (!response.ok) throw await refused(response);
  return response;
}

/** The data of server-sent events, one after another. */
async function* events(response, signal) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      rest += value;
      let end;
      while ((end = rest.indexOf('\n\n')) >= 0) {
        const lines = rest.slice(0, end).split('\n');
        rest = rest.slice(end + 2);
        const data = lines.filter((l) => l.startsWith('data: ')).map((l) => l.slice(6)).join('\n');
        if (data === '[DONE]') return;
        if (data !== '') yield JSON.parse(data);
      }
    }
  } catch (error) {
    if (signal?.aborted) throw new CaratError('aborted', 'stopped');
    throw new CaratError('server', `the answer broke off: ${error.message}`);
  } finally {
    // A page that reads no more ends the computation.
    reader.cancel().catch(() => {});
  }
  throw new CaratError('server', 'the answer broke off');
}

/** The page's settings under the names of the server. */
const NAMES = { temperature: 'temperature', topK: 'top_k', topP: 'top_p', minP: 'min_p', repeatPenalty: 'repeat_penalty', repeatLastN: 'repeat_last_n', dryMultiplier: 'dry_multiplier', dryBase: 'dry_base', dryAllowedLength: 'dry_allowed_length', maxTokens: 'max_tokens' };

export class Carat {
  /** Opens a model: the server loads it, if it has not. */
  static async load(source, { onProgress, signal } = {}) {
    onProgress?.({ phase: 'header', loaded: 0, total: 0, bytesPerSecond: 0, secondsLeft: null, fromCache: false });
    const id = decodeURIComponent(new URL(source).pathname.split('/').pop());
    // Whatever is asked of it first loads it.
    await ask('tokenize', { body: { model: id, content: '' }, signal });
    const entry = await (await ask(`v1/models/${encodeURIComponent(id)}`, { signal })).json();
    const carat = new Carat();
    carat.id = id;
    carat.context = entry.meta?.n_ctx ?? null;
    // What is not known here is automatic: the server takes what the model's file says.
    const sampling = Object.fromEntries(Object.keys(NAMES).filter((k) => k !== 'maxTokens').map((k) => [k, null]));
    const [seed] = crypto.getRandomValues(new Uint32Array(1));
    carat.info = {
      name: id,
      bytes: entry.meta?.size ?? 0,
      contextLength: entry.meta?.n_ctx_train ?? 0,
      hasTemplate: entry.meta?.chat_template ?? true,
      sampling: { ...sampling, seed: String(seed) },
    };
    return carat;
  }

  device = 'server';

  chat(messages, options) {
    return this.run('v1/chat/completions', { messages }, options, ({ delta }) => ({ text: delta?.content ?? '', reasoning: delta?.reasoning_content ?? '' }));
  }

  generate(prompt, options) {
    return this.run('v1/completions', { prompt }, options, ({ text }) => ({ text: text ?? '', reasoning: '' }));
  }

  run(path, input, { signal, stop, seed, ...options }, said) {
    const chosen = Object.entries(options).filter(([k, v]) => k in NAMES && v !== null && v !== undefined);
    const body = {
      model: this.id,
      ...input,
      ...Object.fromEntries(chosen.map(([k, v]) => [NAMES[k], v])),
      seed: Number(BigInt.asUintN(53, BigInt(seed))),
      ...(stop?.length > 0 && { stop }),
      ...(path.includes('chat') ? {} : { max_tokens: options.maxTokens ?? -1 }),
      stream: true,
      stream_options: { include_usage: true },
      timings_per_token: true,
    };
    let settle;
    const result = new Promise((yes, no) => (settle = { yes, no }));
    result.catch(() => {});
    async function* go() {
      const all = { text: '', reasoning: '' };
      const end = { ids: [], sampling: {}, complete: null, device: 'server' };
      try {
        const response = await ask(path, { body, signal });
        let pieces = 0;
        for await (const chunk of events(response, signal)) {
          if (chunk.error) throw new CaratError('server', chunk.error.message);
          const { timings, usage } = chunk;
          if (usage) Object.assign(end, { promptTokens: usage.prompt_tokens, generatedTokens: usage.completion_tokens });
          const choice = chunk.choices?.[0];
          if (!choice) continue;
          if (choice.finish_reason) {
            Object.assign(end, { reason: choice.finish_reason === 'length' ? 'length' : 'end', logitsHash: choice.logits_hash });
            Object.assign(end, { msToFirstToken: timings?.prompt_ms ?? 0, tokensPerSecond: timings?.predicted_per_second ?? 0 });
          }
          const piece = said(choice);
          if (piece.text === '' && piece.reasoning === '') continue;
          all.text += piece.text;
          all.reasoning += piece.reasoning;
          pieces += 1;
          yield { ...piece, id: null, tokens: timings?.predicted_n ?? pieces };
        }
        settle.yes({ ...end, ...all });
      } catch (error) {
        settle.no(error);
        throw error;
      }
    }
    return Object.assign(go(), { result });
  }

  async close() {}
}

/** Nothing is stored here: the server has the models. */
export const storage = { list: async () => [], remove: async () => {}, estimate: async () => ({ usage: 0, quota: 0 }) };

export const webgpu = { available: async () => false };

/** By this the page knows that a server computes. */
export const served = {
  /** The models that can be asked, as choices. */
  async models() {
    const { data } = await (await ask('v1/models')).json();
    return data.map(({ id, meta }) => ({
      name: id,
      file: `${id}.gguf`,
      source: new URL(`v1/models/${encodeURIComponent(id)}`, location.href).href,
      ...(meta?.size && { bytes: meta.size }),
    }));
  },
  key,
  /** Keeps a key in this browser; an empty one is forgotten. */
  setKey(text) {
    try {
      if (text === '') localStorage.removeItem(PLACE);
      else localStorage.setItem(PLACE, text);
    } catch {
      // Storage is forbidden: it is asked for again.
    }
  },
};
