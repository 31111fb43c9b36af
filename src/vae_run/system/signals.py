"""Signals that stop a run: at the next step of training, or immediately where nothing is lost.

These are SIGINT and SIGTERM; SIGHUP, which the end of a terminal or of a connection sends; and
SIGUSR1, which Slurm sends before a time limit (`--signal=B:USR1@60`). A second signal ends the
process immediately.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from types import FrameType, TracebackType
from typing import Any, ClassVar

from vae_run.errors import Interrupted

_AT_ONCE = b"ended at once by a second signal: what was done since the last checkpoint is lost\n"


def heeded(numbers: Iterable[int]) -> list[int]:
    """Those of the signals that may stop this process: under `nohup` SIGHUP is ignored."""
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return [number for number in numbers if not (ignored and number == signal.SIGHUP)]


class Stop(BaseException):
    """Raised by a signal; a BaseException, so that no `except Exception` catches it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class StopRequests:
    """While entered, `received` is the first signal that requested a stop, or None.

    The training loop checks it between steps; code within `at_once` is left by `Stop`.
    """

    HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
    active: ClassVar[StopRequests | None] = None

    def __init__(self, numbers: Iterable[int] = HANDLED) -> None:
        """Heed the signals `numbers`."""
        self._numbers = tuple(numbers)
        self.received: int | None = None
        self._at_once = False
        self._before: dict[int, Any] = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP == self.received:
            return  # a shell sends one, and the kernel another when the shell has ended
        if self.received is not None:
            self.again(number)
            return
        self.received = number
        if self._at_once:
            raise Stop(number)

    def again(self, number: int) -> None:
        """What a second signal does: it ends the process."""
        with suppress(OSError):
            os.write(2, _AT_ONCE)
        os._exit(128 + number)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Raise `Stop` inside when a signal arrives, or on entry if one has arrived before."""
        before, self._at_once = self._at_once, True
        try:
            if self.received is not None:
                raise Stop(self.received)
            yield
        finally:
            self._at_once = before

    def __enter__(self) -> StopRequests:
        if threading.current_thread() is threading.main_thread():
            self._before = {n: signal.signal(n, self._handle) for n in heeded(self._numbers)}
            StopRequests.active = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        StopRequests.active = None
        if isinstance(error, Stop):
            raise Interrupted("interrupted", error.number) from None


@contextmanager
def at_once() -> Iterator[None]:
    """`StopRequests.at_once` of the active instance, if there is one."""
    with nullcontext() if StopRequests.active is None else StopRequests.active.at_once():
        yield


def ask_to_stop() -> None:
    """Send SIGTERM to this process, unless a signal has been received; safe from any thread."""
    if StopRequests.active is None or StopRequests.active.received is None:
        os.kill(os.getpid(), signal.SIGTERM)
