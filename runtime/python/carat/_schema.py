"""JSON schemas of Python's types, and values of these types from JSON."""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import json
import sys
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, Union

from ._errors import CaratError, parameter

_PLAIN: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    None: {"type": "null"},
    Any: {},
    object: {},
    dict: {"type": "object"},
    list: {"type": "array"},
}
_LISTS = (list, tuple, collections.abc.Sequence, collections.abc.Iterable)
_MAPPINGS = (dict, collections.abc.Mapping)
_EXPECTED = (
    "str, int, float, bool, None, Literal, Enum, list, dict with str as keys, Optional, Union, a dataclass, a TypedDict "
    "or a model of pydantic"
)


def _is_union(origin: object) -> bool:
    return origin is Union or (sys.version_info >= (3, 10) and origin is types.UnionType)


def is_pydantic(kind: object) -> bool:
    """Whether a type is a model of pydantic."""
    return isinstance(kind, type) and hasattr(kind, "model_json_schema")


def hints(kind: Any) -> dict[str, Any]:
    """The types of a class's fields or a function's parameters."""
    try:
        return typing.get_type_hints(kind, include_extras=True)
    except NameError as error:
        raise CaratError("parameter", f"{kind!r} has a type that is not there: {error}") from None


def _bare(kind: Any) -> Any:
    """A type without what is said of it."""
    while True:
        origin = typing.get_origin(kind)
        if hasattr(kind, "__metadata__"):
            kind = kind.__origin__
        # Required and NotRequired of typing or of typing_extensions.
        elif getattr(origin, "_name", None) in ("Required", "NotRequired"):
            kind = typing.get_args(kind)[0]
        else:
            return kind


def _fields(kind: Any) -> dict[str, tuple[Any, bool]]:
    """The fields of a dataclass or TypedDict, and whether each must be there."""
    types_of = hints(kind)
    if typing.is_typeddict(kind) if hasattr(typing, "is_typeddict") else _is_typed_dict(kind):
        return {n: (t, n in kind.__required_keys__) for n, t in types_of.items()}
    missing = dataclasses.MISSING
    return {
        f.name: (types_of[f.name], f.default is missing and f.default_factory is missing)
        for f in dataclasses.fields(kind)
        if f.init
    }


def _is_typed_dict(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, dict) and hasattr(kind, "__total__")


def _is_record(kind: object) -> bool:
    return isinstance(kind, type) and (dataclasses.is_dataclass(kind) or _is_typed_dict(kind))


def _closed(schema: Any) -> Any:
    """A schema whose objects have no more fields than it names, unless it says otherwise: a model goes on inventing them."""
    if isinstance(schema, list):
        return [_closed(s) for s in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(s) for name, s in schema.items()}
    if closed.get("type") == "object" and isinstance(closed.get("properties"), dict):
        closed.setdefault("additionalProperties", False)
    return closed


class _Builder:
    def __init__(self) -> None:
        self.defs: dict[str, Any] = {}
        # Records under way, and those of them that contain themselves.
        self.path: list[Any] = []
        self.again: set[Any] = set()

    def schema(self, kind: Any) -> dict[str, Any]:
        if hasattr(kind, "__metadata__"):
            schema = self.schema(kind.__origin__)
            said = [m for m in kind.__metadata__ if isinstance(m, str)]
            return {**schema, "description": said[0]} if said else schema
        kind = _bare(kind)
        try:
            if kind in _PLAIN:
                return dict(_PLAIN[kind])
        except TypeError:
            raise parameter("a type", kind, _EXPECTED) from None
        origin, args = typing.get_origin(kind), typing.get_args(kind)
        if origin is Literal:
            return self._choice(kind, list(args))
        if _is_union(origin):
            return {"anyOf": [self.schema(a) for a in args]}
        if origin in _LISTS and args and (origin is not tuple or (len(args) == 2 and args[1] is ...)):
            return {"type": "array", "items": self.schema(args[0])}
        if origin in _MAPPINGS and len(args) == 2 and args[0] is str:
            return {"type": "object", "additionalProperties": self.schema(args[1])}
        if isinstance(kind, type) and issubclass(kind, enum.Enum):
            return self._choice(kind, [member.value for member in kind])
        if is_pydantic(kind):
            model: dict[str, Any] = _closed(kind.model_json_schema())
            self.defs.update(model.pop("$defs", {}))
            return model
        if _is_record(kind):
            return self._record(kind)
        raise parameter("a type", kind, _EXPECTED)

    @staticmethod
    def _choice(kind: Any, values: list[Any]) -> dict[str, Any]:
        if not all(v is None or isinstance(v, (str, int, float)) for v in values):
            raise parameter("a choice", kind, "values that are texts, numbers, bools or None")
        return {"enum": values}

    def _record(self, kind: Any) -> dict[str, Any]:
        ref = {"$ref": f"#/$defs/{kind.__name__}"}
        if kind in self.path:
            self.again.add(kind)
            return ref
        self.path.append(kind)
        fields = _fields(kind)
        schema = {
            "type": "object",
            "properties": {name: self.schema(of) for name, (of, _) in fields.items()},
            "required": [name for name, (_, needed) in fields.items() if needed],
            "additionalProperties": False,
        }
        self.path.pop()
        if kind not in self.again:
            return schema
        self.defs[kind.__name__] = schema
        return ref


