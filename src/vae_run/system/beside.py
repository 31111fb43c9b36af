"""Work on a second core: in a copy of this process, which ends with the work."""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Generic, TypeVar

from vae_run.system.hardware import cores

T = TypeVar("T")

_END_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl


def has_room() -> bool:
    """Whether a copy of this process can work beside it.

    There has to be a second core. A copy has no threads but the one that makes it, so this is done
    on Linux alone, by the main thread, where no other thread is in the middle of something.
    """
    return (
        sys.platform == "linux"
        and cores() > 1
        and threading.current_thread() is threading.main_thread()
    )


class Beside(Generic[T]):
    """A copy of this process that does a piece of work."""

    def __init__(self, work: Callable[[], T]) -> None:
        reads, writes = os.pipe()
        self._parent = os.getpid()
        with warnings.catch_warnings():  # Python tells of other threads; the copy needs none
            warnings.simplefilter("ignore", DeprecationWarning)
            self._process = os.fork()
        if self._process == 0:
            _work(work, writes, self._parent)  # does not return
        os.close(writes)
        self._result = os.fdopen(reads, "rb")

    def result(self) -> T | None:
        """What `work` has returned, once it has; None where it failed, or the copy was ended."""
        try:
            found: T = pickle.load(self._result)  # noqa: S301 - from our own copy
        except (EOFError, pickle.UnpicklingError):
            return None
        return found

    def end(self) -> None:
        """End it, and wait until it has ended."""
        self._result.close()
        with suppress(ProcessLookupError):
            os.kill(self._process, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self._process, 0)


@contextmanager
def beside(work: Callable[[], T]) -> Iterator[Callable[[], T | None]]:
    """Do `work` in a copy of this process meanwhile; `Beside.result` of it.

    It is ended with the context, and with this process, however that ends.
    """
    other = Beside(work)
    try:
        yield other.result
    finally:
        other.end()


def _work(work: Callable[[], Any], result: int, parent: int) -> None:
    """The copy: do `work`, send what it returns, and end without a word."""
    try:
        ctypes.CDLL(None).prctl(_END_WITH_PARENT, signal.SIGKILL)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        if os.getppid() == parent:
            data = pickle.dumps(work(), protocol=pickle.HIGHEST_PROTOCOL)
            with os.fdopen(result, "wb") as file:
                file.write(data)
    finally:
        os._exit(0)
