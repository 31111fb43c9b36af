"""One training in two processes that torchrun starts, beside the same training in one."""

from __future__ import annotations

import csv
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from denormal_numbers import MEASURED, TRUSTED, assert_flushed

from vae_run.runs import checkpoint_file
from vae_run.system import ranks

if TYPE_CHECKING:
    from conftest import Run

pytestmark = pytest.mark.scale

WORDS = (
    *("device=cpu", "network.widths=[24]", "latent_dim=3", "corruption=masking"),
    *("dataset.binarize=dynamic", "evaluation.figures=[]", "trainer.log_every=3"),
    *("trainer.clip_norm=5.0", "schedule=cosine", "schedule.horizon=9"),
    "trainer.batch_size=431",  # 1294 images: the last batch of an epoch has a single one
)
TIMING = ("train_seconds", "examples_per_second", "denormal_threads")
TOGETHER = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "vae_run")


@pytest.fixture
def start(python_environment: dict[str, str], tmp_path: Path) -> Iterator[Callable]:
    """Start the program in two processes; none outlives the test."""
    started: list[subprocess.Popen[str]] = []
    (tmp_path / "scratch").mkdir()
    environment = {**python_environment, "OMP_NUM_THREADS": "1"}
    environment["TMPDIR"] = str(tmp_path / "scratch")

    def together(*words: str) -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                [sys.executable, *TOGETHER, *words],
                cwd=tmp_path,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
        return started[-1]

    yield together
    for process in started:
        process.terminate()
        process.communicate(timeout=60)


def numbers(run: Path) -> dict[str, float]:
    """All figures of a run: of `metrics.json` and of every epoch's row."""
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    found = {f"{split}/{k}": v for split, values in metrics.items() for k, v in values.items()}
    with (run / "history.csv").open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file)):
            found |= {f"{number} {k}": float(v) for k, v in row.items() if v}
    return {key: value for key, value in found.items() if not key.endswith(TIMING)}


def assert_same(run: Path, alone: Path, tolerance: float = 1e-5) -> None:
    """Assert that figures and weights of two runs agree."""
    found, expected = numbers(run), numbers(alone)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert math.isclose(found[key], value, rel_tol=tolerance, abs_tol=tolerance), key
    own = checkpoint_file.read(run / "checkpoints" / "last.pt")["model"]
    for name, tensor in checkpoint_file.read(alone / "checkpoints" / "last.pt")["model"].items():
        torch.testing.assert_close(own[name], tensor, rtol=1e-4, atol=tolerance, msg=name)


