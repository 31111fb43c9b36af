"""Runs that are killed, interrupted or extended end as if nothing had happened, bit for bit."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import killable
import pytest
from same_run import assert_same_run, curves, history, metrics, read, same
from stopping import SMALL_RUN, stop_at
from tensorboard.summary.writer import event_file_writer

from vae_run.runs import checkpoint_file

if TYPE_CHECKING:
    from conftest import Run, Train

KILLED = (
    *("device=cpu", "network.widths=[24]", "latent_dim=3", "trainer.epochs=48", "model=vae"),
    *("corruption=masking", "dataset.binarize=dynamic", "evaluation.figures=[]"),
    *("trainer.log_every=4", "trainer.checkpoint_seconds=0", "schedule=cosine"),
)
"""Random numbers in order, binarization, corruption and codes; a save every fourth step."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("resume")


@pytest.fixture
def start(python_environment: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the program in a process of its own; none outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "vae_run", *arguments],
            cwd=cwd,
            env=python_environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture(autouse=True)
def _event_files_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorBoard reads a folder's event files by name: second, host, process, counter. Of
    resumes within one second and one process, file 10 would come before file 9."""
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(1000))


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.002)


def rows_of(run: Path) -> int:
    file = run / "history.csv"
    return len(file.read_text(encoding="utf-8").splitlines()) - 1 if file.exists() else 0


# --- killed -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(place: Path, train: Train) -> Path:
    """The run of `KILLED` that nobody stopped."""
    return train(place / "whole", *KILLED)


@pytest.mark.scale
def test_three_runs_killed_at_random_points_end_like_one_that_was_not(
    whole: Path, start: Any, vae_run: Run, place: Path
) -> None:
    dice = random.Random()
    # Thirds of its first 33 epochs, so that early, middle and late kills are all among them.
    points = [dice.randrange(1 + 11 * third, 11 * (third + 1)) for third in range(3)]
    runs = {place / f"killed-{epoch}": epoch for epoch in points}
    processes = {}
    for run, epoch in runs.items():
        processes[run] = start(*KILLED, f"hydra.run.dir={run}", cwd=place)
        if epoch == points[0]:
            wait_for(lambda: (place / f"killed-{points[0]}").exists())
    waiting = dict(runs)
    while waiting:
        for run, epoch in list(waiting.items()):
            assert processes[run].poll() is None, processes[run].communicate()[0]
            if rows_of(run) >= epoch:
                time.sleep(dice.random() * 0.03)
                processes[run].send_signal(signal.SIGKILL)
                del waiting[run]
        time.sleep(0.002)
    for run, epoch in runs.items():
        assert processes[run].wait() == -signal.SIGKILL
        assert read(run / "status.json")["state"] == "running"
        assert not (run / "metrics.json").exists()
        saved = checkpoint_file.read(run / "checkpoints" / "last.pt")
        assert 0 < saved["step"] < 48 * 11, f"killed after epoch {epoch}"
        hydra = (run / ".hydra" / "config.yaml").read_bytes()
        finished = vae_run("task=resume", f"run={run}")
        assert finished.code == 0, finished.said
        assert f"goes on at epoch {saved['epoch']:.4g}" in finished.out
        assert read(run / "status.json")["state"] == "completed"
        assert_same_run(run, whole)
        assert (run / ".hydra" / "config.yaml").read_bytes() == hydra
        log = (run / "train.log").read_text(encoding="utf-8")
        assert log.count("cross-entropies") + log.count("images of 1x8x8") >= 2


STOPPED = {
    # Before the first step, amid a logging window, at an epoch's end, amid the last epoch.
    "gradient": (
        (1, 2, 11, 17, 32, 33),
        ("corruption=salt_and_pepper", "likelihood=gaussian", "likelihood.sigma=optimal",
         "optimizer=sgd"),
    ),
    # Two layers of an epoch each: amid the first, where it ends, amid and at the end of the second.
    "layerwise": ((5, 11, 14, 22, 25), ("model=stacked_dae", "trainer.pretrain_epochs=1")),
    # Before the first mask, at one, between two, at the last, after it.
    "pruning": ((3, 4, 6, 22, 27), ("trainer=pruning", "trainer.prune_until=2",
                                   "trainer.prune_every=4")),
    "layers": ((14,), ("model=ladder_vae", "objective.warmup_epochs=2")),
    "flow": ((14,), ("posterior=flow", "posterior.kind=iaf", "prior=flow", "prior.kind=maf")),
    "spectral_norm": ((1, 14), ("model=rae", "network.spectral_norm=true",
                                "objective.regularizer=none")),
    "batch_topk": ((1, 14), ("model=sparse_ae", "objective.sparsity=batch_topk", "latent_dim=32")),
    # A critic of codes; one of images, before its word counts, at that step, and after it.
    "critic": ((1, 14), ("model=factor_vae", "objective.critic_widths=[8]")),
    "image_critic": ((5, 11, 14), ("model=vae_gan", "objective.critic_widths=[4]")),
}  # fmt: skip
"""Steps at which a run of 3 epochs of 11 is stopped, and what is run."""


LONG = ("image_critic", "flow", "spectral_norm", "layers", "batch_topk")


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.scale) if n in LONG else n for n in STOPPED],
)
def test_a_run_stopped_at_every_kind_of_step_ends_the_same(
    name: str, place: Path, vae_run: Run, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, parts = STOPPED[name]
    plan = ("trainer.epochs=3", "trainer.log_every=4", *parts)
    never = train(place / f"never-{name}", *plan)
    stopped = place / f"stopped-{name}"
    stop_at(monkeypatch, 1)
    command: tuple[str, ...] = (*SMALL_RUN, f"hydra.run.dir={stopped}", *plan)
    for step in steps:
        stop_at(monkeypatch, step)
        finished = vae_run(*command)
        assert finished.code == 143, finished.said
        assert read(stopped / "status.json")["state"] == "interrupted"
        assert checkpoint_file.read(stopped / "checkpoints" / "last.pt")["step"] == step
        assert "task=resume" in finished.err
        command = ("task=resume", f"run={stopped}")
    stop_at(monkeypatch, None)
    assert vae_run(*command).code == 0
    assert_same_run(stopped, never)


# --- interrupted ------------------------------------------------------------------------------


def test_signals_end_a_run_with_a_checkpoint_and_their_exit_code(
    vae_run: Run, tmp_path: Path
) -> None:
    """Two starts at the same time, from the same folder, without a directory given."""
    typed = (
        "device=cpu",
        "network.widths=[8]",
        "trainer.epochs=1000000",
        "evaluation.figures=[]",
        "trainer.compile=false",
    )
    sent = {signal.SIGTERM: 143, signal.SIGINT: 130}
    processes = {number: killable.start(typed, tmp_path / f"said-{number}") for number in sent}

    def running() -> dict[int, Path]:
        found = {}
        for file in tmp_path.glob("outputs/*/*/status.json"):
            status = read(file)
            if status.get("step", 0) > 0:
                found[status["pid"]] = file.parent
        return found

    wait_for(lambda: len(running()) == 2 or not all(p.is_alive() for p in processes.values()))
    directories = running()
    assert len(set(directories.values())) == 2
    for number, process in processes.items():
        assert process.pid is not None
        os.kill(process.pid, number)
    for number, process in processes.items():
        process.join(60)
        said = (tmp_path / f"said-{number}").read_text(encoding="utf-8")
        run = directories[process.pid or 0]
        assert process.exitcode == sent[number], said
        assert "Traceback" not in said
        status = read(run / "status.json")
        assert status["state"] == "interrupted"
        assert "task=resume" in status["message"]
        saved = checkpoint_file.read(run / "checkpoints" / "last.pt")
        assert saved["step"] > 0
        assert f"interrupted at step {saved['step']}" in said
        finished = vae_run("task=resume", f"run={run}", "trainer.epochs=1")
        assert finished.code == 0, "it is past that already: the end of a training is left to do"
        assert read(run / "status.json")["state"] == "completed"
        assert metrics(run)["train"]["steps"] == saved["step"]


# --- extended ---------------------------------------------------------------------------------


def test_an_extended_run_is_a_run_of_that_length(place: Path, train: Train, vae_run: Run) -> None:
    plan = ("model=dae", "latent_dim=2", "trainer.log_every=3")
    long = train(place / "long", "trainer.epochs=6", *plan)
    short = train(place / "short", "trainer.epochs=2", *plan)
    hydra = digests(short / ".hydra")
    assert vae_run("task=resume", f"run={short}", "trainer.epochs=4").code == 0
    assert read(short / "status.json")["epoch"] == 4
    assert vae_run("task=resume", f"run={short}", "trainer.epochs=6").code == 0
    assert digests(short / ".hydra") == hydra
    extended = curves(short)
    for tag, points in curves(long).items():
        steps = [step for step, _ in extended[tag]]
        assert steps == sorted(set(steps)), tag
        assert points == extended[tag] or tag.startswith("test/"), tag
    for name in ("best", "last"):
        a, b = (checkpoint_file.read(run / "checkpoints" / f"{name}.pt") for run in (long, short))
        assert a.keys() == b.keys()
        for key in {"model", "optimizer", "batches", "meter", "step"} & a.keys():
            assert same(a[key], b[key]), f"{name}.pt: {key}"
    assert {"model", "optimizer", "batches", "meter", "step"} <= a.keys(), "those of last.pt"
    assert metrics(short) == metrics(long)
    assert history(short) == history(long)


def test_an_extension_of_a_partial_epoch_replaces_its_row(
    place: Path, train: Train, vae_run: Run
) -> None:
    run = train(place / "partial", "trainer.steps=15", "trainer.log_every=100")
    assert [row["step"] for row in history(run)] == ["11", "15"]
    assert vae_run("task=resume", f"run={run}", "trainer.steps=33").code == 0
    assert [row["step"] for row in history(run)] == ["11", "22", "33"]
    whole = train(place / "not-partial", "trainer.steps=33", "trainer.log_every=100")
    states = [checkpoint_file.read(r / "checkpoints" / "last.pt") for r in (run, whole)]
    assert same(states[0]["model"], states[1]["model"])


@pytest.mark.scale
def test_a_cosine_keeps_its_horizon_when_a_run_is_extended(
    place: Path, train: Train, vae_run: Run
) -> None:
    run = train(place / "cosine", "schedule=cosine", "trainer.epochs=4", "trainer.log_every=1")
    before = curves(run)["train/learning_rate"]
    assert vae_run("task=resume", f"run={run}", "trainer.epochs=6").code == 0
    after = curves(run)["train/learning_rate"]
    assert after[:44] == before
    assert [rate for _, rate in after[44:]] == [0.0] * 22, "past the horizon"
    given = train(
        place / "given", "schedule=cosine", "schedule.horizon=6", "trainer.epochs=3",
        "trainer.log_every=1",
    )  # fmt: skip
    assert vae_run("task=resume", f"run={given}", "trainer.epochs=6").code == 0
    straight = train(
        place / "straight", "schedule=cosine", "trainer.epochs=6", "trainer.log_every=1"
    )
    rates = "train/learning_rate"
    assert curves(given)[rates] == curves(straight)[rates]


def test_resuming_a_completed_run_does_nothing_and_says_so(
    vae: Path, vae_run: Run, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(vae, tmp_path / "run"))
    before = digests(run)
    for typed in ([], ["trainer.epochs=3"]):
        finished = vae_run("task=resume", f"run={run}", *typed)
        assert finished.code == 0
        assert "is complete at epoch 20; nothing to do" in finished.out
        assert "trainer.epochs=N" in finished.out
    after = digests(run)
    assert {name for name in after if after[name] != before.get(name)} <= {"train.log"}
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(
    "typed", ["optimizer.lr=1", "seed=1", "model=ae", "trainer.batch_size=3", "latent_dim=3"]
)
def test_only_what_extends_a_run_may_change(typed: str, vae: Path, vae_run: Run) -> None:
    before = digests(vae)
    finished = vae_run("task=resume", f"run={vae}", typed)
    assert finished.code == 1
    key, value = typed.split("=")
    assert f"{key} (found {value}, the run has " in finished.said
    assert "): task=resume goes on with the run as it was configured" in finished.said
    assert "trainer.epochs, trainer.steps, trainer.max_time" in finished.said
    assert digests(vae) == before


def test_a_damaged_last_checkpoint_cannot_be_resumed(
    vae: Path, vae_run: Run, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(vae, tmp_path / "run"))
    file = run / "checkpoints" / "last.pt"
    file.write_bytes(file.read_bytes()[:-200])
    (run / "checkpoints" / "previous.pt").unlink()
    finished = vae_run("task=resume", f"run={run}", "trainer.epochs=30")
    assert finished.code == 3
    assert "last.pt" in finished.said
    assert read(run / "status.json")["state"] == "completed"


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_run_that_is_still_training_is_not_resumed(
    train: Train, vae_run: Run, tmp_path: Path
) -> None:
    run = train(tmp_path / "run")
    log, status = run / "train.log", json.loads((run / "status.json").read_text())
    code = (
        "import fcntl, sys, time\n"
        "file = open(sys.argv[1], 'a'); fcntl.flock(file, fcntl.LOCK_EX)\n"
        "print('locked', flush=True); time.sleep(60)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, log], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        (run / "status.json").write_text(json.dumps(status | {"pid": holder.pid}))
        finished = vae_run("task=resume", f"run={run}", "trainer.epochs=9")
        assert finished.code == 1
        assert f"{run} is being trained by process {holder.pid}" in finished.said
    finally:
        holder.kill()
        holder.communicate()
    # What a killed process says of itself is no lock: the system has dropped its own.
    left = run / "checkpoints" / f".last.pt.{holder.pid}.tmp"
    left.write_text("half a checkpoint")
    (run / "status.json").write_text(json.dumps(status | {"state": "running", "pid": holder.pid}))
    assert vae_run("task=resume", f"run={run}", "trainer.epochs=3").code == 0
    assert not left.exists()
