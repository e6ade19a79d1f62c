// A module's size against its limits, and what weighs how much: `weigh.mjs KIND MODULE [THE SAME WITH NAMES]`.
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

/** What each module may weigh, as it is and compressed. */
const LIMITS = {
  engine: { bytes: 1_600_000, gzip: 600_000 },
  // Fetched only where a text has a schema or a grammar.
  grammar: { bytes: 1_600_000, gzip: 600_000 },
};

const kind = process.argv[2];
const most = LIMITS[kind];
const bytes = readFileSync(process.argv[3]);
const gzip = gzipSync(bytes, { level: 9 }).length;
console.log(`${kind}: ${bytes.length} bytes, at most ${most.bytes}; gzipped ${gzip}, at most ${most.gzip}`);
if (process.argv[4]) table(readFileSync(process.argv[4]));
if (bytes.length > most.bytes || gzip > most.gzip) {
  console.error(`the module '${kind}' is too large`);
  process.exit(1);
}

/** Sections, and functions by the crate that their name begins with. */
function table(named) {
  let at = 8;
  const u32 = () => {
    for (let value = 0, shift = 0; ; shift += 7) {
      const byte = named[at++];
      value |= (byte & 127) << shift;
      if (byte < 128) return value >>> 0;
    }
  };
  const text = () => {
    const length = u32();
    at += length;
    return named.toString("utf8", at - length, at);
  };
  const kinds = { 0: "custom", 1: "type", 2: "import", 3: "function", 4: "table", 5: "memory", 6: "global", 7: "export", 9: "element", 10: "code", 11: "data", 12: "data count" };
  let imports = 0;
  const sizes = new Map();
  const bodies = [];
  const names = new Map();
  while (at < named.length) {
    const id = named[at++];
    const length = u32();
    const end = at + length;
    if (id !== 0) sizes.set(kinds[id] ?? id, length);
    if (id === 2) {
      for (let n = u32(); n > 0; n--) {
        text();
        text();
        const kind = named[at++];
        if (kind === 0) { imports++; u32(); }
        else if (kind === 3) at += 2;
        else { if (kind === 1) at++; const flags = u32(); u32(); if (flags & 1) u32(); }
      }
    } else if (id === 10) {
      for (let n = u32(); n > 0; n--) {
        const size = u32();
        bodies.push(size);
        at += size;
      }
    } else if (id === 0 && text() === "name") {
      while (at < end) {
        const part = named[at++];
        const stop = u32() + at;
        if (part === 1) for (let n = u32(); n > 0; n--) { const index = u32(); names.set(index, text()); }
        at = stop;
      }
    }
    at = end;
  }
  const crates = new Map();
  bodies.forEach((size, i) => {
    const name = names.get(i + imports) ?? "";
    const crate = /([a-z_][a-z0-9_]*)(\[[0-9a-f]+\])?::/.exec(name)?.[1] ?? mangled(name) ?? "other";
    crates.set(crate, (crates.get(crate) ?? 0) + size);
  });
  const rows = [...[...sizes].filter(([k]) => k !== "code"), ...[...crates].map(([k, v]) => [`code of ${k}`, v])];
  rows.sort((a, b) => b[1] - a[1]);
  for (const [what, size] of rows.slice(0, 24)) console.log(`${String(size).padStart(9)}  ${what}`);
}

/** The crate of a mangled name, old style or new. */
function mangled(name) {
  const legacy = /^_ZN(\d+)/.exec(name);
  if (legacy) return name.slice(legacy[0].length, legacy[0].length + Number(legacy[1])).replace(/^_?\$.*$/, "generic");
  const modern = /C(?:s[0-9A-Za-z]*_)?(\d+)_?([a-z_][a-z0-9_]*)/.exec(name);
  return modern ? modern[2].slice(0, Number(modern[1])) : null;
}
