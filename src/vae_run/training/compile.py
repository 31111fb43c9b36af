"""Whether the steps of a training are compiled.

`torch.compile` and inductor need a C++ compiler on a CPU.
"""

from __future__ import annotations

import logging
import os
import shutil
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


def chosen(choice: Choice, *, steps: int, device: torch.device) -> bool:
    """Whether a training of `steps` steps is compiled; warns if it should be but cannot.

    `auto` compares what steps gain with what a program costs, by numbers that depend neither on the
    moment nor on what is on disk: on a machine the same command is always decided alike.
    """
    if choice is False:
        return False
    if choice == "auto" and not _pays(steps, device):
        return False
    if not has_compiler():
        if choice is True:
            log.warning("trainer.compile: there is no C++ compiler here; training goes on without.")
        return False
    return True


def _pays(steps: int, device: torch.device) -> bool:
    """Whether `steps` steps gain what compiling costs; says so in a line.

    The first of several jobs compiles the program, and the others read it from disk. On Apple's
    GPUs torch's compiler is not mature.
    """
    jobs = jobs_alike()
    gain, cost = GAIN * steps * jobs, COLD + WARM * (jobs - 1)
    pays = gain > cost and device.type != "mps"
    log.info(
        "trainer.compile=auto: %s; %s steps%s gain about %.0f s, and compiling takes about %.0f s",
        "compiled" if pays else "not compiled",
        f"{steps:,}",
        f" of each of {jobs} jobs" if jobs > 1 else "",
        gain,
        cost,
        extra={} if pays else IN_FILE_ALONE,
    )
    return pays
