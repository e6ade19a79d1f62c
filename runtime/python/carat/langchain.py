"""Carat as a chat model of LangChain: ``pip install 'carat[langchain]'``.

>>> from carat.langchain import CaratChat
>>> chat = CaratChat(model="model.gguf", temperature=0.7)
>>> chat.invoke("Why is the sky blue?").content
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, Callable, Optional, Union, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models.base import LanguageModelInput
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, convert_to_openai_messages
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableLambda
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field, PrivateAttr

import carat

from ._errors import parameter
from ._schema import Form


class CaratChat(BaseChatModel):
    """A model that is opened when it is first asked, or one that is open: ``CaratChat.of(model)``."""

    #: The path of a Carat file, an address or a hub's name.
    model: str = ""
    #: Arguments of :meth:`carat.Model.load`.
    load: dict[str, Any] = Field(default_factory=dict)
    temperature: Optional[float] = None
    top_p: Optional[float] = None
    seed: Optional[int] = None
    max_tokens: Optional[int] = None

    _open: Optional[carat.Model] = PrivateAttr(default=None)

    @classmethod
    def of(cls, model: carat.Model, **fields: Any) -> CaratChat:
        """A chat with a model that is open, which stays with who opened it."""
        chat = cls(model=model.info.name, **fields)
        chat._open = model
        return chat

    @property
    def _llm_type(self) -> str:
        return "carat"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": self.model, "temperature": self.temperature, "seed": self.seed}

    def _model(self) -> carat.Model:
        if self._open is None:
            self._open = carat.Model.load(self.model, **self.load)
        return self._open

    def _ask(self, messages: list[BaseMessage], stop: Optional[list[str]], given: dict[str, Any]) -> carat.Stream:
        """Starts the answer to the last message, or to the results of calls that end the list."""
        said = convert_to_openai_messages(messages)
        tools = given.pop("tools", None) or []
        options = {n: given.pop(n) for n in list(given) if n in _OPTIONS}
        for name in ("temperature", "top_p", "seed", "max_tokens"):
            if options.get(name) is None and getattr(self, name) is not None:
                options[name] = getattr(self, name)
        if stop:
            options["stop"] = stop
        results: dict[str, str] = {}
        while said and said[-1]["role"] == "tool":
            last = said.pop()
            results = {last["tool_call_id"]: _text(last["content"]), **results}
        text = ""
        if not results:
            if not said or said[-1]["role"] != "user":
                raise parameter("the last message", said[-1:], "one of a user or of a tool")
            text = _text(said.pop()["content"])
        conversation = self._model().conversation(tools=tools, messages=[_plain(m) for m in said])
        if results:
            return conversation.answer_calls(results, **options)
        return conversation.stream(text, **options)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: Optional[list[str]] = None,
        run_manager: Optional[CallbackManagerForLLMRun] = None,
        **kwargs: Any,
    ) -> ChatResult:
        with self._ask(messages, stop, kwargs) as stream:
            return _result(stream.wait())

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: Optional[list[str]] = None,
        run_manager: Optional[AsyncCallbackManagerForLLMRun] = None,
        **kwargs: Any,
    ) -> ChatResult:
        async with self._ask(messages, stop, kwargs) as stream:
            return _result(await stream.wait_async())

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: Optional[list[str]] = None,
        run_manager: Optional[CallbackManagerForLLMRun] = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        with self._ask(messages, stop, kwargs) as stream:
            calls = 0
            for piece in stream.parts():
                chunk = _chunk(piece, calls)
                calls += piece.kind == "call"
                if run_manager:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk
            yield _last(stream.wait())

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: Optional[list[str]] = None,
        run_manager: Optional[AsyncCallbackManagerForLLMRun] = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        async with self._ask(messages, stop, kwargs) as stream:
            calls = 0
            async for piece in stream.parts_async():
                chunk = _chunk(piece, calls)
                calls += piece.kind == "call"
                if run_manager:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk
            yield _last(await stream.wait_async())

    def bind_tools(
        self,
        tools: Sequence[Union[dict[str, Any], type, Callable[..., Any], BaseTool]],
        *,
        tool_choice: Optional[str] = None,
        strict: bool = True,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Tools that the model may call; LangChain runs them. ``tool_choice``: ``auto``, ``none``, ``required`` (or ``any``), or
        a tool's name."""
        listed = [convert_to_openai_tool(t, strict=strict) for t in tools]
        choice = "required" if tool_choice == "any" else tool_choice
        return self.bind(tools=listed, tool_choice=choice, **kwargs)

    def with_structured_output(
        self, schema: Union[dict[str, Any], type], *, include_raw: bool = False, **kwargs: Any
    ) -> Runnable[LanguageModelInput, Any]:
        """Answers that follow a schema, and are values of it: every token is chosen among those that fit."""
        form = Form(schema)
        answer = self.bind(schema=json.loads(form.json_schema), **kwargs)

        def read(message: AIMessage) -> Any:
            return form.read(_text(message.content))

        def both(raw: AIMessage) -> dict[str, Any]:
            try:
                return {"raw": raw, "parsed": read(raw), "parsing_error": None}
            except Exception as error:
                return {"raw": raw, "parsed": None, "parsing_error": error}

        return answer | RunnableLambda(both if include_raw else read)