def status(run: Path) -> dict:
    try:
        return json.loads((run / "status.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}


def process_of_rank(rank: int, launcher: int) -> int:
    """The process that `launcher` started as `rank`."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        if parent == launcher and f"RANK={rank}".encode() in environment:
            return int(entry.name)
    raise AssertionError(f"there is no rank {rank}")


def until_training(run: Path, process: subprocess.Popen[str], beyond: int = 0) -> None:
    end = time.monotonic() + 120
    while not (status(run).get("state") == "running" and status(run).get("step", 0) > beyond):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end, "it did not come to train"
        time.sleep(0.02)


def test_two_processes_do_what_one_does(start: Callable, vae_run: Run, tmp_path: Path) -> None:
    words = (*WORDS, "trainer.epochs=5", MEASURED)
    process = start(*words, "hydra.run.dir=two")
    done = vae_run(*words, f"hydra.run.dir={tmp_path / 'one'}")
    assert done.code == 0, done.said
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert_same(tmp_path / "two", tmp_path / "one")
    assert_flushed([tmp_path / "two", tmp_path / "one"])
    assert said.count("1,797 images") == 1, "one of them speaks"
    assert {path.name for path in tmp_path.iterdir()} == {"one", "two", "scratch"}
    assert not list((tmp_path / "scratch").glob("vae-run*"))
    assert len(list((tmp_path / "two").glob("events.out.tfevents.*"))) == 1
    kinds = {path.name for path in (tmp_path / "one").iterdir() if "tfevents" not in path.name}
    assert kinds <= {path.name for path in (tmp_path / "two").iterdir()}

    # What two began, one goes on with
    for run, resumed in (("two", "two"), ("one", "one")):
        done = vae_run("task=resume", f"run={tmp_path / run}", "trainer.epochs=8", TRUSTED)
        assert done.code == 0, (resumed, done.said)
    assert_same(tmp_path / "two", tmp_path / "one")


def test_two_processes_train_a_critic_as_one_does(
    start: Callable, vae_run: Run, tmp_path: Path
) -> None:
    words = (
        *("device=cpu", "model=vae_gan", "objective.adaptive=false", "network.widths=[24]"),
        *("latent_dim=4", "evaluation.figures=[]", "trainer.batch_size=431", "trainer.epochs=3"),
        "trainer.ema=0.9",
    )
    process = start(*words, "hydra.run.dir=two")
    done = vae_run(*words, f"hydra.run.dir={tmp_path / 'one'}")
    assert done.code == 0, done.said
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert_same(tmp_path / "two", tmp_path / "one")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_lost_process_ends_the_run_which_goes_on(
    start: Callable, vae_run: Run, tmp_path: Path
) -> None:
    run = tmp_path / "two"
    often = ("trainer.checkpoint_seconds=0", "trainer.evaluate_every=5")

    # A signal to one of them is heard by both
    process = start(
        *WORDS, *often, "trainer.epochs=100000", "trainer.compile=false", "hydra.run.dir=two"
    )
    until_training(run, process, beyond=40)
    os.kill(process_of_rank(1, process.pid), signal.SIGTERM)
    said, _ = process.communicate(timeout=30)
    assert process.returncode != 0
    assert status(run)["state"] == "interrupted", said
    stopped = checkpoint_file.read(run / "checkpoints" / "last.pt")["step"]
    assert f"interrupted at step {stopped}" in said

    # A killed one ends both within seconds, whichever it is
    for rank in (1, 0):
        process = start("task=resume", "run=two")
        before = checkpoint_file.read(run / "checkpoints" / "last.pt")["step"]
        until_training(run, process, beyond=before + 40)
        os.kill(process_of_rank(rank, process.pid), signal.SIGKILL)
        began = time.monotonic()
        said, _ = process.communicate(timeout=30)
        assert time.monotonic() - began < 15, said
        assert process.returncode != 0
        assert checkpoint_file.read(run / "checkpoints" / "last.pt")["step"] > before
        if rank == 1:
            assert status(run)["state"] == "interrupted", said
            assert "another process of this run ended" in status(run)["message"]

    # One process ends what two began, as if nothing had happened
    step = checkpoint_file.read(run / "checkpoints" / "last.pt")["step"]
    epochs = f"trainer.epochs={step // 4 + 5}"
    for words in (
        ("task=resume", f"run={run}", epochs),
        (*WORDS, *often, epochs, f"hydra.run.dir={tmp_path / 'one'}"),
    ):
        done = vae_run(*words)
        assert done.code == 0, done.said
    assert_same(run, tmp_path / "one", tolerance=1e-3)  # after hundreds of steps

    # What rank 0 refuses ends both, and is told once
    process = start(*WORDS, "hydra.run.dir=two")
    said, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert said.count("already holds a run") == 1
    assert "SIGKILL" not in said, "nobody waited in vain"


@pytest.fixture
def second_of_two(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment of rank 0 of two processes, without a connection."""
    for name, value in zip(ranks.VARIABLES, ("0", "2", "0", "2", "localhost", "1"), strict=True):
        monkeypatch.setenv(name, value)
    ranks.place.cache_clear()
    yield
    monkeypatch.undo()
    ranks.place.cache_clear()


@pytest.mark.usefixtures("second_of_two")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["objective=beta_tc"], "objective: BetaTC needs each batch as a whole"),
        (["objective=mmd"], "objective: MMD needs each batch as a whole"),
        (["objective=dip"], "objective: DIP needs each batch as a whole"),
        (["model=factor_vae"], "objective: FactorVAE needs each batch as a whole"),
        (["model=sparse_ae"], "objective: Sparse needs each batch as a whole"),
        (["model=vae_gan"], "Use objective.adaptive=false, or start without torchrun"),
        (["model=vq_vae"], "posterior.codebook: ema needs each batch as a whole"),
        (["model=residual_vq", "posterior.codebook=gradient"], "Use posterior.revive=0, or start"),
        (["model=pca"], "trainer: "),
        (["model=stacked_dae"], "trainer: Layerwise needs each batch as a whole"),
        (["seed=0,1", "-m"], "--multirun: found 2 processes"),
        (["task=sample", "run=x", "output=x.png"], "task=sample: found 2 processes"),
    ],
)
def test_what_cannot_be_shared_is_refused(
    words: list[str], message: str, vae_run: Run, tmp_path: Path
) -> None:
    done = vae_run("device=cpu", *words)
    assert done.code == 1
    assert message in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [1, 2, 3, 8])
@pytest.mark.parametrize("whole", [0, 1, 5, 128])
def test_every_image_is_of_one_process(size: int, whole: int) -> None:
    taken = [list(range(whole))[ranks.Place(rank, size).slice(whole)] for rank in range(size)]
    assert [image for one in taken for image in one] == list(range(whole))
    lengths = [len(one) for one in taken]
    assert max(lengths) - min(lengths) <= 1
