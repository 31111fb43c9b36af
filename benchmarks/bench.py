"""The rows of `speed.py`, and runs of vae-run that give them."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from measure import HERE, Spread, run, script

MNIST = ("experiment=mnist_quick", "device=cpu")


@dataclass
class Bench:
    """Options of all groups of measurements, and the rows of the table so far."""

    threads: int
    rounds: int
    epochs: int
    root: Path
    rows: list[dict[str, str]] = field(default_factory=list)
    raw: dict[str, Any] = field(default_factory=dict)

    def row(self, what: str, found: str, mark: str = "", detail: str = "") -> None:
        self.rows.append({"quantity": what, "measured": found, "target": mark, "detail": detail})
        print(f"  {what}: {found} {detail}", file=sys.stderr, flush=True)

    def ratio(self, what: str, spread: Spread, least: float, detail: str = "") -> None:
        """A row whose target is a least ratio; 0: no target."""
        met = "met" if spread.median >= least else "missed"
        mark = f"at least {least:g}: {met}" if least else ""
        self.row(what, f"{spread.text()} times", mark, detail)

    def vae_run(self, *overrides: str) -> dict[str, Any]:
        """Seconds, memory and metrics of one run of the program, from `stages.py`."""
        with tempfile.TemporaryDirectory() as folder:
            stages, directory = Path(folder, "stages.json"), Path(folder, "run")
            typed = [*overrides, f"hydra.run.dir='{directory}'"]
            run(script("stages.py", stages, *typed), self.threads, Path(folder))
            metrics = json.loads((directory / "metrics.json").read_text())
            return {**json.loads(stages.read_text()), **metrics}

    def mnist(self, epochs: int, *overrides: str) -> dict[str, Any]:
        """A training on MNIST without figures."""
        where = f"dataset.root='{self.root}'"
        plain = (f"trainer.epochs={epochs}", "evaluation.figures=[]")
        return self.vae_run(*MNIST, where, *plain, *overrides)

    def trained(self, epochs: int, *overrides: str) -> dict[str, Any]:
        """The values that `peers.py` prints, for a training of vae-run, and the peak memory."""
        found = self.mnist(epochs, *overrides)
        return {
            "examples_per_second": found["train"]["examples_per_second"],
            "seconds_to_the_end": found["trained"],
            "test_loss": found["test"]["loss"],
            "peak_mb": found["peak_mb"],
        }

    def seconds(self, command: list[str], folder: Path | None = None) -> float:
        return run(command, self.threads, folder).seconds


def data_root() -> Path:
    """The folder of MNIST: VAE_RUN_DATA, or shared/data beside the checkout."""
    root = Path(os.environ.get("VAE_RUN_DATA") or HERE.parents[1] / "shared" / "data").resolve()
    if not (root / "MNIST" / "raw" / "train-images-idx3-ubyte").is_file():
        sys.exit(
            f"speed.py: no MNIST in {root}: set VAE_RUN_DATA to the folder that holds MNIST/raw/ "
            "with the four unpacked idx files (train-images-idx3-ubyte, ...)."
        )
    return root
