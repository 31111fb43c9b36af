"""vae-run: train, evaluate and sweep autoencoders, from the command line and from Python."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vae_run.version import __version__

if TYPE_CHECKING:
    from vae_run.api.comparing import compare
    from vae_run.api.evaluation import evaluate
    from vae_run.api.run import Run
    from vae_run.api.sweeping import Sweep, sweep
    from vae_run.api.training import fit, train
    from vae_run.runs.load import load

__all__ = [
    "Run",
    "Sweep",
    "__version__",
    "compare",
    "evaluate",
    "fit",
    "load",
    "sweep",
    "train",
]

_HOMES = {
    "Run": "vae_run.api.run",
    "Sweep": "vae_run.api.sweeping",
    "compare": "vae_run.api.comparing",
    "evaluate": "vae_run.api.evaluation",
    "fit": "vae_run.api.training",
    "load": "vae_run.runs.load",
    "sweep": "vae_run.api.sweeping",
    "train": "vae_run.api.training",
}


def __getattr__(name: str) -> Any:
    # Importing torch takes seconds, and neither `import vae_run` nor `vae-run --help` needs it.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name == "sklearn":
        return import_module("vae_run.sklearn")
    raise AttributeError(f"module 'vae_run' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
