// A static server for trying the page: node examples/web/serve.mjs [DIRECTORY] [PORT]. Ranges, types, nothing else.

import { createReadStream, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
  '.wasm': 'application/wasm',
};

/**
 * Serves directories, the first that has a file wins. `before(request, response)` may answer in its place by
 * returning true.
 */
export function serve(directories, port = 0, before = () => false) {
  const server = createServer((request, response) => {
    if (before(request, response)) return;
    const path = normalize(decodeURIComponent(new URL(request.url, 'http://localhost').pathname));
    const file = directories.map((d) => find(resolve(d), path)).find(Boolean);
    if (!file) return void response.writeHead(404).end('not found');
    const { size, mtimeMs } = statSync(file);
    const headers = { 'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream', 'Accept-Ranges': 'bytes', ETag: `"${size}-${Math.round(mtimeMs)}"`, 'Cache-Control': 'no-cache' };
    const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
    const from = range ? Number(range[1]) : 0;
    const to = range?.[2] ? Math.min(Number(range[2]), size - 1) : size - 1;
    if (range && from > to) return void response.writeHead(416, { 'Content-Range': `bytes */${size}` }).end();
    if (range) headers['Content-Range'] = `bytes ${from}-${to}/${size}`;
    headers['Content-Length'] = Math.max(0, to - from + 1);
    response.writeHead(range ? 206 : 200, headers);
    if (request.method === 'HEAD' || size === 0) return void response.end();
    createReadStream(file, { start: from, end: to }).pipe(response);
  });
  return new Promise((done) => server.listen(port, '127.0.0.1', () => done({ port: server.address().port, url: `http://127.0.0.1:${server.address().port}/`, close: () => (server.closeAllConnections(), server.close()) })));
}

function find(root, path) {
  const file = join(root, path.endsWith(sep) ? `${path}index.html` : path);
  if (file !== root && !file.startsWith(root + sep)) return null;
  const stat = statSync(file, { throwIfNoEntry: false });
  return stat?.isFile() ? file : null;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [directory = fileURLToPath(new URL('dist', import.meta.url)), port = '8080'] = process.argv.slice(2);
  console.log((await serve([directory], Number(port))).url);
}
