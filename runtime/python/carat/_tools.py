"""Tools: typed Python functions that a model may call."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import inspect
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Callable, Optional, Union

from ._errors import CaratError, parameter
from ._schema import hints, object_schema, value_of
from ._types import Call

# A line that begins the parameters of a docstring, and one of them there or in reStructuredText.
_PARAMETERS = re.compile(r"^\s*(?:Args|Arguments|Parameters):\s*$")
_GOOGLE = re.compile(r"^\s+\*{0,2}(\w+)\s*(?:\([^)]*\))?:\s+(\S.*)$")
_REST = re.compile(r"^\s*:param\s+(?:[^:]*\s)?(\w+):\s*(\S.*)$")


def _read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """A docstring's first paragraph, and what it says of parameters."""
    text = inspect.cleandoc(text)
    first = re.split(r"\n\s*\n|\n(?=\s*(?::param|Args:|Arguments:|Parameters:))", text, maxsplit=1)[0]
    said: dict[str, str] = {}
    inside = False
    for line in text.splitlines():
        if _PARAMETERS.match(line):
            inside = True
        elif line and not line[0].isspace():
            inside = False
        match = _REST.match(line) or (_GOOGLE.match(line) if inside else None)
        if match:
            said[match[1]] = match[2].strip()
    return " ".join(first.split()), said


@dataclasses.dataclass(frozen=True)
class Tool:
    """A tool that a model may call."""

    name: str
    description: str
    #: The JSON schema of the arguments, an object.
    parameters: Mapping[str, Any]
    #: What is called. Without it the calls wait for :meth:`carat.Conversation.answer_calls`.
    function: Optional[Callable[..., Any]] = None
    #: Whether the arguments must fit the schema.
    strict: bool = True

    @classmethod
    def of(
        cls,
        function: Callable[..., Any],
        *,
        name: Optional[str] = None,
        description: Optional[str] = None,
        strict: bool = True,
    ) -> Tool:
        """The tool of a function: its parameters by their types, described by the docstring."""
        if not callable(function):
            raise parameter("a tool", function, "a function, a Tool or an object in OpenAI's form")
        called = name or str(getattr(function, "__name__", type(function).__name__))
        first, said = _read_docstring(inspect.getdoc(function) or "")
        schema = object_schema({n: (k, needed) for n, (k, needed) in _parameters(function).items()})
        for field, text in said.items():
            if field in schema["properties"]:
                schema["properties"][field].setdefault("description", text)
        return cls(called, description or first, schema, function, strict)

    @classmethod
    def _of_any(cls, tool: Union[Tool, Callable[..., Any], Mapping[str, Any]]) -> Tool:
        if isinstance(tool, Tool):
            return tool
        if not isinstance(tool, Mapping):
            return cls.of(tool)
        inner = tool.get("function", tool)
        if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str):
            raise parameter("a tool", tool, '{"type": "function", "function": {"name": …, "parameters": …}}')
        schema = inner.get("parameters") or {"type": "object", "properties": {}}
        description = inner.get("description") or ""
        return cls(inner["name"], description, schema, None, bool(inner.get("strict", False)))

    def _json(self) -> dict[str, Any]:
        function = {
            "name": self.name,
            "description": self.description,
            "parameters": self.parameters,
            "strict": self.strict,
        }
        return {"type": "function", "function": function}

    @property
    def is_async(self) -> bool:
        """Whether its calls are awaited."""
        call = getattr(self.function, "__call__", None)  # noqa: B004
        return inspect.iscoroutinefunction(self.function) or inspect.iscoroutinefunction(call)


def _parameters(function: Callable[..., Any]) -> dict[str, tuple[Any, bool]]:
    target: Any = function
    if not (inspect.isfunction(function) or inspect.ismethod(function) or inspect.isclass(function)):
        target = getattr(function, "__call__", function)  # noqa: B004
    try:
        signature = inspect.signature(function)
        types_of = hints(target.__init__ if inspect.isclass(target) else target)
    except (TypeError, ValueError) as error:
        raise CaratError("parameter", f"the tool {function!r} has no signature: {error}") from None
    found: dict[str, tuple[Any, bool]] = {}
    for name, p in signature.parameters.items():
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD, p.POSITIONAL_ONLY):
            raise parameter(f"a parameter of {function!r}", str(p), "one that is given by its name")
        found[name] = (types_of.get(name, Any), p.default is p.empty)
    return found


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, enum.Enum):
        return value.value
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    return str(value)


def _told(value: Any) -> str:
    """What the model reads of a result."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=_plain)


def _failed(error: BaseException) -> str:
    return json.dumps({"error": f"{type(error).__name__}: {error}"}, ensure_ascii=False)


class Tools:
    """The tools of a conversation."""

    def __init__(self, tools: Sequence[Union[Tool, Callable[..., Any], Mapping[str, Any]]]) -> None:
        self.by_name: dict[str, Tool] = {}
        for tool in tools:
            made = Tool._of_any(tool)
            if made.name in self.by_name:
                raise parameter("a tool's name", made.name, "a name of its own for each tool")
            self.by_name[made.name] = made

    @property
    def json(self) -> str:
        try:
            return json.dumps([t._json() for t in self.by_name.values()], ensure_ascii=False)
        except (TypeError, ValueError) as error:
            raise CaratError("parameter", f"the schema of a tool is no JSON: {error}") from None

    def runs(self, calls: Sequence[Call]) -> bool:
        """Whether every call has a function, or names no tool, of which the model is told."""
        tools = [self.by_name.get(c.name) for c in calls]
        return bool(calls) and all(t is None or t.function is not None for t in tools)

    def _bind(self, call: Call) -> tuple[Tool, dict[str, Any]]:
        tool = self.by_name.get(call.name)
        if tool is None or tool.function is None:
            raise ValueError(f"there is no tool {call.name!r}; there are {', '.join(self.by_name)}")
        given = json.loads(call.arguments or "{}")
        if not isinstance(given, dict):
            raise ValueError("the arguments are no object")
        known = _parameters(tool.function)
        for name in given:
            if name not in known:
                raise ValueError(f"{call.name} has no parameter {name!r}")
        return tool, {n: value_of(v, known[n][0], n) for n, v in given.items()}

    def run(self, call: Call) -> str:
        """What a call gives; an error of the tool is told to the model."""
        tool = self.by_name.get(call.name)
        if tool is not None and tool.is_async:
            line = f"the tool {tool.name!r} is asynchronous; use respond_async, or read the stream with async for"
            raise CaratError("parameter", line)
        try:
            tool, given = self._bind(call)
            assert tool.function is not None
            return _told(tool.function(**given))
        except Exception as error:
            return _failed(error)

    async def run_async(self, call: Call) -> str:
        """As :meth:`run`. A tool that is not asynchronous runs on a thread, so that the event loop goes on."""
        try:
            tool, given = self._bind(call)
            function = tool.function
            assert function is not None
            if tool.is_async:
                return _told(await function(**given))
            return _told(await asyncio.to_thread(function, **given))
        except Exception as error:
            return _failed(error)
