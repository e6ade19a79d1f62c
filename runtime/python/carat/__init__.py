"""Carat: language models at 1 to 8 bits per weight, in integers, the same tokens on every device.

>>> import carat
>>> with carat.Model.load("model.gguf") as model:
...     conversation = model.conversation(system="Answer in one sentence.")
...     for piece in conversation.stream("Why is the sky blue?"):
...         print(piece, end="", flush=True)
"""

from __future__ import annotations

from ._card import Card
from ._conversation import MAX_ROUNDS, Conversation
from ._errors import CaratError
from ._model import Model, Progress
from ._native.carat_native import native_version as _native_version
from ._options import SamplingOptions, StreamOptions, TextOptions
from ._stream import Stream
from ._tools import Tool
from ._types import Adapter, Alternative, Call, Info, Outcome, Piece, Token

__version__: str = _native_version()

__all__ = [
    "MAX_ROUNDS",
    "Adapter",
    "Alternative",
    "Call",
    "CaratError",
    "Card",
    "Conversation",
    "Info",
    "Model",
    "Outcome",
    "Piece",
    "Progress",
    "SamplingOptions",
    "Stream",
    "StreamOptions",
    "TextOptions",
    "Token",
    "Tool",
    "__version__",
]