def schema_of(kind: Any) -> dict[str, Any]:
    """The JSON schema of a type."""
    builder = _Builder()
    schema = builder.schema(kind)
    return {**schema, "$defs": builder.defs} if builder.defs else schema


def object_schema(fields: Mapping[str, tuple[Any, bool]]) -> dict[str, Any]:
    """The JSON schema of an object with these fields, each with its type and whether it must be there."""
    builder = _Builder()
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: builder.schema(kind) for name, (kind, _) in fields.items()},
        "required": [name for name, (_, needed) in fields.items() if needed],
        "additionalProperties": False,
    }
    return {**schema, "$defs": builder.defs} if builder.defs else schema


def value_of(value: Any, kind: Any, at: str = "the value") -> Any:
    """What JSON means as a type. Errors: ValueError where it does not fit."""
    kind = _bare(kind)
    if kind in (Any, object):
        return value
    if is_pydantic(kind):
        return kind.model_validate(value)
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        if any(value == a and type(value) is type(a) for a in args):
            return value
    elif _is_union(origin):
        return _union(value, args, at)
    elif origin in _LISTS or kind is list:
        if isinstance(value, list):
            item = args[0] if args else Any
            items = [value_of(v, item, f"{at}[{i}]") for i, v in enumerate(value)]
            return tuple(items) if origin is tuple else items
    elif origin in _MAPPINGS or kind is dict:
        if isinstance(value, dict):
            item = args[1] if args else Any
            return {k: value_of(v, item, f"{at}.{k}") for k, v in value.items()}
    elif isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind(value)
    elif _is_record(kind):
        if isinstance(value, dict):
            return _record(value, kind, at)
    elif kind is float:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
    elif kind is int:
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    elif kind in (None, type(None)):
        if value is None:
            return None
    elif isinstance(value, kind):
        return value
    raise ValueError(f"{at} is {json.dumps(value)}; expected {getattr(kind, '__name__', kind)}")


def _union(value: Any, kinds: tuple[Any, ...], at: str) -> Any:
    # 1 is an int before it is a float.
    exact = [k for k in kinds if isinstance(k, type) and type(value) is k]
    for kind in [*exact, *kinds]:
        try:
            return value_of(value, kind, at)
        except ValueError:
            continue
    raise ValueError(f"{at} is {json.dumps(value)}; expected one of {kinds}")


def _record(value: dict[str, Any], kind: Any, at: str) -> Any:
    fields = _fields(kind)
    for name in value:
        if name not in fields:
            raise ValueError(f"{at} has {name!r}, which {kind.__name__} has not")
    for name, (_, needed) in fields.items():
        if needed and name not in value:
            raise ValueError(f"{at} lacks {name!r}, which {kind.__name__} needs")
    return kind(**{n: value_of(v, fields[n][0], f"{at}.{n}") for n, v in value.items()})


class Form:
    """What a text is to be: its JSON schema, and how a value is made of the text."""

    def __init__(self, schema: Any) -> None:
        self.kind = schema
        plain = isinstance(schema, Mapping)
        tree = schema if plain else schema_of(schema)
        try:
            self.json_schema = json.dumps(tree)
        except (TypeError, ValueError) as error:
            raise CaratError("parameter", f"the schema is no JSON: {error}") from None

    def read(self, text: str) -> Any:
        """The value of a whole text."""
        if is_pydantic(self.kind):
            return self.kind.model_validate_json(text)
        value = json.loads(text)
        return value if isinstance(self.kind, Mapping) else value_of(value, self.kind)
