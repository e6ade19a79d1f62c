// The page's side: a proxy of the worker that owns the module, the device and the files.
import { CaratError } from "./error.js";
import * as store from "./store.js";

export { CaratError };

const aborted = () => new CaratError("aborted", "aborted");

/** Calls into one worker and what comes back. */
class Link {
  constructor(worker) {
    this.worker = worker;
    this.calls = new Map();
    this.next = 1;
    this.failed = null;
    worker.onmessage = ({ data }) => this.receive(data);
    worker.onerror = (event) => {
      event.preventDefault?.();
      this.fail(new CaratError("internal", event.message || "the worker cannot be started"));
    };
  }

  receive({ id, event, value, error }) {
    if (id === 0) return this.onevent?.(event, value);
    const call = this.calls.get(id);
    if (!call) return;
    if (event) return call.onevent?.(event, value);
    this.calls.delete(id);
    if (error) call.reject(new CaratError(error.code, error.message));
    else call.resolve(value);
  }

  /** Every call that waits ends with the error, and every later one. */
  fail(error) {
    this.failed ??= error;
    for (const call of this.calls.values()) call.reject(error);
    this.calls.clear();
    this.worker.terminate();
  }

  call(op, value, onevent) {
    const id = this.next++;
    const answer = new Promise((resolve, reject) => {
      if (this.failed) return reject(this.failed);
      this.calls.set(id, { resolve, reject, onevent });
      try {
        this.worker.postMessage({ id, op, value });
      } catch (e) {
        this.calls.delete(id);
        reject(new CaratError("parameter", e.message, { cause: e }));
      }
    });
    return { id, answer };
  }

  cancel(id) {
    if (!this.failed) this.worker.postMessage({ id, op: "cancel" });
  }
}

function start(worker) {
  if (worker && typeof worker.postMessage === "function") return worker;
  const url = worker ? new URL(worker, globalThis.location?.href) : new URL("./worker.js", import.meta.url);
  try {
    return new Worker(url, { type: "module", name: "carat" });
  } catch (e) {
    throw new CaratError("parameter", `no worker can be started from ${url}: ${e.message}; serve the package from the page's own origin, or give a 'worker'`, { cause: e });
  }
}

/** Pieces of text in the order in which they come; leaving the loop cancels. */
class Stream {
  #queue = [];
  #waiting = null;
  #ended = false;
  #link;
  #id;
  result;

  constructor(link, op, value, signal) {
    this.#link = link;
    if (signal?.aborted) {
      this.#ended = true;
      this.result = Promise.reject(aborted());
    } else {
      const { id, answer } = link.call(op, value, (_, piece) => {
        this.#queue.push(piece);
        this.#wake();
      });
      this.#id = id;
      const stop = () => link.cancel(id);
      signal?.addEventListener("abort", stop, { once: true });
      this.result = answer.finally(() => {
        signal?.removeEventListener("abort", stop);
        this.#ended = true;
        this.#wake();
      });
    }
    // Whoever only reads pieces gets the error there.
    this.result.catch(() => {});
  }

