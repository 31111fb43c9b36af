"""The software and the machine that a run was made with."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from vae_run.runs.saved_json import read_if_whole
from vae_run.system.denormals import flushed
from vae_run.system.files import write_json

PACKAGES = ("vae-run", "torch", "torchvision", "numpy", "hydra-core", "omegaconf", "tensorboard")


def environment(device: torch.device, threads: int) -> dict[str, Any]:
    """Versions, device and threads: what decides whether metrics of two runs can be compared.

    `threads` are those of the training; `evaluation_threads` compute the metrics after it.
    """
    return {
        "versions": {name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else "",
        "threads": threads,
        "evaluation_threads": torch.get_num_threads(),
        "denormals_flushed": flushed(),
        "git_revision": _git_revision(),
    }


COMPILED = "compiled"
"""The key of `environment.json` that says whether the steps of the training were compiled."""


def compiled_before(recorded: Mapping[str, Any]) -> dict[str, bool]:
    """What `environment.json`, as it is `recorded`, says of that; before any step, False."""
    return {COMPILED: bool(recorded.get(COMPILED, False))}


def record_compiled(run: Path, *, compiled: bool) -> None:
    """Let `environment.json` of the run at `run` say whether steps are compiled, if it is there."""
    file = run / "environment.json"
    about = read_if_whole(file)
    if about and about.get(COMPILED, False) is not compiled:
        write_json(file, {**about, COMPILED: compiled})


@cache  # a sweep in Python asks for each run, and the metadata are read from files
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


_REMEMBERED: dict[Path, str | None] = {}
"""The revisions of working directories that `remember` has asked git for."""


def remember() -> None:
    """Read versions and the revision once, for all processes that are forked from this one.

    Their code is that of this process, whatever is committed while they run.
    """
    for name in PACKAGES:
        _version(name)
    _REMEMBERED[Path.cwd()] = _git_revision()


def _git_revision() -> str | None:
    """The git revision of the working directory, followed by + if files have been changed."""
    if (here := Path.cwd()) in _REMEMBERED:
        return _REMEMBERED[here]
    command = ["git", "describe", "--always", "--dirty=+", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
