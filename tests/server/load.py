#!/usr/bin/env python3
"""Load: 64 clients, 2,000 requests, of which many are given up: every answer is the one that it is alone, nothing leaks.

    tests/server/load.py target/release/carat [MODEL]
"""

import asyncio
import json
import random
import sys
import time

from harness import Busy, Server, check, program_and_model, run

CLIENTS = 64
REQUESTS = 2000
# As many before, until the memory of threads and buffers is there.
WARM = 2000
# Texts that are asked for again and again, alone first.
KINDS = 48

STEMS = ["Once upon a time there was a little fox who ", "The old mill at the river " * 12, "In the deep forest " * 40]


def bodies(rng):
    """What is asked for: beginnings that others have too, greedy and drawn, with and without tokens in advance."""
    for i in range(KINDS):
        prompt = rng.choice(STEMS)[: rng.randrange(10, 600)] + f" {i} " + "and so on " * rng.randrange(6)
        yield {
            "prompt": prompt,
            "max_tokens": rng.randrange(1, 40),
            "temperature": rng.choice([0, 0, 0.9]),
            "seed": i,
            "ignore_eos": rng.random() < 0.3,
            "lookup": rng.choice([0, 8]),
        }


async def main():
    program, model = program_and_model()
    rng = random.Random(7)
    server = Server(program, model, "--fast", "--parallel", 8, "--ctx", 512, "--queue", 64, "--threads", 2)
    try:
        asked = list(bodies(rng))
        alone = []
        for body in asked:
            status, headers, text = await server.ask("POST", "/v1/completions", {**body, "lookup": 0})
            check(status == 200, f"alone: {status} {text[:300]!r}")
            alone.append((headers["x-carat-logits-hash"], json.loads(text)["choices"][0]["text"]))
        left = iter(range(WARM + REQUESTS))
        counts = {"whole": 0, "stream": 0, "given up": 0, "busy": 0}
        sizes = []

        async def client(seed):
            rng = random.Random(seed)
            for n in left:
                kind = rng.randrange(KINDS)
                body, (hash, text) = asked[kind], alone[kind]
                way = rng.choice(["whole", "stream", "given up"])
                if way == "whole":
                    status, headers, answer = await server.ask("POST", "/v1/completions", body)
                    if status == 429:
                        check("retry-after" in headers, "429 without Retry-After")
                        counts["busy"] += 1
                        continue
                    check(status == 200, f"{status} {answer[:300]!r}")
                    choice = json.loads(answer)["choices"][0]
                    check(headers["x-carat-logits-hash"] == hash, f"another hash of text {kind}")
                    check(choice["text"] == text, f"another text of {kind}: {choice['text']!r}")
                else:
                    give_up = rng.randrange(6) if way == "given up" else None
                    try:
                        events = await server.events("/v1/completions", {**body, "stream": True}, give_up)
                    except Busy:
                        counts["busy"] += 1
                        continue
                    if way == "stream":
                        found = "".join(e["choices"][0]["text"] for e in events)
                        check(found == text, f"another stream of {kind}: {found!r}")
                        check(events[-1]["choices"][0]["logits_hash"] == hash, f"another hash of stream {kind}")
                counts[way] += 1
                if n % 100 == 99:
                    sizes.append(server.rss())

        begun = time.monotonic()
        await asyncio.gather(*(client(i) for i in range(CLIENTS)))
        seconds = time.monotonic() - begun
        figures = await server.idle()
        warm, last = max(sizes[: len(sizes) // 2]), sizes[-1]
        check(last <= warm * 1.01, f"memory grew from {warm} to {last} bytes")
        check(counts["whole"] > 300 and counts["stream"] > 300 and counts["given up"] > 300, f"{counts}")
        # Those that were given up before their answer began have no status.
        check(figures["carat_requests_total"] >= 0.9 * (WARM + REQUESTS), f"{figures}")
        check(figures["carat_requests_open"] <= 1, f"{figures}")
        tokens, cached = figures["carat_tokens_total"], figures["carat_prompt_tokens_cached_total"]
        print(
            f"load: {WARM + REQUESTS} requests of {CLIENTS} clients in {seconds:.1f} s ({counts}); {tokens:.0f} tokens, "
            f"{cached:.0f} of prompts were there already; memory {warm / 1e6:.1f} -> {last / 1e6:.1f} MB"
        )
    except BaseException:
        server.kill()
        print(server.process.stderr.read()[-3000:], file=sys.stderr)
        raise
    server.end()


run(main)
