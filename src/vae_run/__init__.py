"""vae-run: train, evaluate and sweep autoencoders from the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vae_run.version import __version__

if TYPE_CHECKING:
    from vae_run.runs.load import load

__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    # Importing torch takes seconds, and neither `import vae_run` nor `vae-run --help` needs it.
    if name == "load":
        from vae_run.runs.load import load

        return load
    raise AttributeError(f"module 'vae_run' has no attribute {name!r}")
