"""A text under way, read piece by piece from a loop or an event loop."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections import deque
from collections.abc import AsyncIterator, Generator
from typing import TYPE_CHECKING, Any, Callable, Optional

from ._errors import CaratError, translated
from ._native import carat_native as native
from ._process import adopt, wait
from ._tools import Tools
from ._types import Call, Outcome, Piece, Token

if TYPE_CHECKING:
    from types import TracebackType

Answer = Callable[[list["native.CallResult"], bool], "native.NativeStream"]


class Closings:
    """Texts that were left in an event loop, and whose threads end just now: whoever asks next waits for them."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []

    def begin(self, shut: Callable[[], object]) -> None:
        """Ends a text on a thread."""
        thread = threading.Thread(target=shut, name="carat-close", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # There are no threads any more: the interpreter ends.
            shut()
            return
        self._threads.append(thread)

    def wait(self) -> None:
        """Waits until all have ended."""
        while self._threads:
            thread = self._threads[-1]
            thread.join()
            if thread in self._threads:
                self._threads.remove(thread)

    async def wait_async(self) -> None:
        """As :meth:`wait`, beside an event loop."""
        if self._threads:
            await asyncio.to_thread(self.wait)


class ToolLoop:
    """How an answer's calls become the next answer."""

    def __init__(self, tools: Tools, rounds: int, answer: Answer) -> None:
        self.tools = tools
        #: How many answers with calls may still come.
        self.rounds = rounds
        self._answer = answer

    def next(self, calls: list[Call], results: list[str]) -> native.NativeStream:
        self.rounds -= 1
        told = [native.CallResult(id=c.id, result=r) for c, r in zip(calls, results)]
        with translated:
            return adopt(self._answer(told, self.rounds <= 0))


class Stream:
    """A text under way. Iterate over it with ``for`` or ``async for``: each piece is a ``str``.

    Leaving the loop early ends the text; so do Ctrl-C, the cancellation of the task, and the end of a ``with``. Where the
    conversation has tools their calls run between the pieces, and the answers that follow are part of the same stream.
    """

    def __init__(
        self,
        start: native.NativeStream,
        loop: Optional[ToolLoop] = None,
        closings: Optional[Closings] = None,
        owner: object = None,
    ) -> None:
        self._native = adopt(start)
        # A conversation that is collected closes, and its answer with it.
        self._owner = owner
        self._loop = loop
        self._closings = closings if closings is not None else Closings()
        # A handler of a signal may cancel what the main thread works on.
        self._lock = threading.RLock()
        self._waiting: deque[Piece] = deque()
        self._text: list[str] = []
        self._tokens: list[Token] = []
        self._cancelled = False
        self._ended = False
        self._closed = False
        self._outcome: Optional[Outcome] = None
        self._failed: Optional[CaratError] = None

    # What is known.

    @property
    def text(self) -> str:
        """The text that was read so far, of all answers."""
        return "".join(self._text)

    @property
    def tokens(self) -> list[Token]:
        """What the model thought of the tokens so far, where ``metrics`` was asked for."""
        return list(self._tokens)

    @property
    def outcome(self) -> Optional[Outcome]:
        """What is known of the text, with tools of its last answer; None while it goes on.

        Raises CaratError where the text failed.
        """
        if self._failed is not None:
            raise self._failed
        if self._outcome is None and (self._ended or self._closed):
            with translated:
                known = self._native.outcome()
            if known is not None:
                self._outcome = Outcome._of(known)
                if self._cancelled and self._outcome.calls:
                    self._outcome = dataclasses.replace(self._outcome, reason="cancelled")
        return self._outcome

    # Reading.

    def _took(self, piece: Piece) -> Piece:
        if piece.kind == "text":
            self._text.append(str(piece))
        self._tokens.extend(piece.tokens)
        return piece

    def _fail(self, error: CaratError) -> None:
        self._ended = True
        self._failed = error

    def _calls(self) -> list[Call]:
        """Calls of the answer that just ended, which are to be run."""
        with translated:
            known = self._native.outcome()
        if known is None or self._loop is None or self._cancelled or self._loop.rounds <= 0:
            return []
        calls = [Call._of(c) for c in known.calls]
        return calls if self._loop.tools.runs(calls) else []

    def _go_on(self, calls: list[Call], results: list[str]) -> bool:
        """Starts the answer to the results; False where the stream was ended meanwhile."""
        assert self._loop is not None
        with self._lock:
            if self._cancelled:
                return False
            self._native = self._loop.next(calls, results)
        pieces = (Piece(r, "result", c) for c, r in zip(calls, results))
        self._waiting.extend(pieces)
        return True

    def _pull(self) -> Optional[Piece]:
        while not self._ended:
            if self._waiting:
                return self._waiting.popleft()
            if self._closed:
                self._ended = True
                break
            try:
                with translated:
                    piece = wait(self._native.next_blocking, self.close)
                if piece is not None:
                    return self._took(Piece._of(piece))
                calls = self._calls()
                results = [self._loop.tools.run(c) for c in calls] if self._loop else []
                if not calls or not self._go_on(calls, results):
                    self._ended = True
            except CaratError as error:
                self._fail(error)
                raise
        return None

    async def _pull_async(self) -> Optional[Piece]:
        while not self._ended:
            if self._waiting:
                return self._waiting.popleft()
            if self._closed:
                self._ended = True
                break
            try:
                with translated:
                    piece = await self._native.next()
                if piece is not None:
                    return self._took(Piece._of(piece))
                calls = self._calls()
                results: list[str] = []
                if calls and self._loop:
                    run = self._loop.tools.run_async
                    results = list(await asyncio.gather(*(run(c) for c in calls)))
                if not calls or not self._go_on(calls, results):
                    self._ended = True
            except asyncio.CancelledError:
                self._abandon()
                raise
            except CaratError as error:
                self._fail(error)
                raise
        return None

    def parts(self) -> Generator[Piece, None, None]:
        """All pieces, also reasoning, calls of tools and their results: see :attr:`Piece.kind`."""
        try:
            while True:
                piece = self._pull()
                if piece is None:
                    return
                yield piece
        finally:
            if not self._ended:
                self.close()

    def parts_async(self) -> AsyncIterator[Piece]:
        """As :meth:`parts`, for ``async for``."""
        return _AsyncPieces(self, every=True)

    def __iter__(self) -> Generator[Piece, None, None]:
        parts = self.parts()
        try:
            for piece in parts:
                if piece.kind == "text":
                    yield piece
        finally:
            parts.close()

    def __next__(self) -> Piece:
        while True:
            piece = self._pull()
            if piece is None:
                raise StopIteration
            if piece.kind == "text":
                return piece

    def __aiter__(self) -> AsyncIterator[Piece]:
        return _AsyncPieces(self, every=False)

    def wait(self) -> Outcome:
        """Reads to the end. Raises CaratError with the code ``aborted`` where another thread closed the stream."""
        try:
            while self._pull() is not None:
                pass
        except BaseException:
            self.close()
            raise
        return self._known()

    async def wait_async(self) -> Outcome:
        """As :meth:`wait`, beside an event loop."""
        while await self._pull_async() is not None:
            pass
        return self._known()

    def __await__(self) -> Generator[Any, None, Outcome]:
        return self.wait_async().__await__()

    def _known(self) -> Outcome:
        outcome = self.outcome
        if outcome is None:
            raise CaratError("aborted", "the text was ended before it was read; ask again")
        return outcome

    # Ending.

    def cancel(self) -> None:
        """Ends the text at its next step. What is there can still be read, and then the end."""
        with self._lock:
            self._cancelled = True
            with translated:
                self._native.cancel()

    def close(self) -> None:
        """Ends the text, waits for its thread and drops what nobody read. May be called again, from any thread."""
        with self._lock:
            if not self._ended:
                self._cancelled = True
            self._closed = True
            native_stream = self._native
        with translated:
            native_stream.shut()
        self._closings.wait()

    def _abandon(self) -> None:
        """As :meth:`close` where an event loop may not wait: another thread does."""
        if self._closed or self._ended:
            return
        self.cancel()
        self._closed = True
        self._closings.begin(self._native.shut)

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    async def __aenter__(self) -> Stream:
        return self

    async def __aexit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self._abandon()
        await self._closings.wait_async()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "at its end" if self._ended else "under way"
        return f"<carat.Stream {state}, {len(self.text)} characters>"


class _AsyncPieces(AsyncIterator[Piece]):
    """An asynchronous loop over a stream. Whoever leaves the loop drops it, which ends the text."""

    def __init__(self, stream: Stream, every: bool) -> None:
        self._stream = stream
        self._every = every

    async def __anext__(self) -> Piece:
        while True:
            piece = await self._stream._pull_async()
            if piece is None:
                raise StopAsyncIteration
            if self._every or piece.kind == "text":
                return piece

    def __del__(self) -> None:
        try:
            self._stream._abandon()
        except CaratError:
            # In the child of a fork: nothing of the stream is there.
            pass
