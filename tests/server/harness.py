"""A server under test: started, asked over raw sockets, looked at, ended. The standard library alone."""

import asyncio
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Failed(Exception):
    """A check did not hold."""


def check(holds, what):
    if not holds:
        raise Failed(what)


class Busy(Exception):
    """The server asks to come again later."""


class Server:
    """`carat serve` on a free port."""

    def __init__(self, program, model, *flags):
        command = [program, "serve", str(model), "--port", "0", "--json", *map(str, flags)]
        environment = {**os.environ, "CARAT_LOG": "warn"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"the server did not start: {self.process.stderr.read()}")
        self.host, port = json.loads(line)["address"].rsplit(":", 1)
        self.port = int(port)

    def rss(self):
        """Resident memory in bytes."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) * 1024

    def end(self):
        """Ctrl-C: it must end by itself."""
        self.process.send_signal(signal.SIGINT)
        try:
            code = self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Failed("the server did not end after Ctrl-C")
        error = self.process.stderr.read()
        check(code == 0, f"the server ended with {code}: {error[-2000:]}")
        check("panicked" not in error, f"a thread panicked: {error[-2000:]}")
        return error

    def kill(self):
        self.process.kill()
        self.process.wait()

    async def send(self, data, wait=30.0, half=False):
        """Sends bytes, and returns whatever comes back until the server closes or is silent."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            try:
                writer.write(data)
                await writer.drain()
                if half:
                    writer.write_eof()
                return await asyncio.wait_for(reader.read(), wait)
            except (ConnectionError, asyncio.TimeoutError):
                return b""
        finally:
            writer.close()

    def request(self, method, path, body=None, headers=()):
        """The bytes of a request whose connection closes after it."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        body = body or b""
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    async def ask(self, method, path, body=None, headers=(), wait=60.0):
        """Status, headers and body of a request."""
        return parse(await self.send(self.request(method, path, body, headers), wait))

    async def events(self, path, body, give_up=None):
        """The events of a stream; with `give_up` the connection is dropped after so many."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        found = []
        try:
            writer.write(self.request("POST", path, body))
            await writer.drain()
            if give_up == 0:
                return found
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split()[1])
            if status == 429:
                check(b"retry-after" in head.lower(), "429 without Retry-After")
                raise Busy
            if status != 200:
                raise Failed(f"status {status}: {(await reader.read())[:300]!r}")
            async for line in reader:
                if line.startswith(b"data: ") and line.strip() != b"data: [DONE]":
                    found.append(json.loads(line[6:]))
                if give_up is not None and len(found) >= give_up:
                    break
            return found
        finally:
            writer.close()

    async def metrics(self):
        """The figures of /metrics, those of all models summed."""
        _, _, text = await self.ask("GET", "/metrics")
        figures = {}
        for line in text.decode().splitlines():
            found = re.match(r"(carat_\w+)(?:\{[^}]*\})? (\S+)", line)
            if found:
                figures[found.group(1)] = figures.get(found.group(1), 0) + float(found.group(2))
        return figures

    async def idle(self, seconds=20):
        """Waits until nothing is under way: then no page is held."""
        last = time.monotonic() + seconds
        while True:
            figures = await self.metrics()
            busy = {k: v for k, v in figures.items() if v and k in ("carat_texts_running", "carat_texts_waiting", "carat_pages_held")}
            if not busy:
                return figures
            check(time.monotonic() < last, f"still busy: {busy}")
            await asyncio.sleep(0.02)


def parse(data):
    """Status, headers and body of a response; 0 where there is none."""
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    parts = lines[0].split()
    if len(parts) < 2:
        return 0, {}, b""
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    if headers.get("transfer-encoding") == "chunked":
        whole = b""
        while body:
            size, _, rest = body.partition(b"\r\n")
            n = int(size or b"0", 16)
            whole, body = whole + rest[:n], rest[n + 2 :]
            if n == 0:
                break
        body = whole
    return int(parts[1]), headers, body


def program_and_model():
    """From the command line: the program, and a model."""
    if len(sys.argv) < 2:
        sys.exit(f"usage: {sys.argv[0]} target/release/carat [MODEL]")
    model = sys.argv[2] if len(sys.argv) > 2 else ROOT / "examples/models/facet-6m"
    return sys.argv[1], model


def run(main):
    """Runs checks; one that fails ends the program with its sentence."""
    try:
        asyncio.run(main())
    except Failed as failure:
        sys.exit(f"FAILED: {failure}")
