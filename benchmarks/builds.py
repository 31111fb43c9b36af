"""Two builds of vae-run under the same clock: this checkout, and an earlier revision of it.

Both are run by the same interpreter with the same packages, through public commands, keys and files
only. Each build has caches of its own (compiled programs, fonts), so neither finds the other's.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from measure import HERE, run

LAST_RELEASE = "bda54b6"
"""The last release's build, until a tag names one."""


@dataclass(frozen=True)
class Trained:
    """A finished training run.

    Attributes:
        seconds: of the whole command, from the prompt to the prompt.
        peak_mb: its peak memory; see `measure.run`.
        speed: images a second of training alone, over the whole run.
        epochs: images a second of each epoch; compilation is part of the first.
        test_loss: in nats an image.
    """

    seconds: float
    peak_mb: float
    speed: float
    epochs: list[float]
    test_loss: float

    def late(self) -> float:
        """Median speed of the last third of the epochs, as a share of the speed at the start.

        The start is the faster one of the first two epochs, since the first may hold compilation.
        """
        return statistics.median(self.epochs[len(self.epochs) * 2 // 3 :]) / max(self.epochs[:2])


@dataclass(frozen=True)
class Swept:
    """A finished sweep.

    Attributes:
        seconds: of the whole command.
        ended: seconds from its start to the last result of each job, in order.
        test_loss: mean over the jobs, in nats an image.
    """

    seconds: float
    ended: list[float]
    test_loss: float

    def seconds_of(self, jobs: int, at_a_time: int) -> float:
        """The time that `jobs` jobs take: further ones take as long as those after the first.

        The first job of each process is left out of that, since it holds start-up and compilation.
        """
        further = jobs - len(self.ended)
        if not further:
            return self.seconds
        first, last = self.ended[:at_a_time], self.ended[-at_a_time:]
        turns = len(self.ended) // at_a_time - 1
        turn = (statistics.mean(last) - statistics.mean(first)) / turns
        return self.seconds + further / at_a_time * turn


@dataclass(frozen=True)
class Build:
    """A revision of vae-run that can be run.

    Attributes:
        name: how tables call it.
        tree: the folder that holds its `src/` and `conf/`.
        cache: the folder of its caches and temporary files.
    """

    name: str
    tree: Path
    cache: Path

    def cold(self) -> Build:
        """The same build with empty caches."""
        return replace(self, cache=Path(tempfile.mkdtemp(dir=self.cache.parent)))

    def environment(self) -> dict[str, str]:
        """Variables by which Python finds this build, and its libraries their caches."""
        temporary = self.cache / "tmp"  # of torch's compiler
        temporary.mkdir(parents=True, exist_ok=True)
        paths = {"TMPDIR": str(temporary), "XDG_CACHE_HOME": str(self.cache)}
        return {**paths, "PYTHONPATH": str(self.tree / "src")}

    def threads(self, count: int | None) -> tuple[str, ...]:
        """The override that sets the threads of a run, where this build has a key for them."""
        for file, key in (("trainer/gradient.yaml", "trainer.threads"), ("config.yaml", "threads")):
            file_ = self.tree / "conf" / file
            has = file_.is_file() and re.search(r"^threads:", file_.read_text(), re.MULTILINE)
            if has and count is not None:
                return (f"{key}={count}",)
        return ()

    def train(self, *words: str, threads: int | None, **how: Any) -> Trained:
        """One run of the program; `how` are keywords of `measure.run`."""
        with tempfile.TemporaryDirectory() as folder:
            directory = Path(folder, "run")
            typed = [*words, *self.threads(threads), f"hydra.run.dir='{directory}'"]
            command = [sys.executable, "-m", "vae_run", *typed]
            done = run(command, threads, Path(folder), self.environment(), **how)
            metrics = json.loads((directory / "metrics.json").read_text())
            history = list(csv.DictReader((directory / "history.csv").open()))
            pictures = {path.name for path in directory.glob("figures/*.png")}
            if "evaluation.figures=[]" not in words and not (
                pictures and (directory / "report.html").is_file()
            ):
                raise RuntimeError(f"{self.name}: no pictures or report when the prompt was back")
        trained = metrics["train"]
        images = trained["examples_per_second"] * trained["train_seconds"] / len(history)
        times = [0.0, *(float(row["train_seconds"]) for row in history)]
        epochs = [images / (after - before) for before, after in itertools.pairwise(times)]
        speed, loss = trained["examples_per_second"], metrics["test"]["loss"]
        return Trained(done.seconds, done.peak_mb, speed, epochs, loss)

    def sweep(self, jobs: int, *words: str, at_a_time: int) -> Swept:
        """A sweep over seeds by the local launcher."""
        with tempfile.TemporaryDirectory() as folder:
            typed = [f"seed=range({jobs})", f"hydra.launcher.jobs={at_a_time}", "sweep.dir=sweep"]
            command = [sys.executable, "-m", "vae_run", "-m", *words, *typed]
            start = Path(folder, "start")
            start.touch()
            done = run(command, None, Path(folder), self.environment())
            files = list(Path(folder, "sweep").glob("*/metrics.json"))
            if len(files) != jobs:
                raise RuntimeError(f"{self.name}: {len(files)} of {jobs} jobs were completed")
            began = start.stat().st_mtime
            ended = sorted(file.stat().st_mtime - began for file in files)
            losses = [json.loads(file.read_text())["test"]["loss"] for file in files]
        return Swept(done.seconds, ended, statistics.mean(losses))


def this(folder: Path) -> Build:
    """This checkout, with its caches in `folder`."""
    return Build("vae-run", HERE.parent, folder / "ours")


def earlier(revision: str, folder: Path) -> Build:
    """A revision of this checkout, unpacked in `folder`.

    Raises:
        RuntimeError: this is no git checkout, or it does not have the revision.
    """
    commit = _git("rev-parse", "--short", "--verify", f"{revision}^{{commit}}").decode().strip()
    tree = folder / "base"
    with tarfile.open(fileobj=io.BytesIO(_git("archive", commit))) as archive:
        archive.extractall(tree, filter="data")
    return Build(commit, tree, folder / "caches of base")


def last_release() -> str:
    """The newest tag before this commit; while there is none, `LAST_RELEASE`."""
    try:
        return _git("describe", "--tags", "--abbrev=0", "HEAD^").decode().strip()
    except RuntimeError:
        return LAST_RELEASE


def _git(*words: str) -> bytes:
    done = subprocess.run(["git", "-C", HERE.parent, *words], capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode().strip()
        raise RuntimeError(
            f"an earlier build is needed for this row, and git {words[0]} failed: {said}: "
            "set BASE to a revision of this checkout"
        )
    return done.stdout


def in_turn(names: list[str], number: int) -> Iterator[str]:
    """The order of a round: every other one is reversed."""
    return iter(names if number % 2 == 0 else names[::-1])
