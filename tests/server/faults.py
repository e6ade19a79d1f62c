#!/usr/bin/env python3
"""Faults: malformed requests, slow and half-open connections, aborted streams, kill -9: an error or a closed connection, and the server
goes on as if nothing had happened.

    tests/server/faults.py target/release/carat [MODEL]
"""

import asyncio
import json
import pathlib
import random
import shutil
import sys
import tempfile
import time

from harness import Busy, Failed, Server, check, parse, program_and_model, run

MALFORMED = 10_000
ABORTED = 1000

GOOD = {
    "/v1/chat/completions": {
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"x": {"type": "string"}}}}}],
        "max_tokens": 2,
        "temperature": 0.5,
        "stop": ["x"],
        "logit_bias": {"5": -1.5},
    },
    "/v1/completions": {"prompt": "Once", "max_tokens": 2, "n": 2, "logprobs": 2, "echo": True},
    "/v1/responses": {"input": [{"role": "user", "content": "Hi"}], "max_output_tokens": 2},
    "/v1/messages": {"max_tokens": 2, "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]},
    "/v1/embeddings": {"input": ["a", "b"]},
    "/completion": {"prompt": [1, 2, "three"], "n_predict": 2},
    "/tokenize": {"content": "Hi", "with_pieces": True},
    "/detokenize": {"tokens": [1, 2, 3]},
    "/slots/0?action=save": {"filename": "a"},
    "/slots/1?action=restore": {"filename": "a"},
    "/apply-template": {"messages": [{"role": "user", "content": "Hi"}]},
}

WRONG = [
    None, True, -1, 0, 1e308, -1e308, 2**63, -(2**63), 1.5, "", "\u0000", "\ud800", "x" * 5000, [], [[]], {}, {"": {}}, [None] * 50,
    {"type": "object"}, {"a": {"b": {"c": {}}}}, "NaN", ["\u202e"], 10**40,
]


def places(value, path=()):
    """Every place in a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def changed(value, path, new):
    """The value with another one in a place."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(copy[path[0]], path[1:], new)
    return copy


def malformed(rng):
    """A path, and the bytes of a body that is wrong in some way."""
    path = rng.choice(list(GOOD))
    body = GOOD[path]
    way = rng.randrange(8)
    if way < 4:
        return path, json.dumps(changed(body, rng.choice(list(places(body))), rng.choice(WRONG))).encode()
    text = bytearray(json.dumps(body).encode())
    if way == 4:
        return path, bytes(text[: rng.randrange(len(text))])
    if way == 5:
        for _ in range(rng.randrange(1, 6)):
            text[rng.randrange(len(text))] = rng.randrange(256)
        return path, bytes(text)
    if way == 6:
        at = rng.randrange(len(text))
        deep = rng.choice([b"[" * 500, b'{"a":' * 500, b'"' + b"\\u0041" * 500, bytes(range(256))])
        return path, bytes(text[:at]) + deep + bytes(text[at:])
    body = {**body, rng.choice(["top_k", "seed", "n", "logprobs", "stop", "response_format", "json_schema", "tool_choice"]): rng.choice(WRONG)}
    return path, json.dumps(body).encode()


async def in_parallel(count, work, at_once=24):
    """Does work(i) for each i, some at once."""
    left = iter(range(count))

    async def one():
        for i in left:
            await work(i)

    await asyncio.gather(*(one() for _ in range(at_once)))


