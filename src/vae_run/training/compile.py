"""Whether the steps of a training are compiled.

`torch.compile` and inductor need a C++ compiler on a CPU.
"""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import dataclass
from typing import Literal

import torch

from vae_run.system.console import IN_FILE_ALONE

log = logging.getLogger("vae_run")

Choice = bool | Literal["auto"]

GAIN = 2e-3
"""Seconds that a compiled step saves, of the 1.5e-3 to 2.6e-3 that were measured."""
COLD, WARM = 25.0, 6.0
"""Seconds that a program takes to be made: compiled here, or traced and then read from disk."""

_alike = 1


def has_compiler() -> bool:
    """Whether there is a C++ compiler that torch can use."""
    names = (os.environ.get("CXX"), "g++", "clang++")
    return any(name and shutil.which(name) for name in names)


def share_programs(jobs: int) -> None:
    """Let this process be one of `jobs` that share the programs of this machine."""
    global _alike
    _alike = jobs


def jobs_alike() -> int:
    """How many jobs share a program, this one included, by `share_programs`; else 1."""
    return _alike


@dataclass(frozen=True)
class Decision:
    """Whether steps are compiled, and why; `by_gain`: because of what they gain and cost."""

    compiled: bool
    why: str
    by_gain: bool = False


def chosen(choice: Choice, *, steps: int, device: torch.device) -> bool:
    """Whether a training of `steps` steps is compiled; warns if it should be but cannot."""
    found = decision(choice, steps=steps, device=device)
    if choice == "auto":
        told = "compiled" if found.compiled else "not compiled"
        extra = {} if found.compiled else IN_FILE_ALONE
        log.info("trainer.compile=auto: %s; %s", told, found.why, extra=extra)
    elif choice is True and not found.compiled:
        log.warning("trainer.compile: %s; training goes on without.", found.why)
    return found.compiled


def decision(choice: Choice, *, steps: int, device: torch.device) -> Decision:
    """Whether a training of `steps` steps is compiled, and why.

    `auto` compares what steps gain with what a program costs, by numbers that depend neither on the
    moment nor on what is on disk: on a machine the same command is always decided alike.
    """
    if choice is False:
        return Decision(False, "trainer.compile=false")
    found = _weighed(steps, device) if choice == "auto" else Decision(True, "trainer.compile=true")
    if found.compiled and not has_compiler():
        return Decision(False, "there is no C++ compiler here")
    return found


def _weighed(steps: int, device: torch.device) -> Decision:
    """What `steps` steps gain, and what compiling costs.

    The first of several jobs compiles the program, and the others read it from disk.
    """
    if device.type == "mps":
        return Decision(False, "torch's compiler is not mature on Apple's GPUs")
    jobs = jobs_alike()
    gain, cost = GAIN * steps * jobs, COLD + WARM * (jobs - 1)
    of_jobs = f" of each of {jobs} jobs" if jobs > 1 else ""
    why = (
        f"{steps:,} steps{of_jobs} gain about {gain:.0f} s, and compiling takes about {cost:.0f} s"
    )
    return Decision(gain > cost, why, by_gain=True)
