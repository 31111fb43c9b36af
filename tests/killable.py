"""The program in processes of its own, which can be killed at a chosen moment.

They are forked from the server that jobs of a sweep are forked from, which has imported everything,
so that one costs a fraction of a second. What a `Fault` does to its process is real: a signal, at
the given call of a function. Tests of what a program does when it starts start Python instead.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from vae_run.sweeps.executors.forking import processes


@dataclass(frozen=True)
class Fault:
    """SIGKILL at the `count`-th call of `place`: one of `PLACES`."""

    place: str
    count: int


PLACES = ("step", "half written", "before replace", "after replace", "before link", "after link")


Program = Callable[[list[str]], None]
"""What takes the words of a command: a function that a module holds by its name."""


def start(
    arguments: Sequence[object], said: Path, fault: Fault | None = None, by: Program | None = None
) -> BaseProcess:
    """Run `vae-run`, or `by`, with `arguments` in the folder of `said`, the file of its output."""
    process = processes().Process(  # type: ignore[attr-defined]
        target=_main, args=([str(a) for a in arguments], said, fault, by), daemon=True
    )
    process.start()
    return process


def finish(
    arguments: Sequence[object],
    said: Path,
    fault: Fault | None = None,
    by: Program | None = None,
    seconds: float = 120,
) -> int:
    """Run to the end, within `seconds`; the exit code, negative for a signal."""
    process = start(arguments, said, fault, by)
    process.join(seconds)
    assert process.exitcode is not None, "it hangs"
    return process.exitcode


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    """Return when `condition` holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.005)


def _main(arguments: list[str], said: Path, fault: Fault | None, by: Program | None) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    descriptor = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.chdir(said.parent)
    os.environ.pop("HYDRA_FULL_ERROR", None)  # Hydra's, if a sweep of another test began the server
    import torch

    torch.set_num_threads(1)
    from vae_run.cli.main import main

    if fault is not None:
        _prepare(fault)
    (by or main)(arguments)


def _prepare(fault: Fault) -> None:
    from vae_run.training.loop import Loop

    left = [fault.count]

    def die(*_: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def halve(descriptor: int) -> None:
        if left[0] == 1:
            os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
        die()

    if fault.place == "step":
        _around(Loop, "take", after=die)
    elif fault.place == "half written":
        _around(os, "fsync", before=halve)
    else:
        moment, name = fault.place.split()
        _around(os, name, **{moment: die})


def _around(owner: Any, name: str, before: Any = None, after: Any = None) -> None:
    original = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if before is not None:
            before(*args)
        result = original(*args, **kwargs)
        if after is not None:
            after(*args)
        return result

    setattr(owner, name, wrapped)
