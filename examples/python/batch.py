"""Several texts at once: python batch.py MODEL.gguf PROMPT..."""

import asyncio
import sys

import carat


async def main(path: str, prompts: list[str]) -> None:
    async with await carat.Model.load_async(path) as model:
        texts = await asyncio.gather(*(model.generate_async(p, temperature=0, max_tokens=40) for p in prompts))
    for prompt, text in zip(prompts, texts):
        print(f"> {prompt}{text}")


asyncio.run(main(sys.argv[1], sys.argv[2:]))
