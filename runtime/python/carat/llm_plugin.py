"""Carat's models in the command ``llm``: ``llm carat add NAME model.gguf``, then ``llm -m carat/NAME``."""

from __future__ import annotations

import functools
import json
import os
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any, Callable, Optional

import click
import llm
from llm.parts import TextPart, ToolCallPart, ToolResultPart
from pydantic import Field

import carat


def _list() -> pathlib.Path:
    return pathlib.Path(llm.user_dir()) / "carat-models.json"  # type: ignore[no-untyped-call]


def _read() -> dict[str, str]:
    try:
        listed = json.loads(_list().read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{_list()}: cannot be read: {error}; repair or remove it") from None
    return {str(k): str(v) for k, v in listed.items()} if isinstance(listed, dict) else {}


def _write(models: dict[str, str]) -> None:
    path = _list()
    path.parent.mkdir(parents=True, exist_ok=True)
    # Beside, then renamed: nobody reads half a list.
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
        json.dump(models, file, indent=1)
    os.replace(file.name, path)


@functools.lru_cache(maxsize=1)
def _open(source: str) -> carat.Model:
    return carat.Model.load(source)


@llm.hookimpl
def register_commands(cli: click.Group) -> None:
    @cli.group(name="carat")
    def group() -> None:
        "Models that Carat runs"

    @group.command(name="add")
    @click.argument("name")
    @click.argument("source")
    def add(name: str, source: str) -> None:
        "Adds a Carat file, an address or hf:OWNER/NAME as the model carat/NAME"
        if not source.startswith(("hf:", "https://", "http://")):
            path = pathlib.Path(source).resolve()
            if not path.is_file():
                raise click.ClickException(f"{source}: there is no such file")
            source = str(path)
        _write({**_read(), name: source})
        click.echo(f"carat/{name}")

    @group.command(name="list")
    def show() -> None:
        "Lists the models"
        for name, source in _read().items():
            click.echo(f"carat/{name} {source}")

    @group.command(name="remove")
    @click.argument("name")
    def remove(name: str) -> None:
        "Removes a model from the list; its file stays"
        models = _read()
        if models.pop(name, None) is None:
            raise click.ClickException(f"there is no model {name!r}; llm carat list shows them")
        _write(models)


@llm.hookimpl
def register_models(register: Callable[..., None]) -> None:
    for name, source in _read().items():
        register(CaratModel(f"carat/{name}", source))


class CaratModel(llm.Model):
    """A model of the list."""

    can_stream = True
    supports_schema = True
    supports_tools = True

    class Options(llm.Options):
        temperature: Optional[float] = Field(default=None, description="Divides the logits; 0 is the likeliest token")
        top_p: Optional[float] = Field(default=None, description="Of the likeliest tokens so much probability")
        top_k: Optional[int] = Field(default=None, description="So many of the likeliest tokens")
        seed: Optional[int] = Field(default=None, description="Where the draws begin")
        max_tokens: Optional[int] = Field(default=None, description="Most tokens of an answer")

    def __init__(self, model_id: str, source: str) -> None:
        self.model_id = model_id
        self.source = source

    def execute(
        self, prompt: llm.Prompt, stream: bool, response: llm.Response, conversation: Optional[llm.Conversation]
    ) -> Iterator[str]:
        said, text, results = _messages(prompt)
        tools = [
            {"function": {"name": t.name, "description": t.description, "parameters": t.input_schema, "strict": True}}
            for t in prompt.tools
        ]
        talk = _open(self.source).conversation(tools=tools, messages=said)
        options: dict[str, Any] = prompt.options.model_dump(exclude_none=True)
        if prompt.schema:
            options["schema"] = prompt.schema
        with talk.answer_calls(results, **options) if results else talk.stream(text, **options) as pieces:
            if stream:
                yield from (str(p) for p in pieces)
            outcome = pieces.wait()
        if not stream:
            yield outcome.text
        for call in outcome.calls:
            response.add_tool_call(llm.ToolCall(call.name, json.loads(call.arguments), call.id))
        response.set_usage(input=outcome.prompt_tokens, output=len(outcome.ids))


def _messages(prompt: llm.Prompt) -> tuple[list[dict[str, Any]], str, dict[str, str]]:
    """What was said before, the last user's text, and results of calls where these come last."""
    said: list[dict[str, Any]] = []
    for message in prompt.messages:
        text, calls = "", []
        for part in message.parts:
            if isinstance(part, TextPart):
                text += part.text
            elif isinstance(part, ToolCallPart):
                function = {"name": part.name, "arguments": json.dumps(part.arguments)}
                calls.append({"id": part.tool_call_id, "type": "function", "function": function})
            elif isinstance(part, ToolResultPart):
                result = {"role": "tool", "tool_call_id": part.tool_call_id, "name": part.name, "content": part.output}
                said.append(result)
        if text or calls:
            said.append({"role": message.role, "content": text, **({"tool_calls": calls} if calls else {})})
    results: dict[str, str] = {}
    while said and said[-1]["role"] == "tool":
        last = said.pop()
        results = {last["tool_call_id"]: last["content"], **results}
    text = said.pop()["content"] if said and said[-1]["role"] == "user" and not results else ""
    return said, text, results
