"""What a call changes in the user's process while it lasts, and puts back when it ends."""

from __future__ import annotations

import logging
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import torch

from vae_run.config.invocation import Call
from vae_run.errors import Interrupted
from vae_run.system.console import console, errors, log, say_on_terminal
from vae_run.system.denormals import denormals_flushed
from vae_run.system.hardware import cores, is_limited
from vae_run.system.signals import StopRequests
from vae_run.tasks.train import Training
from vae_run.training import distributed

_ONE = threading.RLock()
"""Held by a call: a second one, in another thread, waits, as both draw from torch's generator."""


@contextmanager
def session(*, quiet: bool = False) -> Iterator[None]:
    """Keep random numbers, log handlers, threads and environment of the process as they were.

    Inside, denormal numbers are taken for zero (`system.denormals`).

    Args:
        quiet: nothing is printed; warnings are in the run's own log, and errors are raised.
    """
    with _ONE, _own_random_numbers(), _own_log(quiet), _threads_of_the_quota(), denormals_flushed():
        yield


@contextmanager
def _own_random_numbers() -> Iterator[None]:
    """Leave the generators of torch, NumPy and Python as they were."""
    begun = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = list(range(torch.cuda.device_count())) if begun else []
    of_numpy, of_python = np.random.get_state(), random.getstate()
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        np.random.set_state(of_numpy)
        random.setstate(of_python)


@contextmanager
def _own_log(quiet: bool) -> Iterator[None]:
    """Say on the terminal, or in the notebook, what the command line would say there."""
    loggers = [log, *map(logging.getLogger, ("matplotlib", "matplotlib.font_manager"))]
    levels = [(logger, logger.level) for logger in loggers]
    handlers, propagate = list(log.handlers), log.propagate
    silent = console.quiet, errors.quiet
    say_on_terminal()
    if quiet:
        console.quiet = errors.quiet = True
    try:
        yield
    finally:
        console.quiet, errors.quiet = silent
        log.propagate = propagate
        log.handlers[:] = handlers
        for logger, level in levels:
            logger.setLevel(level)


@contextmanager
def _threads_of_the_quota() -> Iterator[None]:
    """Compute with as many threads as the command line would, where a container has a quota."""
    before = torch.get_num_threads()
    if is_limited() and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(before, cores()))
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)


class Interruptions(StopRequests):
    """Ctrl-C stops a training at its next step; a second one raises `KeyboardInterrupt` there.

    The signals that end a process stop it too, where the program has no handler of its own for
    them; `pass_on` sends what was received again when the checkpoint is written.
    """

    def __init__(self) -> None:
        own = [n for n in self.HANDLED if signal.getsignal(n) == signal.SIG_DFL]
        interrupt = signal.getsignal(signal.SIGINT)
        super().__init__([*own, signal.SIGINT] if callable(interrupt) else own)

    def again(self, number: int) -> None:
        """Raise `KeyboardInterrupt`, since the process is the user's."""
        raise KeyboardInterrupt

    def pass_on(self) -> None:
        """End the process by the signal that asked for it; Ctrl-C only ended the training."""
        if self.received not in (None, signal.SIGINT):
            os.kill(os.getpid(), int(self.received or 0))


def finish(
    call: Call,
    begin: Callable[[Call], AbstractContextManager[Training | None]],
    *,
    figures: bool,
) -> None:
    """Train what `begin` prepares, to its end or to an interruption by Ctrl-C."""
    stop = Interruptions()
    try:
        with distributed.joined(call.settings), stop, begin(call) as training:
            if training is not None:
                training.finish(stop, draw=figures)
    except Interrupted as interruption:
        stop.pass_on()
        log.info("%s", str(interruption).partition(";")[0] + "; Run.resume() goes on")
