"""What the library has in this process: it ends with the process, and a fork has none of it."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from queue import Empty, SimpleQueue
from typing import Any, Callable, Optional, TypeVar

T = TypeVar("T")

# Objects of the library that are there.
_live: weakref.WeakSet[Any] = weakref.WeakSet()

# How often the main thread looks whether a signal came. Only Windows needs it: elsewhere a signal ends the wait.
_LOOK_SECONDS = 0.1


def adopt(native: T) -> T:
    """Keeps an object of the library in mind for the end of the process, and for a fork."""
    _live.add(native)
    return native


class _Beside:
    """A thread that waits for the library in the place of the main thread, which alone acts on Ctrl-C."""

    def __init__(self) -> None:
        self._asked: SimpleQueue[Optional[Callable[[], Any]]] = SimpleQueue()
        self._told: SimpleQueue[tuple[Any, Optional[BaseException]]] = SimpleQueue()
        threading.Thread(target=self._run, name="carat-wait", daemon=True).start()

    def _run(self) -> None:
        while True:
            act = self._asked.get()
            if act is None:
                return
            told: tuple[Any, Optional[BaseException]]
            try:
                told = (act(), None)
            except BaseException as error:
                told = (None, error)
            # Nothing that the caller may drop stays here.
            act = None
            self._told.put(told)
            del told

    def do(self, act: Callable[[], T]) -> T:
        self._asked.put(act)
        while True:
            try:
                value, error = self._told.get(timeout=_LOOK_SECONDS)
            except Empty:
                continue
            if error is not None:
                raise error
            done: T = value
            return done

    def leave(self) -> None:
        """Lets the thread end as soon as what it does is done."""
        self._asked.put(None)


_beside: Optional[_Beside] = None
_waiting = False


def wait(act: Callable[[], T], interrupted: Callable[[], object]) -> T:
    """Does what may take long. On the main thread Ctrl-C ends the wait at once, after ``interrupted``."""
    global _beside, _waiting
    main = threading.current_thread() is threading.main_thread()
    # A handler of a signal may come here while the main thread waits already.
    if not main or _waiting:
        return act()
    thread, done = _beside or _Beside(), False
    _beside, _waiting = None, True
    try:
        value = thread.do(act)
        done = True
        return value
    except KeyboardInterrupt:
        interrupted()
        raise
    except Exception:
        # Of the act itself: the thread is free again.
        done = True
        raise
    finally:
        _waiting = False
        if done:
            _beside = thread
        else:
            thread.leave()


def _end() -> None:
    # Threads of the library that compute while the process ends would use what is gone.
    for native in list(_live):
        shut = getattr(native, "shut", None)
        if shut is not None:
            try:
                shut()
            except Exception:
                continue


def _forked() -> None:
    # The child has none of the parent's threads: whoever waited for one would wait forever.
    global _beside, _waiting
    _beside, _waiting = None, False
    for native in list(_live):
        native._handle = None


atexit.register(_end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
