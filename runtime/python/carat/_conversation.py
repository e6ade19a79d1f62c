"""A conversation with a model."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar, Union, overload

from ._errors import CaratError, parameter, translated
from ._native import carat_native as native
from ._options import (
    StreamOptions,
    TextOptions,
    native_options,
    native_sampling,
    split,
    text_of,
    whole,
)
from ._process import adopt
from ._schema import Form
from ._stream import Closings, Stream, ToolLoop
from ._tools import Tool, Tools
from ._types import Outcome

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Unpack

T = TypeVar("T")
ToolLike = Union[Tool, Callable[..., Any], Mapping[str, Any]]

#: Answers with calls that one message may have.
MAX_ROUNDS = 8


def read(outcome: Outcome, form: Optional[Form]) -> Any:
    """What an answer is worth to who asked: its text, or the value in the form that was asked for."""
    if outcome.reason == "cancelled":
        raise CaratError("aborted", "the text was cancelled; ask again")
    if form is None:
        return outcome.text
    if not outcome.complete:
        reasons = {
            "length": ("parameter", "max_tokens ended the text before its object was whole; allow more"),
            "context": ("context", "the context was full before the object was whole; open the model with a longer one"),
        }
        rest = ("parameter", "the answer is not in the form that was asked for; leave tools out or choose none")
        code, line = reasons.get(outcome.reason, rest)
        raise CaratError(code, line, outcome.text[:80], "a whole object")
    return form.read(outcome.text)


def conversation_options(
    system: Optional[str],
    tools: Tools,
    messages: Optional[Sequence[Mapping[str, Any]]],
    date: Optional[int],
    sampling: Mapping[str, Any],
) -> native.ConversationOptions:
    """For the library."""
    return native.ConversationOptions(
        system=None if system is None else text_of("system", system),
        tools=tools.json if tools.by_name else None,
        messages=None if messages is None else _json(messages),
        sampling=native_sampling(sampling),
        date=None if date is None else whole("date", date, 2**40),
    )


def _json(messages: object) -> str:
    try:
        return json.dumps(messages, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise CaratError("parameter", f"the messages are no JSON: {error}") from None


class Conversation:
    """A conversation with a model, made by :meth:`Model.conversation`. It answers one message at a time."""

    def __init__(
        self,
        made: native.NativeConversation,
        tools: Tools,
        sampling: Mapping[str, Any],
        max_rounds: int,
    ) -> None:
        self._native = adopt(made)
        self._tools = tools
        self._sampling = dict(sampling)
        self._max_rounds = max_rounds
        self._closings = Closings()

    # Asking.

    @overload
    def respond(self, text: str, *, schema: type[T], **options: Unpack[TextOptions]) -> T: ...
    @overload
    def respond(self, text: str, *, schema: None = None, **options: Unpack[TextOptions]) -> str: ...
    @overload
    def respond(self, text: str, *, schema: Any, **options: Unpack[TextOptions]) -> Any: ...
    def respond(self, text: str, *, schema: Any = None, **options: Unpack[TextOptions]) -> Any:
        """Says something and returns the answer's text.

        With ``schema`` the answer follows it and is returned as a value of this type: a dataclass, a TypedDict, a model of
        pydantic, a type such as ``list[int]`` or ``Literal``, or a JSON schema as a dict. Calls of tools run on the way.
        Options: see :class:`TextOptions`.
        """
        form = _form(schema)
        self._closings.wait()
        with self._ask(text, form, options) as stream:
            return read(stream.wait(), form)

    @overload
    async def respond_async(self, text: str, *, schema: type[T], **options: Unpack[TextOptions]) -> T: ...
    @overload
    async def respond_async(
        self, text: str, *, schema: None = None, **options: Unpack[TextOptions]
    ) -> str: ...
    @overload
    async def respond_async(self, text: str, *, schema: Any, **options: Unpack[TextOptions]) -> Any: ...
    async def respond_async(self, text: str, *, schema: Any = None, **options: Unpack[TextOptions]) -> Any:
        """As :meth:`respond`, beside an event loop. Tools may be asynchronous."""
        form = _form(schema)
        await self._closings.wait_async()
        async with self._ask(text, form, options) as stream:
            return read(await stream.wait_async(), form)

    def stream(self, text: str, **options: Unpack[StreamOptions]) -> Stream:
        """Says something; the stream is the answer. One that fails, or is cancelled before its first piece, takes the
        message back. Options: see :class:`StreamOptions`."""
        given: dict[str, Any] = dict(options)
        form = _form(given.pop("schema", None))
        self._closings.wait()
        return self._ask(text, form, given)

    def regenerate(self, **options: Unpack[StreamOptions]) -> Stream:
        """Another answer to the last message, with another seed."""
        self._closings.wait()
        return self._start(self._native.regenerate, dict(options))

    def answer_calls(self, results: Mapping[str, str], **options: Unpack[StreamOptions]) -> Stream:
        """Says what came of the last answer's calls, by their ids, of tools without a function; the stream is the answer."""
        told = [native.CallResult(id=i, result=text_of("a result", r)) for i, r in results.items()]
        self._closings.wait()
        return self._start(lambda o: self._native.answer_calls(told, o), dict(options))

    def _ask(self, text: str, form: Optional[Form], options: Mapping[str, Any]) -> Stream:
        text_of("a message", text)
        return self._start(lambda o: self._native.ask(text, o), options, form)

    def _start(
        self,
        ask: Callable[[native.StreamOptions], native.NativeStream],
        options: Mapping[str, Any],
        form: Optional[Form] = None,
    ) -> Stream:
        given = dict(options)
        form = form or _form(given.pop("schema", None))
        sampling, others = split(given)
        sampling = {**self._sampling, **sampling} if sampling else {}
        json_schema = form.json_schema if form else None

        def answer(results: list[native.CallResult], last: bool) -> native.NativeStream:
            # A call that was demanded has come: the model may speak now, and must in the end.
            after = {**others, "tool_choice": "none" if last else None}
            return self._native.answer_calls(results, native_options(sampling, after, json_schema))

        loop = ToolLoop(self._tools, self._max_rounds, answer) if self._tools.by_name else None
        with translated:
            started = ask(native_options(sampling, others, json_schema))
        return Stream(started, loop, self._closings, self)

    # What was said.

    @property
    def messages(self) -> list[dict[str, Any]]:
        """All messages, in OpenAI's form: set them to go on with other ones. Each user's message must have an answer."""
        self._closings.wait()
        with translated:
            said: list[dict[str, Any]] = json.loads(self._native.messages())
        return said

    @messages.setter
    def messages(self, messages: Sequence[Mapping[str, Any]]) -> None:
        self._closings.wait()
        with translated:
            self._native.set_messages(_json(messages))

    def undo(self) -> Optional[str]:
        """Takes the last message and its answer back; returns the message's text."""
        self._closings.wait()
        with translated:
            said: Optional[str] = self._native.undo()
        return said

    def set_system(self, text: str) -> None:
        """Sets the system message from the next answer on."""
        self._closings.wait()
        with translated:
            self._native.set_system(text_of("system", text))

    def set_tools(self, tools: Sequence[ToolLike]) -> None:
        """Sets the tools from the next answer on."""
        made = Tools(tools)
        self._closings.wait()
        with translated:
            self._native.set_tools(made.json)
        self._tools = made

    def save(self, path: Union[str, os.PathLike[str]]) -> None:
        """Writes the conversation with its keys and values to a file, which :meth:`Model.resume` goes on with."""
        self._closings.wait()
        with translated:
            self._native.save(os.fspath(path))

    # Ending.

    def close(self) -> None:
        """Ends the answer under way, waits for its thread and gives the memory back. May be called again."""
        with translated:
            self._native.shut()

    def __enter__(self) -> Conversation:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    async def __aenter__(self) -> Conversation:
        return self

    async def __aexit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        await asyncio.to_thread(self.close)


def _form(schema: Any) -> Optional[Form]:
    return None if schema is None else Form(schema)


def tools_of(tools: Sequence[ToolLike]) -> Tools:
    """The tools of a list."""
    if isinstance(tools, (str, bytes, Mapping)) or not isinstance(tools, Sequence):
        raise parameter("tools", tools, "a list of functions, of Tool or of objects in OpenAI's form")
    return Tools(tools)
