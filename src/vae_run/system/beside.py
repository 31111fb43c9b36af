"""Work on a second core: in a copy of this process, which ends with the work."""

from __future__ import annotations

import ctypes
import logging
import os
import pickle
import select
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Generic, TypeVar

from vae_run.system.hardware import cores

log = logging.getLogger("vae_run")

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds that work may take beyond three times what its caller did meanwhile."""

_END_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


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
    """A copy of this process that does a piece of work.

    Signals wait while it is made: their handlers belong to this process, and an exception that one
    raises must neither run on in the copy nor leave the copy without an owner.
    """

    def __init__(self, work: Callable[[], T]) -> None:
        self._started, self._process = time.monotonic(), 0
        reads, writes = os.pipe()
        self._result, parent = os.fdopen(reads, "rb", buffering=0), os.getpid()
        try:
            with _signals_later():
                try:
                    with warnings.catch_warnings():  # Python tells of other threads
                        warnings.simplefilter("ignore", DeprecationWarning)
                        self._process = os.fork()
                    if self._process == 0:
                        _work(work, writes, parent)  # does not return
                finally:
                    if os.getpid() != parent:
                        os._exit(1)
                    os.close(writes)
        except BaseException:
            self.end()
            raise

    def result(self) -> T | None:
        """What `work` has returned, once it has; None where it failed, or the copy was ended.

        A lock that another thread held when the copy was made stays locked in it for ever. So a
        copy that takes longer than `PATIENCE`, and three times as long as this process has worked
        since it was made, is ended.
        """
        now = time.monotonic()
        until = now + PATIENCE + 3 * (now - self._started)
        received = bytearray()
        while select.select([self._result], [], [], max(0.0, until - time.monotonic()))[0]:
            part = self._result.read(1 << 20)
            if not part:
                break
            received += part
        else:
            log.warning("a copy of this process does not end its work, which is done here instead")
            self.end()
            return None
        try:
            found: T = pickle.loads(received)  # noqa: S301 - from our own copy
        except (EOFError, pickle.UnpicklingError):
            return None
        return found

    def end(self) -> None:
        """End it, and wait until it has ended."""
        self._result.close()
        process, self._process = self._process, 0  # its number may belong to another later
        if not process:
            return
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(process, 0)


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


@contextmanager
def _signals_later() -> Iterator[None]:
    """Let the handlers of signals wait until the end, and run then, in this process alone.

    They are replaced, and not blocked: a signal that one thread blocks, another takes, and Python
    runs its handler in the main thread all the same.
    """
    came: list[int] = []
    before = {n: signal.signal(n, lambda number, _: came.append(number)) for n in _SIGNALS}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, signal.SIG_DFL if handler is None else handler)
        for number in came:
            signal.raise_signal(number)


def _work(work: Callable[[], Any], result: int, parent: int) -> None:
    """The copy: do `work`, send what it returns, and end without a word."""
    try:
        ctypes.CDLL(None).prctl(_END_WITH_PARENT, signal.SIGKILL)
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        if os.getppid() == parent:
            data = pickle.dumps(work(), protocol=pickle.HIGHEST_PROTOCOL)
            with os.fdopen(result, "wb") as file:
                file.write(data)
    finally:
        os._exit(0)
