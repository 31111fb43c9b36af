"""Signals ask a run to stop: at its next step while it trains, at once where nothing is lost.

SIGINT and SIGTERM, and SIGUSR1, which Slurm sends ahead of a time limit (`--signal=B:USR1@60`).
A second signal leaves at once.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType, TracebackType
from typing import Any, ClassVar

from vae_run.errors import Interrupted


class Stop(BaseException):
    """Raised by a signal; no `except Exception` on its way takes it for an error of its own."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class StopRequests:
    """While entered, `received` is the first signal that asked to stop, or None.

    Who trains looks at it between steps; what is inside of `at_once` is left as `Stop`.
    """

    HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    active: ClassVar[StopRequests | None] = None

    def __init__(self) -> None:
        self.received: int | None = None
        self._at_once = False
        self._before: dict[int, Any] = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            os._exit(128 + number)
        self.received = number
        if self._at_once:
            raise Stop(number)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Raise `Stop` inside when a signal comes, or at once if one has come already."""
        before, self._at_once = self._at_once, True
        try:
            if self.received is not None:
                raise Stop(self.received)
            yield
        finally:
            self._at_once = before

    def __enter__(self) -> StopRequests:
        if threading.current_thread() is threading.main_thread():
            self._before = {n: signal.signal(n, self._handle) for n in self.HANDLED}
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
    """`StopRequests.at_once` of the one that is entered, if one is."""
    with nullcontext() if StopRequests.active is None else StopRequests.active.at_once():
        yield


def ask_to_stop() -> None:
    """Ask this process to stop, unless a signal already has; safe from any thread."""
    if StopRequests.active is None or StopRequests.active.received is None:
        os.kill(os.getpid(), signal.SIGTERM)
