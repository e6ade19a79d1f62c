"""The one exception of the package, and what becomes it."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Optional

from ._native import carat_native as native

if TYPE_CHECKING:
    from types import TracebackType


class CaratError(Exception):
    """What went wrong.

    ``code`` is one of ``network``, ``hash``, ``format``, ``webgpu``, ``device-lost``, ``aborted``, ``memory``, ``context``,
    ``parameter``, ``template``, ``storage`` and ``internal``. ``message`` is one line: the state, the cause and the remedy.
    ``found`` and ``expected`` are there where it is about a value.
    """

    def __init__(
        self, code: str, message: str, found: Optional[str] = None, expected: Optional[str] = None
    ) -> None:
        super().__init__(code, message, found, expected)
        self.code = code
        self.message = message
        self.found = found
        self.expected = expected

    def __str__(self) -> str:
        return self.message


def parameter(what: str, found: object, expected: str) -> CaratError:
    """Of a value that cannot be used."""
    shown = repr(found)
    if len(shown) > 80:
        shown = shown[:77] + "..."
    return CaratError("parameter", f"{what} is {shown}; expected {expected}", shown, expected)


def _translate(error: BaseException) -> Optional[CaratError]:
    if isinstance(error, native.NativeError.Failed):
        return CaratError(error.code, error.reason, error.found, error.expected)
    if isinstance(error, UnicodeEncodeError):
        place = f"the character {error.object[error.start]!r} at {error.start}"
        line = f"a text has {place}, which is half of one and no Unicode; replace it"
        return CaratError("parameter", line, place, "a text of whole characters")
    if isinstance(error, native.InternalError):
        return CaratError("internal", f"Carat failed within itself: {error}; report this")
    # Handles of a process's parent are taken away, and only they are of another type.
    if isinstance(error, ctypes.ArgumentError):
        line = "the model was opened before this process was forked; open it in this process"
        return CaratError("aborted", line)
    if isinstance(error, (TypeError, ValueError, OverflowError)):
        return CaratError("parameter", f"a value cannot be used: {error}")
    return None


class _Translated:
    """Errors of the library become :class:`CaratError`."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        told = None if error is None else _translate(error)
        if told is not None:
            raise told from None


translated = _Translated()
