"""SIGKILL at random moments of trainings, which are resumed and have to end bit for bit alike.

    python tests/faults/kills.py                  # every case, 15 kills each
    python tests/faults/kills.py vq_vae mlflow --kills 100 --seed 1

A case trains once in peace. Then trainings of it are started, killed one to three times in their
life, resumed until they are complete, and compared with the first: weights, optimiser, averages,
random states, metrics, history and curves. Two of three kills come at a random moment between the
start of a process and its end, the others in a step or while a file is written (`PLACES`). A line
a case counts the kills by what the run had reached.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))

from composed_once import forked_processes_compose_likewise
from killable import PLACES, Fault, Program, finish, start
from same_run import assert_same_run

import vae_run
from vae_run.sweeps.executors.forking import warm_up

RAW = argparse.RawDescriptionHelpFormatter

PLAN = (
    *("device=cpu", "network.widths=[16]", "evaluation.figures=[]", "trainer.epochs=8"),
    *("trainer.log_every=2", "trainer.checkpoint_seconds=0", "trainer.compile=false"),
    "dataset.classes=[0,1,2]",
)
PATIENCE = 600
"""Seconds until a process counts as one that hangs: to compile takes a minute on a busy machine."""
VQ, SPARSE, FLOW = "model=vq_vae", "model=sparse_ae", "[8]"
CASES: dict[str, tuple[str, ...]] = {
    "vae": (),
    "vq_vae": (VQ,),
    "vq_vae gradient": (VQ, "posterior.codebook=gradient", "posterior.revive=0"),
    "fsq": ("model=fsq", "latent_dim=4"),
    "residual_vq": ("model=residual_vq",),
    "sparse_ae topk": (SPARSE, "latent_dim=64", "objective.k=4"),
    "sparse_ae batch_topk": (SPARSE, "latent_dim=64", "objective.sparsity=batch_topk"),
    "sparse_ae jumprelu": (SPARSE, "latent_dim=64", "objective.sparsity=jumprelu"),
    "contractive_ae": ("model=contractive_ae",),
    "factor_vae": ("model=factor_vae",),
    "aae": ("model=aae",),
    "vae_gan": ("model=vae_gan",),
    "kl_autoencoder": (
        *("model=kl_autoencoder", "latent_shape=[2,4,4]", "objective.adversarial=0.5"),
    ),
    "hierarchical_vae": ("model=hierarchical_vae",),
    "ladder_vae": ("model=ladder_vae",),
    "rae": ("model=rae",),
    "posterior flow": ("posterior=flow", f"posterior.hidden={FLOW}"),
    "prior flow": ("prior=flow", f"prior.hidden={FLOW}"),
    "prior vamp": ("prior=vamp",),
    "wake_sleep": ("objective=reweighted_wake_sleep",),
    "ema": ("trainer.ema=0.999",),
    "accumulate": ("trainer.accumulate=4",),
    "compiled": ("trainer.compile=true",),
    "fit, Run.resume": (),
    "fit, task=resume": (),
    "mlflow": ("tracker=mlflow",),
}
WIDE = {"contractive_ae", "fsq", *(name for name in CASES if name.startswith("sparse_ae"))}
"""Cases that do not take the `latent_dim=3` of the others."""
LINEAR = {"contractive_ae", *(name for name in CASES if name.startswith("sparse_ae"))}
"""Cases whose network has no hidden layers."""


def plan(case: str) -> tuple[str, ...]:
    """What is typed for the training of a case."""
    left_out = {"network.widths=[16]"} if case in LINEAR else set()
    if case.startswith("fit"):
        left_out |= {"dataset.classes=[0,1,2]"}
    size = () if case in WIDE or case == "kl_autoencoder" else ("latent_dim=3",)
    return (*(word for word in PLAN if word not in left_out), *size, *CASES[case])


def images() -> NDArray[np.uint8]:
    """What cases of Python train on: 300 grey images, the same ones in each process."""
    return np.random.default_rng(0).integers(0, 256, (300, 8, 8), dtype=np.uint8)


def fit(words: list[str]) -> None:
    """`vae_run.fit` on images in memory, in the folder that `hydra.run.dir` names."""
    keys = {key: yaml.safe_load(value) for key, _, value in (w.partition("=") for w in words)}
    vae_run.fit(images(), directory=keys.pop("hydra.run.dir"), quiet=True, **keys)


def resume_in_python(words: list[str]) -> None:
    """`Run.resume` of the run that the second of `words` names."""
    vae_run.Run(words[1].partition("=")[2]).resume(images(), quiet=True)


@dataclass
class Soak:
    """One case: its run in peace, and those that are killed.

    Attributes:
        folder: an empty one, for its runs.
        kills: what the runs had reached when they were killed.
        lives: runs that were killed and then completed, each equal to the one in peace.
    """

    case: str
    folder: Path
    dice: random.Random
    words: tuple[str, ...] = ()
    seconds: float = 0.0
    kills: Counter[str] = field(default_factory=Counter)
    lives: int = 0

    def in_peace(self) -> None:
        """Train twice without a kill, which has to be the same, and take the time."""
        np.savez(self.folder / "images.npz", train=images())
        self._finish(self._begun("again"))
        begun = time.monotonic()
        self._finish(self._begun("whole"))
        self.seconds = time.monotonic() - begun
        assert_same_run(self.folder / "again", self.folder / "whole")

    def live(self, number: int, most: int) -> None:
        """Kill a training one to three times, `most` at most, complete it, and compare it."""
        name, killed = f"life{number}", 0
        for _ in range(min(most, self.dice.randint(1, 3))):
            killed += self._killed(name)
        self._finish(self._next(name))
        run = self.folder / name
        assert killed == 0 or not list(run.rglob("*.tmp")), list(run.rglob("*.tmp"))
        assert json.loads((run / "status.json").read_text())["state"] == "completed"
        assert_same_run(run, self.folder / "whole")
        shutil.rmtree(run)
        self.lives += 1

    def _killed(self, name: str) -> bool:
        """Whether the next process of a run was killed before its end."""
        run, said = self.folder / name, self.folder / "said"
        words, by = self._next(name)
        if self.dice.random() < 1 / 3:
            fault = Fault(self.dice.choice(PLACES), self.dice.randint(1, 12))
            process = start(words, said, fault, by)
        else:
            process = start(words, said, by=by)
            process.join(self.dice.uniform(0, self.seconds))
            process.kill()
        process.join(PATIENCE)
        assert process.exitcode in (0, -signal.SIGKILL), said.read_text()
        if process.exitcode == 0:
            return False
        self.kills[reached(run)] += 1
        return True

    def _begun(self, name: str) -> tuple[tuple[str, ...], Program | None]:
        in_python = self.case.startswith("fit")
        words = (*plan(self.case), *self.words, f"hydra.run.dir={name}")
        return words, fit if in_python else None

    def _next(self, name: str) -> tuple[tuple[str, ...], Program | None]:
        """What a user does next: begin the run where there is none, or resume it."""
        if not (self.folder / name / "status.json").exists():
            return self._begun(name)
        resume = ("task=resume", f"run={name}")
        if self.case == "fit, Run.resume":
            return resume, resume_in_python
        return (*resume, "dataset.path=images.npz") if "fit" in self.case else resume, None

    def _finish(self, step: tuple[tuple[str, ...], Program | None]) -> None:
        said = self.folder / "said"
        assert finish(step[0], said, by=step[1], seconds=PATIENCE) == 0, said.read_text()


def reached(run: Path) -> str:
    """How far a run was when it was killed, by what it left."""
    if not (run / "status.json").exists():
        return "start"
    if list(run.rglob("*.tmp")):
        return "writing"
    if not (run / "checkpoints" / "last.pt").exists():
        return "first steps"
    return "closing" if (run / "metrics.json").exists() else "steps"


def soak(case: str, kills: int, folder: Path, seed: int = 0, words: Sequence[str] = ()) -> Soak:
    """Kill trainings of `case` until `kills` were killed; each has to end like the one in peace.

    Args:
        case: one of `CASES`.
        kills: how many.
        folder: an empty one.
        seed: of the moments.
        words: added to what is typed.
    """
    made = Soak(case, folder, random.Random(f"{case} {seed}"), tuple(words))
    made.in_peace()
    for number in range(4 * kills):
        if made.kills.total() == kills:
            return made
        made.live(number, kills - made.kills.total())
    raise AssertionError(f"{case}: only {made.kills.total()} of {kills} came before the end")


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """The address of an MLflow server of this machine, which is ended afterwards."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tracking"))
    from test_services import Server

    server = Server(folder)
    try:
        yield server.uri
    finally:
        server.kill()


