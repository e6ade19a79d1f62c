// The worker: owns the module, the device and the files, and answers the page.
import init, { File as Head } from "./dist/carat_web.js";
import { CaratError } from "./error.js";
import { Grammars } from "./grammar.js";
import { Origin } from "./stream.js";

/** Files up to this size are in the module's memory from the start: the CPU answers while the GPU's kernels compile. */
const KEEP = 64 << 20;
/** Positions of the cache where nobody asks for another number. */
const CONTEXT = 4096;
/** Milliseconds of work between two looks at the page's messages. */
const SLICE = 8;
/** Most tokens that a device's speed is told by, and milliseconds after which no further one is begun. */
const PACES = 8;
const PROBE = 1000;
/** How many times faster the CPU may become once the browser has optimised its code. */
const COLD = 12;
/** What every step gets that no grammar restricts. */
const FREE = new Uint32Array(0);
/** Times that a lost device is built again: without a token in between, or beside the CPU. */
const REBUILDS = 3;

const module = init();
// An error is answered to whoever waits for the module.
module.catch(() => {});

const cancelled = new Map();
let model = null;
let queue = Promise.resolve();

const send = (id, event, value) => postMessage({ id, event, value });

/** A task later: messages that have arrived are handled before. */
const turn = (() => {
  const { port1, port2 } = new MessageChannel();
  let wake = null;
  port1.onmessage = () => wake?.();
  return () =>
    new Promise((resolve) => {
      wake = resolve;
      port2.postMessage(0);
    });
})();

async function adapter() {
  try {
    return Boolean(await navigator.gpu?.requestAdapter());
  } catch {
    return false;
  }
}

/** Progress at most ten times a second, and whenever the phase changes. */
function reporter(id) {
  let last = { phase: "", at: 0 };
  const begun = performance.now();
  return (phase, reader) => {
    const now = performance.now();
    if (phase === last.phase && now - last.at < 100) return;
    last = { phase, at: now };
    const loaded = reader?.offset ?? 0;
    const total = reader?.total ?? 0;
    const bytesPerSecond = reader ? (loaded - reader.begun) / Math.max(0.001, (now - begun) / 1000) : 0;
    const secondsLeft = bytesPerSecond > 0 ? (total - loaded) / bytesPerSecond : null;
    send(id, "progress", { phase, loaded, total, bytesPerSecond, secondsLeft, fromCache: reader?.fromCache ?? false });
  };
}

/** The least of a few tokens' milliseconds by `pace()`. No more are taken when one lies outside of `from` to `to`. */
async function least(pace, most, from = 0, to = Infinity) {
  const begun = performance.now();
  let found = Infinity;
  for (let n = 0; n < most && performance.now() - begun < PROBE; n++) {
    found = Math.min(found, await pace());
    // With a full cache there is nothing to measure.
    if (found < from || found > to || found === Infinity) break;
  }
  return found;
}

/** Milliseconds of a token on both devices, as exactly as it takes to tell which is faster. */
async function race(onGpu, onCpu) {
  const gpu = await least(onGpu, PACES);
  const cpu = await least(onCpu, Infinity, gpu, COLD * gpu);
  return { gpu, cpu };
}

const paces = ({ gpu, cpu }) => `WebGPU takes ${gpu.toFixed(1)} ms for a token here, the CPU ${cpu.toFixed(1)}`;

class Model {
  /** Reads all of the file into `weights` and `upload`, which `place(head)` makes once the header is there. */
  async read(signal, report, place) {
    return this.origin.bytes(signal, async (reader) => {
      reader.begun = reader.disk;
      report("header", reader);
      const head = await reader.head((prefix, total) => new Head(prefix, total));
      const { weights, probe, upload } = await place(head, reader);
      reader.onbytes = () => report(reader.phase, reader);
      await reader.segments(head, async (start, bytes) => {
        weights?.put(start, bytes);
        probe?.put(start, bytes);
        await upload?.put(start, bytes);
      });
      report(upload ? "upload" : "verify", reader);
      return { head, weights, probe, upload };
    });
  }

