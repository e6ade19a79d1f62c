// Files in the origin's private file system: `carat/KEY/` holds `data`, the file's bytes; `meta`, what it is; and `journal`, how
// many bytes from the start are there and whether all of them were checked.
import { CaratError } from "./error.js";

/** Begins the keys that `list` gives and `load` takes. */
export const PREFIX = "opfs:";
const FOLDER = "carat";

async function folder(create) {
  try {
    const root = await navigator.storage.getDirectory();
    return await root.getDirectoryHandle(FOLDER, { create });
  } catch (e) {
    if (!create && e.name === "NotFoundError") return null;
    throw new CaratError("storage", `the browser gives no storage: ${e.message}`, { cause: e });
  }
}

function name(key) {
  const found = new RegExp(`^${PREFIX}([0-9a-f]{32})$`).exec(key)?.[1];
  if (!found) throw new CaratError("storage", `'${key}' is no key; storage.list() gives those there are`);
  return found;
}

/** The key of what has this address, or this name, size and time. */
export async function keyOf(identity) {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(identity));
  return PREFIX + Array.from(new Uint8Array(digest, 0, 16), (b) => b.toString(16).padStart(2, "0")).join("");
}

/** Runs `work` alone among all tabs, or beside other readers. */
export async function locked(key, mode, signal, work) {
  if (!navigator.locks) return work();
  return navigator.locks.request(`carat:${key}`, { mode, signal }, work);
}

async function read(dir, file) {
  try {
    return await (await dir.getFileHandle(file)).getFile();
  } catch (e) {
    if (e.name === "NotFoundError") return null;
    throw new CaratError("storage", e.message, { cause: e });
  }
}

async function state(dir) {
  const [meta, journal, data] = await Promise.all(["meta", "journal", "data"].map((f) => read(dir, f)));
  let about = null;
  try {
    about = meta && JSON.parse(await meta.text());
  } catch {
    // Half written: as if it was not there.
  }
  // Another tab may be writing it: then as if it was not there either.
  const words = await journal?.arrayBuffer().catch(() => null);
  const record = words?.byteLength === 24 ? new Float64Array(words) : null;
  const sound = about && record && record[0] === -record[1] && data && data.size >= record[0] && record[0] <= about.bytes;
  return sound
    ? { about, received: record[0], complete: record[2] === 1 && record[0] === about.bytes, data }
    : { about, received: 0, complete: false, data };
}

/** What is stored under a key, or null. */
export async function find(key) {
  const all = await folder(false);
  if (!all) return null;
  let dir;
  try {
    dir = await all.getDirectoryHandle(name(key));
  } catch (e) {
    if (e.name === "NotFoundError") return null;
    throw new CaratError("storage", e.message, { cause: e });
  }
  return state(dir);
}

export async function list() {
  const all = await folder(false);
  const out = [];
  if (all) {
    for await (const [hex, dir] of all.entries()) {
      if (dir.kind !== "directory") continue;
      const { about, complete, received, data } = await state(dir);
      out.push({
        key: PREFIX + hex,
        url: about?.url ?? null,
        name: about?.name ?? "",
        bytes: about?.bytes ?? 0,
        complete,
        storedBytes: Math.min(data?.size ?? 0, Math.max(received, complete ? about.bytes : received)),
      });
    }
  }
  return out.sort((a, b) => (a.key < b.key ? -1 : 1));
}

export async function remove(key) {
  const hex = name(key);
  const all = await folder(false);
  if (!all) return;
  const gone = async (lock) => {
    if (lock === null) throw new CaratError("storage", "the file is being loaded; try again when it is done");
    try {
      await all.removeEntry(hex, { recursive: true });
    } catch (e) {
      if (e.name !== "NotFoundError") throw new CaratError("storage", e.message, { cause: e });
    }
  };
  if (!navigator.locks) return gone();
  return navigator.locks.request(`carat:${key}`, { ifAvailable: true }, gone);
}

export async function estimate() {
  try {
    const { usage = 0, quota = 0 } = await navigator.storage.estimate();
    return { usage, quota };
  } catch (e) {
    throw new CaratError("storage", `the browser does not say how much it stores: ${e.message}`, { cause: e });
  }
}

/** Writes one file, in a worker and under an exclusive lock. */
export class Writer {
  /** Opens what is stored under the key; what is there stays if `about` says the same. */
  static async open(key) {
    const all = await folder(true);
    const dir = await all.getDirectoryHandle(name(key), { create: true });
    const { received, about } = await state(dir);
    const open = async (file) => (await dir.getFileHandle(file, { create: true })).createSyncAccessHandle();
    const writer = new Writer();
    writer.about = about;
    writer.received = received;
    writer.marked = received;
    try {
      writer.data = await open("data");
      writer.journal = await open("journal");
      writer.meta = await open("meta");
    } catch (e) {
      writer.close();
      throw new CaratError("storage", e.message, { cause: e });
    }
    return writer;
  }

  /** Forgets the bytes and says what comes instead. */
  restart(about) {
    this.about = about;
    this.received = 0;
    this.mark(false);
    const text = new TextEncoder().encode(JSON.stringify(about));
    this.meta.truncate(0);
    this.meta.write(text, { at: 0 });
    this.meta.flush();
  }

  read(target, at) {
    return this.data.read(target, { at });
  }

  /** Puts bytes in their place. */
  put(bytes, at) {
    if (this.data.write(bytes, { at }) !== bytes.length) throw new CaratError("storage", "the storage is full");
  }

  /** Puts the next bytes; they count once marked. */
  append(bytes) {
    this.put(bytes, this.received);
    this.received += bytes.length;
    if (this.received - this.marked >= 1 << 20) this.mark(false);
  }

  mark(complete) {
    this.data.flush();
    const record = new Float64Array([this.received, -this.received, complete ? 1 : 0]);
    this.journal.write(new Uint8Array(record.buffer), { at: 0 });
    this.journal.flush();
    this.marked = this.received;
  }

  close() {
    for (const handle of [this.data, this.journal, this.meta]) handle?.close();
  }
}
