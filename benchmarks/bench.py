"""What the rows of `speed.py` share: options, the builds, and the table so far."""

from __future__ import annotations

import functools
import json
import os
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builds import Build, earlier, this
from measure import HERE, Spread, run, script

MNIST = ("experiment=mnist_quick", "device=cpu", "evaluation.figures=[]")


@dataclass(frozen=True)
class Sizes:
    """How much each row measures."""

    long: int = 30
    """Epochs of the long trainings."""
    peers: int = 10
    """Epochs of the first round of `peers`."""
    short: int = 4
    """Epochs of the trainings whose speed alone is of interest."""
    swept: int = 20
    """Epochs of a job of the sweep."""
    seeds: int = 4
    """Jobs of the sweep that are run, of `all_seeds`."""
    all_seeds: int = 16
    tiny: int = 100
    """Jobs of the sweep of tiny jobs."""
    digits: int = 100
    """Epochs of the run on digits."""
    samples: int = 5000
    images: int = 20


QUICK = Sizes(long=3, peers=2, short=2, swept=1, tiny=4, digits=2, samples=50, images=2)
"""Sizes that show that every row works; their numbers mean nothing."""


@dataclass
class Bench:
    """Options of all rows, and the rows of the table so far."""

    threads: int
    rounds: int
    root: Path
    folder: Path
    base: str = ""
    """The revision that this build is compared with."""
    sizes: Sizes = field(default_factory=Sizes)
    rows: list[dict[str, str]] = field(default_factory=list)
    raw: dict[str, Any] = field(default_factory=dict)

    @property
    def long_rounds(self) -> int:
        """Rounds of what takes minutes."""
        return max(1, self.rounds - 1)

    @functools.cached_property
    def ours(self) -> Build:
        """This build; its file caches are filled."""
        return self._warm(this(self.folder))

    @functools.cached_property
    def earlier(self) -> Build:
        """The build that it is compared with, likewise."""
        return self._warm(earlier(self.base, self.folder))

    @staticmethod
    def _warm(build: Build) -> Build:
        build.train("device=cpu", "trainer.epochs=1", threads=None)
        return build

    def row(self, what: str, found: str, mark: str = "", detail: str = "") -> None:
        self.rows.append({"quantity": what, "measured": found, "mark": mark, "detail": detail})
        print(f"  {what}: {found} {detail}", file=sys.stderr, flush=True)

    def marked(
        self,
        what: str,
        spread: Spread,
        unit: str = "times",
        detail: str = "",
        *,
        least: float | None = None,
        most: float | None = None,
    ) -> None:
        """A row with a bound that its median meets or misses; without one, no mark."""
        mark = ""
        if least is not None:
            mark = f"at least {least:g}: {'met' if spread.median >= least else 'missed'}"
        elif most is not None:
            mark = f"at most {most:g}: {'met' if spread.median <= most else 'missed'}"
        self.row(what, f"{spread.text()} {unit}", mark, detail)

    def mnist(self, epochs: int, *words: str) -> tuple[str, ...]:
        """The words of a training on MNIST without pictures."""
        where = f"dataset.root='{self.root}'"
        return (*MNIST, where, f"trainer.epochs={epochs}", *words)

    def script(self, name: str, *arguments: object, core: int | None = None) -> Any:
        """What a script of this folder prints as JSON."""
        ours = {"PYTHONPATH": str(HERE.parent / "src")}
        threads = self.threads if core is None else 1
        return json.loads(run(script(name, *arguments), threads, added=ours, core=core).output)

    def vae_run(self, *overrides: str) -> dict[str, Any]:
        """Seconds, memory, metrics and `compiled` of one run of this build, from `stages.py`."""
        with tempfile.TemporaryDirectory() as folder:
            stages, directory = Path(folder, "stages.json"), Path(folder, "run")
            typed = [*overrides, f"hydra.run.dir='{directory}'"]
            run(script("stages.py", stages, *typed), self.threads, Path(folder))
            metrics = json.loads((directory / "metrics.json").read_text())
            compiled = json.loads((directory / "environment.json").read_text()).get("compiled")
            return {**json.loads(stages.read_text()), **metrics, "compiled": compiled}


def data_root() -> Path:
    """The folder of MNIST: VAE_RUN_DATA, or shared/data beside the checkout."""
    root = Path(os.environ.get("VAE_RUN_DATA") or HERE.parents[1] / "shared" / "data").resolve()
    if not (root / "MNIST" / "raw" / "train-images-idx3-ubyte").is_file():
        sys.exit(
            f"speed.py: no MNIST in {root}: set VAE_RUN_DATA to the folder that holds MNIST/raw/ "
            "with the four unpacked idx files (train-images-idx3-ubyte, ...)."
        )
    return root


def small_mnist(folder: Path) -> Path:
    """A folder with files in MNIST's format: 1,000 random images to train on, 200 to test on."""
    import numpy as np

    raw, random = folder / "MNIST" / "raw", np.random.default_rng(0)
    raw.mkdir(parents=True)
    for stem, n in (("train", 1000), ("t10k", 200)):
        for name, shape in (("images-idx3", (n, 28, 28)), ("labels-idx1", (n,))):
            values = random.integers(0, 256 if len(shape) > 1 else 10, shape, dtype=np.uint8)
            header = np.array([0x0800 + len(shape), *shape], ">i4").tobytes()
            (raw / f"{stem}-{name}-ubyte").write_bytes(header + values.tobytes())
    return folder