  static async load({ source, device, context, cache }, signal, id) {
    const model = new Model();
    const report = reporter(id);
    const [origin, present] = await Promise.all([Origin.of(source, cache), device === "cpu" ? false : adapter(), module]);
    model.origin = origin;
    model.wanted = device;
    if (device === "webgpu" && !present) throw new CaratError("webgpu", "the browser offers no WebGPU adapter; take the device auto or cpu");
    const { head, weights, probe, upload } = await model.read(signal, report, async (head, reader) => {
      model.info = head.info();
      model.context = context ?? Math.min(CONTEXT, model.info.contextLength);
      if (reader.total <= KEEP || !present) return { weights: head.weights() };
      try {
        const upload = await head.upload(model.context);
        return { upload, probe: device === "auto" ? head.probe() : undefined };
      } catch (e) {
        // What no device takes is said before the file is fetched for another.
        if (device !== "auto" || e.code === "parameter") throw e;
        model.why = `WebGPU: ${e.message}`;
        return { weights: head.weights() };
      }
    });
    model.head = head;
    model.grammars = new Grammars(() => head.words());
    model.weights = weights;
    if (upload) {
      report("compile");
      model.engine = await upload.finish();
      if (probe) await model.weigh(probe, report, signal);
    } else if (device === "webgpu") {
      report("compile");
      model.engine = await model.uploaded();
    } else {
      model.engine = await weights.engine(model.context);
      if (present && weights) model.upgrade();
    }
    if (signal.aborted) throw new CaratError("aborted", "aborted");
    report("ready", { offset: model.info.bytes, total: model.info.bytes, begun: 0, fromCache: false });
    return model;
  }

  get device() {
    return this.engine.gpu ? "webgpu" : "cpu";
  }

  /** An engine on the GPU, from the weights in memory or read again. */
  async uploaded() {
    let upload;
    if (this.weights) {
      upload = await this.head.upload(this.context);
      await upload.put_all(this.weights);
    } else {
      ({ upload } = await this.read(undefined, () => {}, async () => ({ upload: await this.head.upload(this.context) })));
    }
    return upload.finish();
  }

  /** An engine on the CPU, from the weights in memory or read again. */
  async held(report = () => {}, signal = undefined) {
    if (!this.weights) {
      const { weights } = await this.read(signal, report, async () => ({ weights: this.head.weights() }));
      this.weights = weights;
    }
    return this.weights.engine(this.context);
  }

  /** Builds another engine beside the one that answers; the next step, or this, moves there. */
  prepare(building) {
    this.next = null;
    building.then(
      (engine) => {
        this.next = engine;
        queue = queue.then(() => this.move("the kernels are compiled"));
      },
      (e) => console.warn(`carat: ${this.device} is kept: ${e.message}`),
    );
  }

  /** Builds the GPU's engine beside the CPU's. */
  upgrade() {
    this.prepare(this.uploaded());
  }

  /** Changes to the CPU where a part of the model, and then the whole, says that it is faster. */
  async weigh(probe, report, signal) {
    try {
      const part = await race(() => this.engine.pace(0, 1), () => probe.pace(1));
      probe.free();
      if (part.gpu <= part.cpu) return;
      // Where nothing is stored the file comes over the network once more: the GPU answers meanwhile.
      if (!this.origin.nearby) return this.prepare(this.held());
      const next = await this.held(report, signal);
      const cpu = await least(() => next.pace(0, 1), Infinity, part.gpu);
      if (part.gpu <= cpu) {
        next.free();
        this.drop();
        return;
      }
      await this.engine.move_to(next);
      this.why = paces({ gpu: part.gpu, cpu });
    } catch (e) {
      console.warn(`carat: WebGPU is kept: ${e.message}`);
    }
  }

  /** Moves to the engine that is ready, if one is. Where the device is free to choose, not to one that is slower. */
  async move(why, compare = this.wanted === "auto") {
    const next = this.next;
    if (!next) return;
    this.next = null;
    try {
      if (compare && next.gpu !== this.engine.gpu) {
        const { used } = this.engine;
        const [onCpu, onGpu] = next.gpu ? [this.engine, next] : [next, this.engine];
        const both = await race(() => onGpu.pace(used, 1), () => onCpu.pace(used, 1));
        const { gpu, cpu } = both;
        // With a full cache neither can be measured.
        if (gpu > cpu === next.gpu) {
          next.free();
          if (this.engine.gpu) this.drop();
          send(0, "device", { device: this.device, why: paces(both), change: "kept" });
          return;
        }
        if (gpu !== cpu) why = paces(both);
      }
      const change = next.gpu === this.engine.gpu ? "rebuilt" : "moved";
      await this.engine.move_to(next);
      send(0, "device", { device: this.device, why, change });
    } catch (e) {
      console.warn(`carat: ${this.device} is kept: ${e.message}`);
    }
  }

  /** Gives back the memory of weights that only the CPU would read. */
  drop() {
    if (this.info.bytes <= KEEP) return;
    this.weights?.free();
    this.weights = null;
  }