def counted(case: str, kills: int, seed: int) -> str:
    """A row of the table: the case, the kills by what was reached, and the lives."""
    with tempfile.TemporaryDirectory() as place, ExitStack() as open_:
        folder, words = Path(place) / "runs", []
        folder.mkdir()
        if case == "mlflow":
            os.environ["XDG_STATE_HOME"] = place  # the key of run ids
            words.append(f"tracker.uri={open_.enter_context(mlflow_server(Path(place)))}")
        found = soak(case, kills, folder, seed, words)
    where = ", ".join(f"{count} {name}" for name, count in sorted(found.kills.items()))
    return f"{case:22} {found.kills.total():4} kills in {found.lives:3} runs: {where}"


def main() -> None:
    """What is typed; see the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=RAW)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}")
    parser.add_argument("--kills", type=int, default=15, help="of each case")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    given = parser.parse_args()
    if unknown := set(given.cases) - set(CASES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    with forked_processes_compose_likewise():
        warm_up(threads=1)
    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it tells of resumed curves
    failed = []
    for case in given.cases or CASES:
        try:
            print(counted(case, given.kills, given.seed), flush=True)
        except AssertionError as error:
            failed.append(case)
            print(f"{case:22} DIFFERS: ...{str(error)[-2000:]}", flush=True)
    sys.exit(f"not alike: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