async def main():
    program, model = program_and_model()
    folder = pathlib.Path(tempfile.mkdtemp())
    flags = ["--fast", "--slot-save-path", folder, "--parallel", 4, "--ctx", 256, "--threads", 2, "--read-timeout", 1, "--max-body", "256KiB", "--grace", 5]
    server = Server(program, model, *flags)
    probe = {"prompt": "Once upon a time", "max_tokens": 8, "temperature": 0}

    async def sound():
        """The answer to a sound request."""
        status, headers, _ = await server.ask("POST", "/v1/completions", probe)
        check(status == 200, f"a sound request gets {status}")
        return headers["x-carat-logits-hash"]

    try:
        hash = await sound()
        rng = random.Random(11)
        statuses = {}
        requests = [malformed(rng) for _ in range(MALFORMED)]

        async def send(i):
            path, body = requests[i]
            status, _, answer = parse(await server.send(server.request("POST", path, body)))
            check(status != 500, f"{path} {body[:400]!r}: {answer[:400]!r}")
            check(status in (200, 400, 404, 413, 429, 501), f"{path} {body[:400]!r}: {status}")
            if status >= 400:
                error = json.loads(answer)["error"]
                check(error["message"], f"{path} {body[:400]!r}: no message")
            statuses[status] = statuses.get(status, 0) + 1

        await in_parallel(MALFORMED // 4, send)
        warm = server.rss()
        begun = time.monotonic()
        await in_parallel(MALFORMED - MALFORMED // 4, lambda i: send(MALFORMED // 4 + i))
        seconds = time.monotonic() - begun
        await server.idle()
        last = server.rss()
        check(last <= warm * 1.05 + (4 << 20), f"memory grew from {warm} to {last} bytes")
        check(statuses.get(400, 0) > MALFORMED / 2, f"{statuses}")
        print(f"faults: {MALFORMED} malformed requests, {statuses}, {(MALFORMED * 3 // 4) / seconds:.0f} per second")

        # What is no HTTP, too large, too slow, or never whole.
        odd = [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
            b"GET / HTTP/1.1\r\n\r\n" * 50,
            b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
            b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
            b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % i for i in range(500)) + b"\r\n",
            b"\x00" * 1000,
        ]
        for data in odd:
            status, _, _ = parse(await server.send(data, 5, half=True))
            check(status in (0, 200, 400, 413, 414, 431), f"{data[:60]!r}: {status}")
        status, _, _ = await server.ask("POST", "/v1/completions", b'{"prompt": "' + b"a" * 400_000 + b'"}')
        check(status == 413, f"a body that is too large gets {status}")
        long = {"prompt": "word " * 5000, "max_tokens": 1}
        status, _, answer = await server.ask("POST", "/v1/completions", long)
        check(status == 400 and b"context" in answer, f"a prompt that is too long gets {status} {answer[:200]!r}")

        async def slow(_):
            reader, writer = await asyncio.open_connection(server.host, server.port)
            whole = server.request("POST", "/v1/completions", probe)
            cut = random.randrange(len(whole))
            writer.write(whole[:cut])
            begun = time.monotonic()
            # The rest never comes: the server ends it.
            await asyncio.wait_for(reader.read(), 10)
            check(time.monotonic() - begun < 6, "a slow client is let wait")
            writer.close()

        await in_parallel(64, slow, 64)
        check(await sound() == hash, "another answer after slow clients")

        async def abort(i):
            path = ["/v1/completions", "/v1/chat/completions"][i % 2]
            body = {**(probe if i % 2 == 0 else GOOD[path]), "max_tokens": 64, "stream": True, "ignore_eos": True}
            try:
                await server.events(path, body, i % 5)
            except (Busy, ConnectionError):
                pass

        await in_parallel(ABORTED, abort)
        figures = await server.idle()
        check(figures["carat_texts_cancelled_total"] > ABORTED / 4, f"{figures}")
        check(await sound() == hash, "another answer after aborted streams")
        print(f"faults: odd and slow connections, {ABORTED} aborted streams; memory {warm / 1e6:.1f} -> {server.rss() / 1e6:.1f} MB")

        # A text as a file: written, computed once, found again.
        long = {"prompt": "Once upon a time there was a boat. " * 20, "max_tokens": 8, "temperature": 0, "id_slot": 1}

        async def answer(body):
            status, headers, text = await server.ask("POST", "/v1/completions", body)
            check(status == 200, f"status {status}: {text[:300]!r}")
            usage = json.loads(text)["usage"]
            return headers["x-carat-logits-hash"], usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]

        async def slot(action, name, id=1):
            status, _, text = await server.ask("POST", f"/slots/{id}?action={action}", {"filename": name})
            return status, json.loads(text)

        long_hash, tokens, _ = await answer(long)
        status, done = await slot("save", "text")
        check(status == 200 and done["n_saved"] == tokens + 7, f"{status} {done}")
        for action, name, id, wanted in [
            ("save", "../text", 1, 400), ("save", "", 1, 400), ("save", "x", 4, 400), ("save", "x", 3, 400),
            ("restore", "none", 1, 404), ("burn", "x", 1, 400), ("erase", "", 2, 200),
        ]:
            status, done = await slot(action, name, id)
            check(status == wanted, f"{action} {name!r}: {status} {done}")
        whole = (folder / "text").read_bytes()
        for at in [9, 14, 60, len(whole) // 2, len(whole) - 1]:
            damaged = bytearray(whole)
            damaged[at] ^= 64
            (folder / "damaged").write_bytes(damaged)
            status, done = await slot("restore", "damaged")
            check(status == 400 and "session" in done["error"]["message"], f"{status} {done}")
        (folder / "cut").write_bytes(whole[: len(whole) * 2 // 3])
        status, done = await slot("restore", "cut")
        check(status == 200 and done["n_restored"] == tokens + 7, f"{status} {done}")

        # Killed while texts are written, it starts again: a file is whole or is not there, and what is unfinished goes.
        async def save(_):
            try:
                while True:
                    await slot("save", f"text-{random.randrange(4)}")
            except (Failed, ConnectionError, json.JSONDecodeError):
                pass

        for _ in range(10):
            await answer(long)
            saving = [asyncio.create_task(save(i)) for i in range(4)]
            await asyncio.sleep(random.uniform(0.02, 0.2))
            server.kill()
            await asyncio.gather(*saving)
            server = Server(program, model, *flags)
            check(not list(folder.glob(".carat-*")), "unfinished files are left")
        for file in folder.glob("text-*"):
            check(file.read_bytes() == whole, f"{file.name} is another one")
        check(len(list(folder.glob("text-*"))) == 4, "no file was written")
        check((await answer(long))[2] == 0, "a new server has the text already")
        server.kill()
        server = Server(program, model, *flags)
        status, done = await slot("restore", "text", 0)
        check(status == 200 and done["n_restored"] == tokens + 7, f"{status} {done}")
        check(await answer(long) == (long_hash, tokens, tokens - 1), "a text that was read is computed again, or is another one")
        print(f"faults: texts of {tokens + 7} tokens and {len(whole)} bytes as files, damaged, cut, and killed while they are written")

        # Killed under load, it starts again.
        async def busy(_):
            try:
                await server.events("/v1/completions", {**probe, "max_tokens": 200, "stream": True, "ignore_eos": True})
            except (Failed, ConnectionError, asyncio.IncompleteReadError):
                pass

        under_way = [asyncio.create_task(busy(i)) for i in range(8)]
        await asyncio.sleep(0.3)
        server.kill()
        await asyncio.gather(*under_way)
        server = Server(program, model, *flags)
        check(await sound() == hash, "another answer after a restart")

        # Ended under load, it lets answers end, and lets nobody else in.
        answer = asyncio.create_task(server.events("/v1/completions", {**probe, "max_tokens": 100, "stream": True, "ignore_eos": True}))
        await asyncio.sleep(0.05)
        await asyncio.to_thread(server.end)
        events = await answer
        check(events and events[-1]["choices"][0]["finish_reason"] == "length", f"an answer was broken off: {events[-1:]}")
        print("faults: killed and started again; ended in peace")
    except BaseException:
        server.kill()
        print(server.process.stderr.read()[-3000:], file=sys.stderr)
        raise
    finally:
        shutil.rmtree(folder)


run(main)