  /** After a device failed: the tokens go on elsewhere, or the error comes out. */
  async recover(error, attempts) {
    // What a lost device is asked for may fail before its loss is told.
    if (error.code !== "device-lost" && error.code !== "webgpu") throw error;
    if (!this.engine.gpu || attempts > REBUILDS) throw error;
    const cpu = this.weights && this.wanted === "auto";
    this.next = cpu ? await this.weights.engine(this.context) : await this.uploaded();
    await this.move(error.message, false);
    this.losses = (this.losses ?? 0) + 1;
    if (cpu && this.losses <= REBUILDS) this.upgrade();
  }

  async generate(id, prompt, options) {
    const begun = performance.now();
    let first = 0;
    let attempts = 0;
    let count = 0;
    const guide = await this.grammars.guide(options);
    const after = Uint32Array.from(options.after ?? []);
    const soFar = after.length ? this.engine.resume(prompt, after, options, guide !== null) : undefined;
    let text = soFar ?? "";
    // Of what is known only the text is sent, in one piece, whether it was held or is computed again.
    let known = 0;
    if (soFar === undefined) this.engine.start(prompt, options, guide !== null);
    else {
      for (const id of after) guide?.accept(id);
      known = after.length;
      send(id, "piece", { text, id: null, logitsHash: this.engine.hash });
    }
    for (let slice = begun; ; ) {
      await this.move("the kernels are compiled");
      if (cancelled.get(id)) this.engine.cancel();
      let step;
      try {
        step = await this.engine.step(guide?.mask() ?? FREE);
        attempts = 0;
      } catch (e) {
        await this.recover(e, ++attempts);
        continue;
      }
      if (step === null) break;
      if (step.id !== undefined) {
        guide?.accept(step.id);
        if (known < after.length) {
          if (step.id !== after[known]) {
            throw new CaratError("parameter", `'after' is not what this prompt and these settings give: token ${known} is ${step.id}, expected ${after[known]}`);
          }
          text += step.text;
          if (++known === after.length) send(id, "piece", { text, id: null, logitsHash: step.hash });
        } else {
          count++;
          first ||= performance.now();
          send(id, "piece", { text: step.text, id: step.id, logitsHash: step.hash });
        }
      }
      if (performance.now() - slice >= SLICE) {
        await turn();
        slice = performance.now();
      }
    }
    const end = performance.now();
    const { ids, text: whole, tail, reason, complete, logitsHash, sampling } = this.engine.finish(guide?.complete() ?? false);
    if (tail) send(id, "piece", { text: tail, id: null, logitsHash });
    return {
      ids: Array.from(ids),
      text: whole,
      reason,
      complete: complete ?? null,
      logitsHash,
      sampling,
      promptTokens: prompt.length,
      generatedTokens: ids.length,
      msToFirstToken: first ? first - begun : 0,
      tokensPerSecond: count > 1 ? ((count - 1) * 1000) / (end - first) : 0,
      device: this.device,
    };
  }
}

const operations = {
  async load(value, id) {
    const abort = new AbortController();
    cancelled.set(id, () => abort.abort());
    model = await Model.load(value, abort.signal, id);
    return { info: model.info, device: model.device, why: model.why ?? null, context: model.context, key: model.origin.cached ? model.origin.key : null };
  },
  tokenize: ({ text, special }) => Array.from(model.head.tokenize(String(text), Boolean(special))),
  detokenize: ({ ids }) => model.head.detokenize(Uint32Array.from(ids)),
  generate: ({ prompt, options }, id) =>
    alone(() => model.generate(id, typeof prompt === "string" ? model.head.prompt(prompt) : Uint32Array.from(prompt), options)),
  save: () => alone(() => model.engine.save()),
  restore: ({ bytes }) =>
    alone(() => {
      const { prompt, ids } = model.engine.restore(bytes);
      return { prompt: Array.from(prompt), ids: Array.from(ids) };
    }),
  chat: ({ talk, options }, id) => alone(() => model.generate(id, model.head.chat(talk, Date.now() / 1000), options)),
};

/** One generation at a time. */
function alone(work) {
  const done = queue.then(work);
  queue = done.then(
    () => {},
    () => {},
  );
  return done;
}

onmessage = async ({ data: { id, op, value } }) => {
  if (op === "cancel") {
    const call = cancelled.get(id);
    if (typeof call === "function") call();
    else if (call === false) cancelled.set(id, true);
    return;
  }
  cancelled.set(id, false);
  try {
    postMessage({ id, value: await operations[op](value, id) });
  } catch (e) {
    const { code, message } = CaratError.of(e);
    postMessage({ id, error: { code, message } });
  } finally {
    cancelled.delete(id);
  }
};
