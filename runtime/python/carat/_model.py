"""A model that is open."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar, Union, overload

from ._card import Card
from ._conversation import (
    MAX_ROUNDS,
    Conversation,
    ToolLike,
    conversation_options,
    read,
    tools_of,
)
from ._errors import CaratError, parameter, translated
from ._native import carat_native as native
from ._options import (
    SamplingOptions,
    StreamOptions,
    TextOptions,
    native_options,
    sampling_only,
    split,
    text_of,
    whole,
)
from ._process import adopt, wait
from ._schema import Form
from ._stream import Stream
from ._types import Adapter, Info

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Unpack

T = TypeVar("T")
Source = Union[str, "os.PathLike[str]"]
#: Told the stage (``download``, ``read``, ``upload`` or ``compile``), how much is done and of how much; a total of 0 is not
#: known. Where it returns False loading ends.
Progress = Callable[[str, int, int], Optional[bool]]
AdapterLike = Union[Adapter, str, "os.PathLike[str]", tuple[Union[str, "os.PathLike[str]"], float]]


class _Watch(native.LoadProgress):  # type: ignore[misc]
    """Ends loading where it is cancelled or its progress says so."""

    def __init__(self, progress: Optional[Progress], loop: Optional[asyncio.AbstractEventLoop]) -> None:
        self._progress = progress
        self._loop = loop
        self.failed: Optional[BaseException] = None
        self.cancelled = False

    def _tell(self, stage: str, done: int, total: int) -> None:
        assert self._progress is not None
        try:
            if self._progress(stage, done, total) is False:
                self.cancelled = True
        except BaseException as error:
            # It is raised where the model was asked for.
            self.failed = error
            self.cancelled = True

    def on_progress(self, stage: str, done: int, total: int) -> bool:
        if self._progress is not None and not self.cancelled:
            if self._loop is None:
                self._tell(stage, done, total)
            else:
                try:
                    self._loop.call_soon_threadsafe(self._tell, stage, done, total)
                except RuntimeError:
                    # The event loop is closed.
                    self.cancelled = True
        return not self.cancelled

    def cancel(self) -> None:
        self.cancelled = True


def _adapter(adapter: AdapterLike) -> native.Adapter:
    if isinstance(adapter, Adapter):
        path, strength = adapter.path, adapter.strength
    elif isinstance(adapter, tuple):
        path, strength = os.fspath(adapter[0]), adapter[1]
    else:
        path, strength = os.fspath(adapter), 1.0
    return native.Adapter(path=path, strength=float(strength))


def _optional(name: str, value: object, most: int) -> Optional[int]:
    return None if value is None else whole(name, value, most)


class Model:
    """A model that is open. Any thread may use it, and several texts at once.

    ``with Model.load(path) as model:`` closes it at the end; else it is closed when nothing uses it any more.
    """

    def __init__(self, made: native.NativeModel) -> None:
        """Not for programs: see :meth:`load`."""
        self._native = adopt(made)
        with translated:
            info = made.info()
        self._info = Info._of(info)
        self._card = None if info.card is None else Card._of(info.card)

    @staticmethod
    def _options(
        source: Source,
        device: str,
        context: Optional[int],
        memory_limit: Optional[int],
        threads: Optional[int],
        adapters: Sequence[AdapterLike],
        verify: bool,
        map: bool,
        key_bits: Optional[int],
        value_bits: Optional[int],
        cache_dir: Optional[Source],
    ) -> tuple[str, native.LoadOptions]:
        with translated:
            options = native.LoadOptions(
                device=text_of("device", device),
                context=_optional("context", context, 2**32 - 1),
                memory_limit=_optional("memory_limit", memory_limit, 2**64 - 1),
                threads=_optional("threads", threads, 2**32 - 1),
                key_bits=_optional("key_bits", key_bits, 255),
                value_bits=_optional("value_bits", value_bits, 255),
                verify=bool(verify),
                map=bool(map),
                adapters=[_adapter(a) for a in adapters],
                cache_dir=None if cache_dir is None else os.fspath(cache_dir),
            )
            path = os.fspath(source)
        if not isinstance(path, str):
            raise parameter("the source", source, "a path, an address or a hub's name")
        return path, options

    @classmethod
    def load(
        cls,
        source: Source,
        *,
        device: str = "auto",
        context: Optional[int] = None,
        memory_limit: Optional[int] = None,
        threads: Optional[int] = None,
        adapters: Sequence[AdapterLike] = (),
        verify: bool = True,
        map: bool = True,
        key_bits: Optional[int] = None,
        value_bits: Optional[int] = None,
        cache_dir: Optional[Source] = None,
        progress: Optional[Progress] = None,
    ) -> Model:
        """Opens a model: the path of a Carat file, an address (``https://…/model.gguf``), or a hub's name
        (``hf:OWNER/NAME``).

        ``device``: ``auto``, ``cpu``, ``gpu``, ``gpu:INDEX`` or ``gpu:PART_OF_A_NAME``; ``auto`` answers on the CPU at once, and
        goes on with a GPU as soon as it is ready if it is faster. ``context``: positions. ``memory_limit``: most bytes, weights
        included. ``adapters``: LoRA adapters, each a path or a pair of path and strength. ``verify``: compares the file with its
        hashes beside the first text. ``map``: maps the file; else it is copied into memory. ``key_bits`` and ``value_bits``: 4 or
        8, of the cache. ``cache_dir``: where fetched models are kept. ``progress``: see :data:`Progress`.

        Raises CaratError: ``storage``, ``format``, ``hash``, ``memory``, ``webgpu``, ``network``, ``parameter``, ``aborted``.
        """
        path, options = cls._options(
            source, device, context, memory_limit, threads, adapters, verify, map, key_bits, value_bits, cache_dir
        )
        watch = _Watch(progress, None)
        try:
            with translated:
                made = wait(lambda: native.load_model(path, options, watch), watch.cancel)
        except CaratError:
            if watch.failed is not None:
                raise watch.failed from None
            raise
        return cls(made)

    @classmethod
    async def load_async(
        cls,
        source: Source,
        *,
        device: str = "auto",
        context: Optional[int] = None,
        memory_limit: Optional[int] = None,
        threads: Optional[int] = None,
        adapters: Sequence[AdapterLike] = (),
        verify: bool = True,
        map: bool = True,
        key_bits: Optional[int] = None,
        value_bits: Optional[int] = None,
        cache_dir: Optional[Source] = None,
        progress: Optional[Progress] = None,
    ) -> Model:
        """As :meth:`load`, beside an event loop, on which ``progress`` is called. Cancelling the task ends loading."""
        path, options = cls._options(
            source, device, context, memory_limit, threads, adapters, verify, map, key_bits, value_bits, cache_dir
        )
        watch = _Watch(progress, asyncio.get_running_loop())
        try:
            with translated:
                made = await native.load_model_async(path, options, watch)
        except asyncio.CancelledError:
            watch.cancel()
            raise
        except CaratError:
            if watch.failed is not None:
                raise watch.failed from None
            raise
        return cls(made)

    # What is known.

    @property
    def info(self) -> Info:
        """What is known of the model, also when it is closed."""
        return self._info

    @property
    def card(self) -> Optional[Card]:
        """The quality card that the file carries; a notebook shows it as a table."""
        return self._card

    # Texts.

    def conversation(
        self,
        system: Optional[str] = None,
        *,
        tools: Sequence[ToolLike] = (),
        messages: Optional[Sequence[Mapping[str, Any]]] = None,
        date: Optional[int] = None,
        max_rounds: int = MAX_ROUNDS,
        **sampling: Unpack[SamplingOptions],
    ) -> Conversation:
        """A conversation.

        ``tools``: functions with types and a docstring, which run when the model calls them; or :class:`Tool`; or objects in
        OpenAI's form, whose calls wait for :meth:`Conversation.answer_calls`. ``messages``: what was said before, in OpenAI's
        form. ``date``: the time that the chat template is told, in seconds since 1970. ``max_rounds``: answers with calls that
        one message may have; then the model must answer. Sampling: see :class:`SamplingOptions`.
        """
        made, chosen = tools_of(tools), sampling_only(sampling)
        rounds = whole("max_rounds", max_rounds)
        options = conversation_options(system, made, messages, date, chosen)
        with translated:
            return Conversation(self._native.conversation(options), made, chosen, rounds)

    def resume(
        self,
        path: Source,
        *,
        system: Optional[str] = None,
        tools: Sequence[ToolLike] = (),
        date: Optional[int] = None,
        max_rounds: int = MAX_ROUNDS,
        **sampling: Unpack[SamplingOptions],
    ) -> Conversation:
        """A conversation that :meth:`Conversation.save` wrote, with nothing computed again."""
        made, chosen = tools_of(tools), sampling_only(sampling)
        rounds = whole("max_rounds", max_rounds)
        options = conversation_options(system, made, None, date, chosen)
        with translated:
            return Conversation(self._native.resume(os.fspath(path), options), made, chosen, rounds)

    @overload
    def generate(self, prompt: str, *, schema: type[T], **options: Unpack[TextOptions]) -> T: ...
    @overload
    def generate(self, prompt: str, *, schema: None = None, **options: Unpack[TextOptions]) -> str: ...
    @overload
    def generate(self, prompt: str, *, schema: Any, **options: Unpack[TextOptions]) -> Any: ...
    def generate(self, prompt: str, *, schema: Any = None, **options: Unpack[TextOptions]) -> Any:
        """A text that goes on with a prompt, as :meth:`Conversation.respond` without a conversation."""
        form = None if schema is None else Form(schema)
        with self._start(prompt, form, options) as stream:
            return read(stream.wait(), form)

    @overload
    async def generate_async(self, prompt: str, *, schema: type[T], **options: Unpack[TextOptions]) -> T: ...
    @overload
    async def generate_async(
        self, prompt: str, *, schema: None = None, **options: Unpack[TextOptions]
    ) -> str: ...
    @overload
    async def generate_async(self, prompt: str, *, schema: Any, **options: Unpack[TextOptions]) -> Any: ...
    async def generate_async(
        self, prompt: str, *, schema: Any = None, **options: Unpack[TextOptions]
    ) -> Any:
        """As :meth:`generate`, beside an event loop."""
        form = None if schema is None else Form(schema)
        async with self._start(prompt, form, options) as stream:
            return read(await stream.wait_async(), form)

    def stream(self, prompt: str, **options: Unpack[StreamOptions]) -> Stream:
        """A text that goes on with a prompt, piece by piece."""
        given: dict[str, Any] = dict(options)
        schema = given.pop("schema", None)
        return self._start(prompt, None if schema is None else Form(schema), given)

    def _start(self, prompt: str, form: Optional[Form], options: Mapping[str, Any]) -> Stream:
        text_of("the prompt", prompt)
        sampling, others = split(options)
        told = native_options(sampling, others, form.json_schema if form else None)
        with translated:
            return Stream(self._native.generate(prompt, told))

    # Tokens and vectors.

    def tokenize(self, text: str) -> list[int]:
        """The tokens of a text."""
        with translated:
            ids: list[int] = self._native.tokenize(text_of("the text", text))
        return ids

    def detokenize(self, ids: Sequence[int]) -> str:
        """The text of tokens."""
        told = [whole("a token", i) for i in ids]
        with translated:
            text: str = self._native.detokenize(told)
        return text

    def embed(self, text: Union[str, Sequence[str]]) -> Any:
        """The meaning of a text as a vector of length 1; of a list of texts a row for each. float32 of numpy if it is there,
        else lists."""
        rows = []
        for one in _texts(text):
            with translated:
                rows.append(self._native.embed(one))
        return _vectors(rows, isinstance(text, str))

    async def embed_async(self, text: Union[str, Sequence[str]]) -> Any:
        """As :meth:`embed`, beside an event loop."""
        rows = []
        for one in _texts(text):
            with translated:
                rows.append(await self._native.embed_async(one))
        return _vectors(rows, isinstance(text, str))

    # Life in an app.

    def memory_warning(self) -> None:
        """Gives back what can be computed or read again: sessions of conversations that do not answer, pages of the file."""
        with translated:
            self._native.memory_warning()

    def enter_background(self) -> None:
        """Goes on with the CPU, with the same tokens. When this returns no GPU works for the model."""
        with translated:
            self._native.enter_background()

    def enter_foreground(self) -> None:
        """Makes a GPU ready again, as at loading."""
        with translated:
            self._native.enter_foreground()

    def close(self) -> None:
        """Cancels what is under way, waits for its threads, closes conversations and gives the memory back. May be called
        again."""
        with translated:
            self._native.shut()

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        with translated:
            shut: bool = self._native.is_shut()
        return shut

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    async def __aenter__(self) -> Model:
        return self

    async def __aexit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        await asyncio.to_thread(self.close)

    def __repr__(self) -> str:
        i = self._info
        return (
            f"<carat.Model {i.name!r}: {i.architecture}, {i.parameters / 1e6:.4g} million weights, "
            f"{i.bits_per_weight:.3g} bits per weight, context {i.context}>"
        )


def _texts(text: Union[str, Sequence[str]]) -> list[str]:
    return [text] if isinstance(text, str) else [text_of("a text", t) for t in text]


def _vectors(rows: list[list[float]], one: bool) -> Any:
    try:
        import numpy
    except ImportError:
        return rows[0] if one else rows
    if one:
        return numpy.asarray(rows[0], dtype=numpy.float32)
    return numpy.asarray(rows, dtype=numpy.float32)