_OPTIONS = {*carat.SamplingOptions.__annotations__, *carat.TextOptions.__annotations__, *carat.StreamOptions.__annotations__}


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = [p if isinstance(p, str) else p.get("text") for p in content or []]
    if any(p is None for p in parts):
        raise parameter("a message", content, "a text; pictures and sound cannot be read")
    return "".join(str(p) for p in parts)


def _plain(message: Mapping[str, Any]) -> dict[str, Any]:
    return {**message, "content": _text(message.get("content"))}


def _usage(o: carat.Outcome) -> UsageMetadata:
    prompt, made = o.prompt_tokens, len(o.ids)
    return cast(UsageMetadata, {"input_tokens": prompt, "output_tokens": made, "total_tokens": prompt + made})


def _metadata(o: carat.Outcome) -> dict[str, Any]:
    return {"finish_reason": o.reason, "logits_hash": o.logits_hash, "device": o.device, "model_provider": "carat"}


def _result(o: carat.Outcome) -> ChatResult:
    calls, wrong = [], []
    for c in o.calls:
        try:
            calls.append({"name": c.name, "args": json.loads(c.arguments), "id": c.id, "type": "tool_call"})
        except ValueError as error:
            wrong.append(
                {"name": c.name, "args": c.arguments, "id": c.id, "error": str(error), "type": "invalid_tool_call"}
            )
    message = AIMessage(
        content=o.text,
        tool_calls=calls,
        invalid_tool_calls=wrong,
        usage_metadata=_usage(o),
        response_metadata=_metadata(o),
        additional_kwargs={"reasoning_content": o.reasoning} if o.reasoning else {},
    )
    return ChatResult(generations=[ChatGeneration(message=message)])


def _chunk(piece: carat.Piece, index: int) -> ChatGenerationChunk:
    if piece.kind == "call" and piece.call is not None:
        c = piece.call
        part = tool_call_chunk(name=c.name, args=c.arguments, id=c.id, index=index)
        return ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[part]))
    if piece.kind == "reasoning":
        return ChatGenerationChunk(
            message=AIMessageChunk(content="", additional_kwargs={"reasoning_content": str(piece)})
        )
    return ChatGenerationChunk(message=AIMessageChunk(content=str(piece)))


def _last(o: carat.Outcome) -> ChatGenerationChunk:
    message = AIMessageChunk(
        content="", usage_metadata=_usage(o), response_metadata=_metadata(o), chunk_position="last"
    )
    return ChatGenerationChunk(message=message)
