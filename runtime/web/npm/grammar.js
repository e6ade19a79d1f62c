// Texts under a JSON schema or a grammar: a module of its own, fetched when the first one is asked for. It says which tokens may
// come next; the engine chooses among them.
import { CaratError } from "./error.js";

let instances = 0;

/** The tokens of one model in that module. */
export class Grammars {
  #words;
  #vocabulary = null;

  /** @param {() => { bytes: Uint8Array, lengths: Uint32Array, ends: Uint32Array }} words */
  constructor(words) {
    this.#words = words;
  }

  async #ready() {
    if (this.#vocabulary) return this.#vocabulary;
    let module;
    try {
      // After it broke off nothing of a module can be used: the address of a new one differs.
      module = await import(`./dist/carat_grammar.js${instances++ ? `?${instances}` : ""}`);
      await module.default();
    } catch (e) {
      throw new CaratError("network", `the module of grammars cannot be loaded: ${e.message}`, { cause: e });
    }
    const { bytes, lengths, ends } = this.#words();
    this.#vocabulary = new module.Vocabulary(bytes, lengths, ends);
    return this.#vocabulary;
  }

  /** Runs a call of the module; one that it cannot survive, such as a schema too deep for its stack, is an error of the grammar. */
  #guarded(work) {
    try {
      return work();
    } catch (e) {
      if (!(e instanceof WebAssembly.RuntimeError) && !(e instanceof RangeError)) throw e;
      this.#vocabulary = null;
      throw new CaratError("parameter", `the schema or grammar takes too much memory or stack (${e.message}); simplify it`, { cause: e });
    }
  }

  /** A guide for one text, or `null` where the options ask for none. */
  async guide({ jsonSchema, grammar } = {}) {
    const text = jsonSchema ?? grammar;
    if (text === undefined || text === null) return null;
    if (typeof text !== "string") throw new CaratError("parameter", `'grammar' is ${typeof text}; expected a text`);
    const vocabulary = await this.#ready();
    const guide = this.#guarded(() => vocabulary.guide(typeof jsonSchema === "string", text));
    let mask = null;
    return {
      /** The tokens allowed next, the same until one is accepted. */
      mask: () => (mask ??= this.#guarded(() => guide.mask())),
      accept: (id) => {
        mask = null;
        this.#guarded(() => guide.accept(id));
      },
      complete: () => this.#guarded(() => guide.complete()),
    };
  }
}
