// Bytes of a file in order, from an address by ranges or from a Blob, and single ranges for repairs.
import { CaratError } from "./error.js";

/** Waits in milliseconds before each new attempt after one that brought nothing. */
const WAITS = [100, 400, 1200, 3000];

const pause = (ms, signal) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => (clearTimeout(timer), reject(new CaratError("aborted", "aborted"))), { once: true });
  });

/** An answer's body from byte `offset` on, whether or not the server knows ranges. */
async function request(url, offset, end, signal) {
  const range = `bytes=${offset}-${end === undefined ? "" : end - 1}`;
  let response;
  try {
    response = await fetch(url, { headers: { Range: range }, signal });
  } catch (e) {
    if (signal?.aborted) throw new CaratError("aborted", "aborted", { cause: e });
    throw Object.assign(new CaratError("network", `${url}: ${e.message}`, { cause: e }), { again: true });
  }
  if (!response.ok) {
    await response.body?.cancel().catch(() => {});
    const error = new CaratError("network", `${url}: the server answers ${response.status} ${response.statusText}`);
    throw Object.assign(error, { again: response.status >= 500 || response.status === 429, status: response.status });
  }
  const partial = response.status === 206;
  // A body that was packed for the way is longer than its length.
  const length = response.headers.get("content-encoding") ? NaN : Number(response.headers.get("content-length") ?? NaN);
  // Another origin shows a range's place only where it says so; of a range to the file's end the length tells as much.
  const stated = partial ? /\/(\d+)$/.exec(response.headers.get("content-range") ?? "")?.[1] : undefined;
  const total = stated !== undefined ? Number(stated) : partial && end === undefined ? offset + length : length;
  return {
    reader: response.body.getReader(),
    skip: partial ? 0 : offset,
    total,
    tag: response.headers.get("etag") ?? response.headers.get("last-modified"),
  };
}

export class Remote {
  constructor(url, signal) {
    this.url = url;
    this.signal = signal;
    this.offset = 0;
    this.open = null;
    this.rest = null;
    this.failures = 0;
  }

  get name() {
    return decodeURIComponent(new URL(this.url).pathname.split("/").pop() ?? "");
  }

  /** Length and version of the file; the next bytes are those from `offset` on. */
  async begin(offset) {
    await this.stop();
    this.offset = offset;
    for (;;) {
      try {
        this.open = await request(this.url, this.offset, undefined, this.signal);
        break;
      } catch (e) {
        // The file became shorter: its length comes from its beginning.
        if (e.status === 416 && this.offset) this.offset = 0;
        else await this.again(e);
      }
    }
    const { total, tag } = this.open;
    if (!Number.isSafeInteger(total)) {
      throw new CaratError("network", `${this.url}: the server does not say how long the file is; it should answer ranges, or state Content-Length`);
    }
    this.total = total;
    return { total, tag };
  }

  async again(error) {
    if (!error.again || this.failures >= WAITS.length) throw error;
    await pause(WAITS[this.failures++], this.signal);
  }

  /** The next bytes, at most `most`; at the end null. */
  async next(most) {
    for (;;) {
      if (this.rest?.length) {
        const given = this.rest.subarray(0, most);
        this.rest = this.rest.subarray(given.length);
        this.offset += given.length;
        return given;
      }
      if (this.offset >= this.total) return null;
      try {
        this.open ??= await request(this.url, this.offset, undefined, this.signal);
        let { value, done } = await this.open.reader.read();
        if (done) throw new Error("the connection was cut");
        if (this.open.skip) {
          const left = Math.min(this.open.skip, value.length);
          this.open.skip -= left;
          value = value.subarray(left);
        }
        if (value.length) this.failures = 0;
        this.rest = value;
      } catch (e) {
        this.open = null;
        if (this.signal?.aborted) throw new CaratError("aborted", "aborted", { cause: e });
        const cut = e instanceof CaratError ? e : Object.assign(new CaratError("network", `${this.url}: ${e.message}`, { cause: e }), { again: true });
        await this.again(cut);
      }
    }
  }

  /** One range alone. */
  async range(start, end) {
    const part = new Remote(this.url, this.signal);
    part.offset = start;
    part.total = end;
    part.open = await request(this.url, start, end, this.signal);
    const out = new Uint8Array(end - start);
    for (let at = 0; at < out.length; ) {
      const bytes = await part.next(out.length - at);
      out.set(bytes, at);
      at += bytes.length;
    }
    await part.stop();
    return out;
  }

  async stop() {
    const { reader } = this.open ?? {};
    this.open = null;
    this.rest = null;
    await reader?.cancel().catch(() => {});
  }
}

export class Local {
  constructor(blob, signal) {
    this.blob = blob;
    this.signal = signal;
    this.offset = 0;
  }

  get name() {
    return this.blob.name ?? "";
  }

  async begin(offset) {
    this.offset = offset;
    return { total: this.blob.size, tag: null };
  }

  async next(most) {
    if (this.signal?.aborted) throw new CaratError("aborted", "aborted");
    const bytes = await this.range(this.offset, Math.min(this.blob.size, this.offset + Math.min(most, 1 << 20)));
    this.offset += bytes.length;
    return bytes.length ? bytes : null;
  }

  async range(start, end) {
    try {
      return new Uint8Array(await this.blob.slice(start, end).arrayBuffer());
    } catch (e) {
      throw new CaratError("storage", `the file cannot be read: ${e.message}`, { cause: e });
    }
  }

  async stop() {}
}
