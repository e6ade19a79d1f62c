// A whole file in order, from the cache as far as it goes and then from its source: the header first, then every segment,
// checked, repaired where it is damaged, and stored.
import { CaratError } from "./error.js";
import { Local, Remote } from "./source.js";
import * as store from "./store.js";

/** Times that a damaged segment is fetched again. */
const REPAIRS = 2;

/** Where a file comes from: an address, a Blob, or a key alone. */
export class Origin {
  static async of(source, cache) {
    const origin = new Origin();
    origin.cached = cache === "opfs" && Boolean(globalThis.navigator?.storage?.getDirectory);
    if (typeof source !== "string") {
      origin.blob = source;
      const identity = `${source.name ?? ""}\n${source.size}\n${source.lastModified ?? 0}`;
      // Without a name and a time nothing tells two of one size apart.
      if (source.name === undefined) origin.cached = false;
      else if (origin.cached) origin.key = await store.keyOf(identity);
    } else if (source.startsWith(store.PREFIX)) {
      origin.cached = true;
      origin.key = source;
      const found = await store.find(source);
      if (!found?.about) throw new CaratError("storage", `nothing is stored under '${source}'`);
      origin.url = found.about.url;
      if (!origin.url && !found.complete) throw new CaratError("storage", "the file was not stored as a whole; choose it again");
    } else {
      origin.url = source;
      if (origin.cached) origin.key = await store.keyOf(source);
    }
    return origin;
  }

  /** Whether it can be read again without the network. */
  get nearby() {
    return this.cached || Boolean(this.blob);
  }

  source(signal) {
    if (this.blob) return new Local(this.blob, signal);
    return this.url ? new Remote(this.url, signal) : null;
  }

  /** Runs `work` with the file's bytes in order. Storage that fails costs nothing but what it would have kept. */
  async bytes(signal, work) {
    let found = null;
    try {
      found = this.cached ? await store.find(this.key) : null;
    } catch (e) {
      if (!this.source(signal)) throw e;
      unkept(e);
      this.cached = false;
    }
    if (!this.cached) return this.#with(null, signal, work);
    if (found?.complete) {
      const done = await store.locked(this.key, "shared", signal, async () => {
        const found = await store.find(this.key);
        return found?.complete ? this.#stored(found, signal, work) : null;
      });
      if (done) return done.value;
    }
    return store.locked(this.key, "exclusive", signal, async () => {
      const found = await store.find(this.key);
      // Another tab was faster.
      const done = found?.complete ? await this.#stored(found, signal, work) : null;
      if (done) return done.value;
      let writer = null;
      try {
        writer = await store.Writer.open(this.key);
        // What is there as a whole and cannot be read is fetched anew.
        if (found?.complete) writer.received = 0;
      } catch (e) {
        unkept(e);
      }
      try {
        return await this.#with(writer, signal, work);
      } finally {
        writer?.close();
      }
    });
  }

  /** With a file that is there as a whole: `{ value }`, or null where its header is damaged and can be fetched. */
  async #stored(found, signal, work) {
    const reader = new Reader(new Local(found.data, signal), null);
    reader.stored = true;
    reader.total = found.about.bytes;
    reader.damaged = async (start, end) => {
      const bytes = await this.source(signal)?.range(start, end);
      if (bytes) reader.mend.push([start, bytes]);
      return bytes;
    };
    let value;
    try {
      value = await work(reader);
    } catch (e) {
      if (reader.illegible && this.source(signal)) return null;
      throw e;
    }
    // What was damaged on the disk is put right there.
    if (reader.mend.length) {
      let writer = null;
      try {
        writer = await store.Writer.open(this.key);
        for (const [start, bytes] of reader.mend) writer.put(bytes, start);
        writer.mark(true);
      } catch (e) {
        console.warn(`carat: the stored file is not mended: ${e.message}`);
      } finally {
        writer?.close();
      }
    }
    return { value };
  }

  async #with(writer, signal, work) {
    const source = this.source(signal);
    if (!source) throw new CaratError("storage", "the file was not stored as a whole");
    const reader = new Reader(source, writer);
    try {
      const from = writer?.received ?? 0;
      // Everything is there and only its checks are missing: the network is not asked.
      if (from && from === writer.about.bytes) reader.total = from;
      else {
        const { total, tag } = await source.begin(from);
        reader.total = total;
        const same = from && writer.about.bytes === total && writer.about.tag === tag;
        if (!same) {
          reader.disk = 0;
          reader.keep((w) => w.restart({ url: this.url ?? null, name: source.name, bytes: total, tag }));
          if (from) await source.begin(0);
        }
      }
      reader.damaged = (start, end) => source.range(start, end);
      const value = await work(reader);
      reader.keep((w) => w.mark(true));
      return value;
    } catch (e) {
      try {
        reader.writer?.mark(false);
      } catch {
        // The first error says more.
      }
      throw e;
    } finally {
      await source.stop();
    }
  }
}

