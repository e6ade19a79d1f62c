"""What the package gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Optional

from ._native import carat_native as native

Kind = Literal["text", "reasoning", "call", "result"]


@dataclass(frozen=True)
class Alternative:
    """One of the likeliest tokens."""

    id: int
    #: ln of its probability.
    logprob: float


@dataclass(frozen=True)
class Token:
    """What the model thought of a token that was chosen."""

    id: int
    #: ln of its probability.
    logprob: float
    #: Entropy of the distribution, in nats.
    entropy: float
    #: 1 for the likeliest token.
    rank: int
    #: The likeliest tokens, the likeliest first.
    top: tuple[Alternative, ...]

    @classmethod
    def _of(cls, token: native.Token) -> Token:
        top = tuple(Alternative(a.id, a.logprob) for a in token.top)
        return cls(token.id, token.logprob, token.entropy, token.rank, top)


@dataclass(frozen=True)
class Call:
    """A call of a tool."""

    id: str
    #: The tool.
    name: str
    #: A JSON object, as the model wrote it.
    arguments: str

    @classmethod
    def _of(cls, call: native.Call) -> Call:
        return cls(call.id, call.name, call.arguments)


class Piece(str):
    """A piece of a text. It is a ``str`` that also knows where it is from."""

    __slots__ = ("call", "ids", "kind", "tokens")

    #: ``text`` that the user reads, ``reasoning``, a ``call`` of a tool, or a tool's ``result``.
    kind: Kind
    #: The call, of a piece that is one or a result of one.
    call: Optional[Call]
    #: The tokens that were chosen since the piece before.
    ids: tuple[int, ...]
    #: What the model thought of these tokens, where ``metrics`` was asked for.
    tokens: tuple[Token, ...]

    def __new__(
        cls,
        text: str,
        kind: Kind = "text",
        call: Optional[Call] = None,
        ids: Sequence[int] = (),
        tokens: Sequence[Token] = (),
    ) -> Piece:
        piece = super().__new__(cls, text)
        piece.kind = kind
        piece.call = call
        piece.ids = tuple(ids)
        piece.tokens = tuple(tokens)
        return piece

    def __reduce__(self) -> Any:
        return Piece, (str(self), self.kind, self.call, self.ids, self.tokens)

    @classmethod
    def _of(cls, piece: native.Piece) -> Piece:
        kinds: dict[str, Kind] = {"TEXT": "text", "REASONING": "reasoning", "CALL": "call"}
        call = None if piece.call is None else Call._of(piece.call)
        tokens = [Token._of(t) for t in piece.tokens]
        return cls(piece.text, kinds[piece.kind.name], call, piece.ids, tokens)


@dataclass(frozen=True)
class Outcome:
    """What is known of a text at its end."""

    #: The tokens, the one that ended the text included.
    ids: list[int]
    #: The text that the user reads.
    text: str
    #: The model's reasoning.
    reasoning: str
    #: Calls of tools that have no result yet.
    calls: list[Call]
    #: ``end``, ``stop``, ``complete``, ``length``, ``context`` or ``cancelled``.
    reason: str
    #: With a schema or grammar: whether the text is whole.
    complete: Optional[bool]
    prompt_tokens: int
    #: Of the prompt's tokens those that were computed before and not again.
    cached_tokens: int
    #: blake3 over everything that the tokens were chosen from, in hexadecimal: the same on every device.
    logits_hash: str
    #: What computed it.
    device: str
    #: Milliseconds from the start to the first token.
    ms_to_first_token: float
    #: Tokens per second after the first one.
    tokens_per_second: float

    @classmethod
    def _of(cls, o: native.Outcome) -> Outcome:
        return cls(
            ids=o.ids,
            text=o.text,
            reasoning=o.reasoning,
            calls=[Call._of(c) for c in o.calls],
            reason=o.reason,
            complete=o.complete,
            prompt_tokens=o.prompt_tokens,
            cached_tokens=o.cached_tokens,
            logits_hash=o.logits_hash,
            device=o.device,
            ms_to_first_token=o.ms_to_first_token,
            tokens_per_second=o.tokens_per_second,
        )


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter: a directory that PEFT saved, or a GGUF file."""

    path: str
    #: From -16 to 16; 1 is the adapter as it was trained.
    strength: float = 1.0


@dataclass(frozen=True)
class Info:
    """What is known of a model that is open."""

    #: As its checkpoint had it.
    name: str
    #: ``llama`` for instance.
    architecture: str
    #: Weights.
    parameters: int
    #: Bytes of the file.
    bytes: int
    #: Everything in the file counted.
    bits_per_weight: float
    #: Positions of the context.
    context: int
    #: Positions that the model was trained for.
    context_length: int
    vocab_size: int
    #: Numbers of an embedding.
    embedding_size: int
    #: Whether the model has a chat template. Without one the texts of a conversation follow each other.
    has_template: bool

    @classmethod
    def _of(cls, i: native.Info) -> Info:
        return cls(
            name=i.name,
            architecture=i.architecture,
            parameters=i.parameters,
            bytes=i.bytes,
            bits_per_weight=i.bits_per_weight,
            context=i.context,
            context_length=i.context_length,
            vocab_size=i.vocab_size,
            embedding_size=i.embedding_size,
            has_template=i.has_template,
        )


