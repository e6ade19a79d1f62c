#!/usr/bin/env python3
"""Adapters: listed, set, and by request; texts of different strengths that share passes are those that each is alone.

    tests/server/adapters.py target/release/carat

The bundled model and an adapter of random numbers, which is written here.
"""

import asyncio
import json
import pathlib
import random
import struct
import sys
import tempfile

from harness import Server, check, program_and_model, run

WIDTH, RANK, BLOCKS = 256, 4, 6
SCALES = [[], [(0, 1.0)], [(0, 0.5)], [(1, 1.0)], [(0, 1.0), (1, -0.5)]]


def write(directory, seed):
    """An adapter of the outputs of attention, as PEFT saves one."""
    rng = random.Random(seed)
    header, data = {}, b""
    for block in range(BLOCKS):
        for side, shape in (("A", [RANK, WIDTH]), ("B", [WIDTH, RANK])):
            values = [rng.uniform(-0.1, 0.1) for _ in range(RANK * WIDTH)]
            start, data = len(data), data + struct.pack(f"<{len(values)}f", *values)
            name = f"base_model.model.model.layers.{block}.self_attn.o_proj.lora_{side}.weight"
            header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, len(data)]}
    head = json.dumps(header).encode()
    directory.mkdir()
    (directory / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + data)
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": 8}
    (directory / "adapter_config.json").write_text(json.dumps(config))
    return directory


def scales(pairs):
    return [{"id": i, "scale": s} for i, s in pairs]


async def main():
    program, model = program_and_model()
    with tempfile.TemporaryDirectory() as folder:
        first, second = (write(pathlib.Path(folder) / f"adapter-{i}", i) for i in (1, 2))
        server = Server(program, model, "--device", "cpu", "--parallel", "4", "--lora", f"{first}:0.25", "--lora", second)
        try:
            await checks(server)
        except BaseException:
            server.kill()
            print(server.process.stderr.read()[-3000:], file=sys.stderr)
            raise
        server.end()


async def checks(server):
    async def ask(path, body, method="POST"):
        status, _, answer = await server.ask(method, path, body)
        return status, json.loads(answer)

    async def hash(pairs, **more):
        body = {"prompt": "The sea was calm, and", "max_tokens": 12, "temperature": 0, **more}
        if pairs is not None:
            body["lora"] = scales(pairs)
        status, answer = await ask("/v1/completions", body)
        check(status == 200, f"{pairs}: {answer}")
        return answer["choices"][0]["logits_hash"]

    status, listed = await ask("/lora-adapters", None, "GET")
    told = [(a["id"], a["path"], a["scale"], a["rank"]) for a in listed]
    check(told == [(0, "adapter-1", 0.25, RANK), (1, "adapter-2", 1.0, RANK)], f"{listed}")

    alone = [await hash(pairs) for pairs in SCALES]
    check(len(set(alone)) == len(SCALES), f"strengths that make no difference: {alone}")
    check(await hash(None) == await hash([(0, 0.25), (1, 1.0)]), "what was loaded does not hold")
    many = [(i, asyncio.create_task(hash(SCALES[i]))) for i in [n % len(SCALES) for n in range(30)]]
    for i, task in many:
        check(await task == alone[i], f"another text beside others: {SCALES[i]}")

    status, answer = await ask("/lora-adapters", scales([(0, 0.5)]))
    check((status, answer) == (200, {"success": True}), f"{status}: {answer}")
    check(await hash(None) == alone[2], "what was set does not hold")
    status, listed = await ask("/lora-adapters", None, "GET")
    check([a["scale"] for a in listed] == [0.5, 0.0], f"{listed}")
    # The other APIs have the field, too.
    for path, body in (
        ("/completion", {"prompt": "Hello", "n_predict": 2}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2}),
        ("/v1/responses", {"input": "Hello", "max_output_tokens": 2}),
        ("/v1/messages", {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2}),
    ):
        status, answer = await ask(path, {**body, "lora": scales([(1, 0.5)])})
        check(status == 200, f"{path}: {answer}")
        for wrong in ([(7, 1.0)], [(0, 99.0)]):
            status, answer = await ask(path, {**body, "lora": scales(wrong)})
            check(status == 400 and "adapter" in json.dumps(answer), f"{path}: {status} {answer}")
    print(f"adapters: {len(SCALES)} strengths, 30 texts beside each other, each as it is alone")


run(main)
