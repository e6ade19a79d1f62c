"""Clients that others have written around the API of OpenAI."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from checks import check, equal, true

ASK = [{"role": "user", "content": "Tell me a story of a cat and a king."}]


def whole(served, tokens):
    """The text that every client gets for the same greedy request."""
    from with_openai import client

    a = client(served).chat.completions.create(model=served.model, messages=ASK, max_tokens=tokens, temperature=0)
    return a.choices[0].message.content


@check("litellm")
def litellm_checks(served):
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm

    litellm.telemetry = False
    litellm.suppress_debug_info = True
    common = dict(api_key=served.key, messages=ASK, temperature=0, max_tokens=10, num_retries=0)
    expected = whole(served, 10)
    of_openai = dict(common, model=f"openai/{served.model}", api_base=f"{served.url}/v1")
    a = litellm.completion(**of_openai)
    equal((a.choices[0].message.content, a.choices[0].finish_reason), (expected, "length"), "answer by OpenAI's API")
    equal(a.usage.total_tokens, a.usage.prompt_tokens + 10, "sum of tokens")
    pieces = [k.choices[0].delta.content or "" for k in litellm.completion(**of_openai, stream=True)]
    equal("".join(pieces), expected, "text piece by piece")
    b = litellm.completion(**dict(common, model=f"anthropic/{served.model}", api_base=served.url))
    equal(b.choices[0].message.content, expected, "text by Anthropic's API")
    try:
        litellm.completion(**{**of_openai, "messages": []})
    except litellm.BadRequestError:
        return
    raise AssertionError("no messages: found no error, expected BadRequestError")


@check("langchain: chat and stream")
def langchain_chat(served):
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model=served.model, base_url=f"{served.url}/v1", api_key=served.key, temperature=0, max_tokens=10, max_retries=0)
    expected = whole(served, 10)
    a = model.invoke(ASK)
    equal((a.content, a.response_metadata["finish_reason"], a.usage_metadata["output_tokens"]), (expected, "length", 10), "answer")
    equal("".join(k.content for k in model.stream(ASK)), expected, "text piece by piece")


@check("langchain: structured output")
def langchain_structured(served):
    from langchain_openai import ChatOpenAI

    from with_openai import City

    model = ChatOpenAI(model=served.model, base_url=f"{served.url}/v1", api_key=served.key, temperature=0, max_tokens=200, max_retries=0)
    a = model.with_structured_output(City, method="json_schema").invoke("Tell me of Paris.")
    true(isinstance(a, City), f"not parsed: {a!r}")


@check("langchain: tools")
def langchain_tools(served):
    from langchain_core.tools import tool
    from langchain_openai import ChatOpenAI

    @tool
    def add(a: int, b: int) -> int:
        """Adds two numbers."""
        return a + b

    model = ChatOpenAI(model=served.model, base_url=f"{served.url}/v1", api_key=served.key, temperature=0, max_tokens=200, max_retries=0)
    a = model.bind_tools([add], tool_choice="add", parallel_tool_calls=False).invoke("What is 2 + 3?")
    equal([c["name"] for c in a.tool_calls], ["add"], "calls")
    equal(sorted(a.tool_calls[0]["args"]), ["a", "b"], "arguments")
    true(isinstance(add.invoke(a.tool_calls[0]["args"]), int), "the call cannot be made")


@check("instructor: by a schema")
def instructor_schema(served):
    import instructor

    from with_openai import City, client

    patched = instructor.from_openai(client(served), mode=instructor.Mode.JSON_SCHEMA)
    a = patched.chat.completions.create(model=served.model, messages=ASK, response_model=City, temperature=0, max_tokens=200, max_retries=0)
    true(isinstance(a, City), f"not parsed: {a!r}")


@check("instructor: by tools")
def instructor_tools(served):
    import instructor

    from with_openai import City, client

    patched = instructor.from_openai(client(served), mode=instructor.Mode.TOOLS)
    a = patched.chat.completions.create(model=served.model, messages=ASK, response_model=City, temperature=0, parallel_tool_calls=False, max_tokens=200, max_retries=0)
    true(isinstance(a, City), f"not parsed: {a!r}")


@check("llm: the command line")
def llm_command(served):
    with tempfile.TemporaryDirectory() as place:
        entry = {"model_id": "here", "model_name": served.model, "api_base": f"{served.url}/v1", "api_key_name": "here"}
        lines = [f"{'- ' if i == 0 else '  '}{k}: {json.dumps(v)}" for i, (k, v) in enumerate(entry.items())]
        Path(place, "extra-openai-models.yaml").write_text("\n".join(lines) + "\n")
        Path(place, "keys.json").write_text(json.dumps({"here": served.key}))
        environment = {**os.environ, "LLM_USER_PATH": place}
        expected = whole(served, 10).strip()
        for more in ([], ["--no-stream"]):
            command = [sys.executable, "-m", "llm", "-m", "here", "-o", "temperature", "0", "-o", "max_tokens", "10", *more, ASK[0]["content"]]
            done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
            equal(done.returncode, 0, f"status, with {done.stderr[-500:]}")
            equal(done.stdout.strip(), expected, f"text with {more}")