const unkept = (e) => console.warn(`carat: the file is not stored: ${e.message}`);

/** Bytes in order. */
class Reader {
  constructor(source, writer) {
    this.source = source;
    this.writer = writer;
    this.offset = 0;
    this.total = 0;
    /** Bytes that came over the network, or from the Blob. */
    this.fetched = 0;
    this.mend = [];
    /** Whether the header could not be read. */
    this.illegible = false;
    /** Whether the whole file is in the cache. */
    this.stored = false;
    /** A writer that failed. */
    this.kept = null;
    this.disk = writer?.received ?? 0;
    this.onbytes = null;
  }

  /** Whether the next bytes are in the cache. */
  get fromCache() {
    return this.stored || this.offset < this.disk;
  }

  /** What getting the next bytes is: of the cache they are only checked, a file of this device is read. */
  get phase() {
    if (this.fromCache) return "verify";
    return this.source instanceof Local ? "read" : "download";
  }

  /** Fills the target with the next bytes. */
  async fill(target) {
    for (let at = 0; at < target.length; ) {
      const rest = target.subarray(at);
      let bytes = 0;
      if (this.offset < this.disk) {
        const part = rest.subarray(0, Math.min(rest.length, this.disk - this.offset));
        bytes = (this.writer ?? this.kept).read(part, this.offset);
        if (bytes <= 0) throw new CaratError("storage", "the stored file cannot be read; remove it and load it again");
      } else {
        const chunk = await this.source.next(rest.length);
        if (!chunk) throw new CaratError("format", `the file ends at byte ${this.offset}; expected ${this.total}`);
        rest.set(chunk);
        bytes = chunk.length;
        this.fetched += bytes;
        this.keep((w) => w.append(chunk));
      }
      at += bytes;
      this.offset += bytes;
      this.onbytes?.();
    }
  }

  /** Does something with the storage, and goes on without it where that fails: a full disk does not stop a model that fits. */
  keep(act) {
    const { writer } = this;
    if (!writer) return;
    try {
      act(writer);
    } catch (e) {
      unkept(e);
      // What is on the disk and not read yet is still read from there.
      this.kept = writer;
      this.writer = null;
      try {
        writer.received = 0;
        writer.mark(false);
        if (this.offset >= this.disk) writer.data.truncate(0);
      } catch {
        // A length that does not fit its data counts as nothing too.
      }
    }
  }

  /** Reads the header: `parse(prefix, total)` gives an object that says in `need` how much it wants. */
  async head(parse) {
    let prefix = new Uint8Array(0);
    let need = Math.min(this.total, 1 << 16);
    for (;;) {
      const longer = new Uint8Array(need);
      longer.set(prefix);
      await this.fill(longer.subarray(prefix.length));
      prefix = longer;
      let file;
      try {
        file = parse(prefix, this.total);
      } catch (e) {
        this.illegible = true;
        // The next attempt fetches it anew.
        if (this.writer) this.writer.received = 0;
        throw e;
      }
      if (!file.need) {
        this.prefix = prefix;
        // Padding between the header and the first segment.
        const gap = file.start(0) - prefix.length;
        if (gap > 0) await this.fill(new Uint8Array(gap));
        return file;
      }
      need = file.need;
      file.free();
    }
  }

  /** Every segment, checked by `check(index, bytes)`, to `take(start, bytes)`. */
  async segments(file, take) {
    const count = file.segments;
    let buffer = null;
    for (let i = 0; i < count; i++) {
      const start = file.start(i);
      const end = file.start(i + 1);
      if (buffer?.length !== end - start) buffer = new Uint8Array(end - start);
      // The header's request may have brought the beginning.
      const early = this.prefix.subarray(Math.min(start, this.prefix.length), Math.min(end, this.prefix.length));
      buffer.set(early);
      await this.fill(buffer.subarray(early.length));
      let bytes = buffer;
      for (let tries = 0; ; tries++) {
        try {
          file.check(i, bytes);
          break;
        } catch (e) {
          if (e.code !== "hash" || tries >= REPAIRS) {
            // A later attempt fetches it anew.
            if (this.writer) this.writer.received = Math.min(this.writer.received, start);
            throw e;
          }
          const again = await this.damaged?.(start, end);
          if (!again) throw e;
          bytes = again;
        }
      }
      if (bytes !== buffer) this.keep((w) => w.put(bytes, start));
      await take(start, bytes);
    }
    this.prefix = null;
  }
}
