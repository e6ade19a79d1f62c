// A static server with ranges and cross-origin isolation, which can misbehave on request: `/model?cut=N` ends every connection
// after N bytes of the body, `flip=N` changes byte N in the first answer that has it, `always=1` in every one, `plain=1` knows no ranges, `cors=1` lets
// other origins read the body and no more, `sick=1` answers the first request with a page that is no model.
import { createReadStream, existsSync, openSync, readSync, closeSync, statSync } from "node:fs";
import http from "node:http";
import path from "node:path";

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm", ".json": "application/json" };

/** `mounts`: path prefix to directory or file. */
export function serve(mounts) {
  const flipped = new Set();
  const sick = new Set();
  const log = [];
  const server = http.createServer((req, res) => {
    const url = new URL(req.url, "http://local");
    const headers = {
      "Cache-Control": "no-store",
      "Cross-Origin-Opener-Policy": "same-origin",
      "Cross-Origin-Embedder-Policy": "require-corp",
      "Cross-Origin-Resource-Policy": "same-origin",
    };
    const mount = Object.keys(mounts).filter((m) => url.pathname.startsWith(m)).sort((a, b) => b.length - a.length)[0];
    let file = mount && path.join(mounts[mount], decodeURIComponent(url.pathname.slice(mount.length)));
    if (!file || !file.startsWith(path.resolve(mounts[mount])) || !existsSync(file) || statSync(file).isDirectory()) {
      res.writeHead(404, headers).end("not here");
      return;
    }
    const query = url.searchParams;
    if (query.get("cors")) {
      headers["Access-Control-Allow-Origin"] = "*";
      headers["Cross-Origin-Resource-Policy"] = "cross-origin";
    }
    if (query.get("sick") && !sick.has(req.url)) {
      sick.add(req.url);
      const body = "<p>Come back later.";
      res.writeHead(200, { ...headers, "Content-Length": body.length }).end(body);
      return;
    }
    const size = statSync(file).size;
    headers["Content-Type"] = TYPES[path.extname(file)] ?? "application/octet-stream";
    headers.ETag = `"${size}-${query.get("version") ?? 1}"`;
    const range = query.get("plain") ? null : /^bytes=(\d+)-(\d*)$/.exec(req.headers.range ?? "");
    const start = range ? Number(range[1]) : 0;
    if (start >= size) {
      headers["Content-Range"] = `bytes */${size}`;
      res.writeHead(416, headers).end();
      return;
    }
    const end = range?.[2] ? Math.min(Number(range[2]), size - 1) : size - 1;
    if (range) headers["Content-Range"] = `bytes ${start}-${end}/${size}`;
    headers["Content-Length"] = end - start + 1;
    log.push({ url: req.url, start, end });
    res.writeHead(range ? 206 : 200, headers);
    const flip = Number(query.get("flip") ?? -1);
    const cut = Number(query.get("cut") ?? Infinity);
    const mark = `${req.url}`;
    const damage = flip >= start && flip <= end && (query.get("always") || !flipped.has(mark));
    if (damage) flipped.add(mark);
    if (!damage && cut === Infinity) {
      createReadStream(file, { start, end }).pipe(res);
      return;
    }
    const bytes = Buffer.alloc(Math.min(end - start + 1, cut));
    const handle = openSync(file);
    readSync(handle, bytes, 0, bytes.length, start);
    closeSync(handle);
    if (damage && flip - start < bytes.length) bytes[flip - start] ^= 0x40;
    if (bytes.length < end - start + 1) res.write(bytes, () => setTimeout(() => res.destroy(), 30));
    else res.end(bytes);
  });
  return new Promise((ready) => {
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      ready({ origin: `http://127.0.0.1:${port}`, log, close: () => server.close() });
    });
  });
}
