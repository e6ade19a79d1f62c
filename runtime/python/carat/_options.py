"""What may be said of a text: how its tokens are chosen, and what it follows."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any, Callable, Optional, TypedDict, Union

from ._errors import parameter
from ._native import carat_native as native


class SamplingOptions(TypedDict, total=False):
    """How tokens are chosen. What is left out is what the model's file recommends."""

    #: Takes the most probable token at every step, with nothing against repetition.
    greedy: bool
    #: Divides the logits before the draw; at least 0.
    temperature: Optional[float]
    #: Chooses among so many of the most probable tokens; 0 is all.
    top_k: Optional[int]
    #: Chooses among the most probable tokens that reach this probability together.
    top_p: Optional[float]
    #: Chooses among tokens at least so many times as probable as the most probable one.
    min_p: Optional[float]
    #: Makes tokens of the last 64 less probable by this factor.
    repeat_penalty: Optional[float]
    #: Nats from the logit of every token that the generated text has.
    presence_penalty: Optional[float]
    #: Nats from the logit of a token as often as the generated text has it.
    frequency_penalty: Optional[float]
    #: Where the draws begin; 0 by default.
    seed: Optional[int]
    #: Most tokens of a text.
    max_tokens: Optional[int]
    #: A string that ends a text, or several.
    stop: Union[str, Sequence[str], None]


class TextOptions(SamplingOptions, total=False):
    """What holds for one text. What is said of sampling comes before what the conversation says."""

    #: A grammar in llguidance's variant of Lark's syntax that the text follows. Only one of grammar and schema.
    grammar: Optional[str]
    #: ``auto``, ``none``, ``required``, or the name of the tool that must be called.
    tool_choice: Optional[str]
    #: Reports what the model thinks of each token, with so many of the likeliest ones.
    metrics: Optional[int]


class StreamOptions(TextOptions, total=False):
    """What holds for one text that is read piece by piece."""

    #: A type or JSON schema that the text follows.
    schema: Any


_U32 = 2**32 - 1


def whole(name: str, value: object, most: int = _U32) -> int:
    """A whole number from 0 to ``most``."""
    expected = f"a whole number from 0 to {most}"
    if isinstance(value, bool):
        raise parameter(name, value, expected)
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise parameter(name, value, expected) from None
    if not 0 <= number <= most:
        raise parameter(name, value, expected)
    return number


def _number(name: str, value: object) -> float:
    if isinstance(value, (bool, str, bytes)):
        raise parameter(name, value, "a number")
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise parameter(name, value, "a number") from None


def text_of(name: str, value: object) -> str:
    """A text."""
    if not isinstance(value, str):
        raise parameter(name, value, "a str")
    return value


def _stops(name: str, value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if not isinstance(value, Sequence) or not all(isinstance(s, str) for s in value):
        raise parameter(name, value, "a str or a list of them")
    return list(value)


def _seed(name: str, value: object) -> int:
    return whole(name, value, 2**64 - 1)


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise parameter(name, value, "True or False")
    return value


_SAMPLING: dict[str, Callable[[str, object], Any]] = {
    "greedy": _flag,
    "temperature": _number,
    "top_k": whole,
    "top_p": _number,
    "min_p": _number,
    "repeat_penalty": _number,
    "presence_penalty": _number,
    "frequency_penalty": _number,
    "seed": _seed,
    "max_tokens": whole,
    "stop": _stops,
}
_TEXT: dict[str, Callable[[str, object], Any]] = {
    "grammar": text_of,
    "tool_choice": text_of,
    "metrics": whole,
}


def split(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of sampling and the others, checked. One that is None is left out."""
    sampling: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for name, value in options.items():
        if name in _SAMPLING:
            if value is not None:
                sampling[name] = _SAMPLING[name](name, value)
        elif name in _TEXT:
            if value is not None:
                others[name] = _TEXT[name](name, value)
        else:
            raise TypeError(f"unexpected keyword argument {name!r}")
    return sampling, others


def sampling_only(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options that are all of sampling."""
    sampling, others = split(options)
    for name in others:
        raise TypeError(f"unexpected keyword argument {name!r}")
    return sampling


def native_sampling(sampling: Mapping[str, Any]) -> native.Sampling:
    """Checked options for the library."""
    fields: dict[str, Any] = dict.fromkeys(_SAMPLING)
    fields.update(sampling)
    fields["greedy"] = bool(fields["greedy"])
    fields["stops"] = fields.pop("stop") or []
    return native.Sampling(**fields)


def native_options(
    sampling: Mapping[str, Any], others: Mapping[str, Any], json_schema: Optional[str]
) -> native.StreamOptions:
    """Checked options for the library."""
    return native.StreamOptions(
        sampling=native_sampling(sampling) if sampling else None,
        json_schema=json_schema,
        grammar=others.get("grammar"),
        tool_choice=others.get("tool_choice"),
        metrics=others.get("metrics"),
    )