  #wake() {
    this.#waiting?.();
    this.#waiting = null;
  }

  async *[Symbol.asyncIterator]() {
    try {
      for (;;) {
        while (this.#queue.length) yield this.#queue.shift();
        if (this.#ended) break;
        await new Promise((wake) => (this.#waiting = wake));
      }
      await this.result;
    } finally {
      if (!this.#ended) this.#link.cancel(this.#id);
    }
  }
}

/** What the worker takes: numbers and texts. */
function sampling({ signal, seed, jsonSchema, ...rest } = {}) {
  const out = { ...rest };
  if (seed !== undefined && seed !== null) {
    try {
      out.seed = BigInt(seed).toString();
    } catch {
      throw new CaratError("parameter", `'seed' is ${seed}; expected a whole number`);
    }
  }
  if (jsonSchema !== undefined) {
    try {
      out.jsonSchema = typeof jsonSchema === "string" ? jsonSchema : JSON.stringify(jsonSchema);
    } catch (e) {
      throw new CaratError("parameter", `'jsonSchema' is no JSON: ${e.message}`, { cause: e });
    }
  }
  return out;
}

export class Carat {
  #link;
  /** Set by the page. */
  onDevice = undefined;

  constructor(link, { info, device, why, context, key }) {
    this.#link = link;
    this.info = Object.freeze(info);
    this.device = device;
    this.deviceReason = why;
    this.context = context;
    this.storageKey = key;
    link.onevent = (event, value) => {
      if (event !== "device") return;
      this.device = value.device;
      this.onDevice?.(value.device, value.why, value.change);
    };
  }

  static async load(source, options = {}) {
    const { signal, onProgress, worker, device = "auto", context, cache = "opfs" } = options;
    if (signal?.aborted) throw aborted();
    if (!["auto", "webgpu", "cpu"].includes(device)) throw new CaratError("parameter", `'device' is ${device}; expected auto, webgpu or cpu`);
    if (!["opfs", "none"].includes(cache)) throw new CaratError("parameter", `'cache' is ${cache}; expected opfs or none`);
    if (context !== undefined && !(Number.isInteger(context) && context > 0 && context < 2 ** 31)) {
      throw new CaratError("parameter", `'context' is ${context}; expected a whole number of at least 1`);
    }
    const isBlob = typeof Blob !== "undefined" && source instanceof Blob;
    let from = source;
    if (!isBlob && !(typeof source === "string" && source.startsWith(store.PREFIX))) {
      try {
        from = new URL(source, globalThis.location?.href).href;
      } catch (e) {
        throw new CaratError("parameter", `'${source}' is no address`, { cause: e });
      }
    }
    const link = new Link(start(worker));
    let phase = null;
    const { id, answer } = link.call("load", { source: from, device, context, cache }, (_, value) => {
      phase = value.phase;
      onProgress?.(value);
    });
    const stop = () => {
      link.cancel(id);
      // A compiler cannot be interrupted. All bytes are stored by then, so nothing is lost with the worker.
      if (phase === "compile") link.fail(aborted());
    };
    signal?.addEventListener("abort", stop, { once: true });
    try {
      return new Carat(link, await answer);
    } catch (e) {
      link.fail(e);
      throw e;
    } finally {
      signal?.removeEventListener("abort", stop);
    }
  }

  tokenize(text, { special = false } = {}) {
    return this.#link.call("tokenize", { text, special }).answer;
  }

  detokenize(ids) {
    return this.#link.call("detokenize", { ids: [...ids] }).answer;
  }

  generate(prompt, options = {}) {
    const value = { prompt: typeof prompt === "string" ? prompt : [...prompt], options: sampling(options) };
    return new Stream(this.#link, "generate", value, options.signal);
  }

  chat(talk, options = {}) {
    let plain;
    try {
      // What a file of the conversation would hold.
      plain = JSON.parse(JSON.stringify(talk));
    } catch (e) {
      throw new CaratError("parameter", `the conversation is no JSON: ${e.message}`, { cause: e });
    }
    return new Stream(this.#link, "chat", { talk: plain, options: sampling(options) }, options.signal);
  }

  saveSession() {
    return this.#link.call("save", {}).answer;
  }

  restoreSession(bytes) {
    const whole = bytes instanceof ArrayBuffer ? new Uint8Array(bytes) : bytes;
    if (!(whole instanceof Uint8Array)) return Promise.reject(new CaratError("parameter", "'bytes' is no Uint8Array or ArrayBuffer; give what saveSession gave, or a file of carat run --session"));
    return this.#link.call("restore", { bytes: whole }).answer;
  }

  async close() {
    if (!this.#link.failed) {
      // Whatever is under way ends; the device is given back by the worker's end.
      this.#link.fail(new CaratError("aborted", "closed"));
    }
  }
}

export const storage = {
  list: () => store.list(),
  remove: (key) => store.remove(key),
  estimate: () => store.estimate(),
};

export const webgpu = {
  async available() {
    try {
      return Boolean(await globalThis.navigator?.gpu?.requestAdapter());
    } catch {
      return false;
    }
  },
};
