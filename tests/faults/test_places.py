"""Places: names that are hard to write, folders that cannot be written, two runs in one."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from killable import finish, start, wait_for

from vae_run.runs.claim import MARK, claim, recorded
from vae_run.runs.lock import held

if TYPE_CHECKING:
    from conftest import Run

TINY = ("device=cpu", "network.widths=[8]", "trainer.steps=2", "evaluation.figures=[]")


@pytest.mark.parametrize(
    "name",
    ["a =é 🙂", *(pytest.param(name, marks=pytest.mark.faults) for name in ("a b", "a,b", "[a]"))],
)
def test_any_name_works(name: str, vae_run: Run, tmp_path: Path) -> None:
    run = tmp_path / name / "run"
    finished = vae_run(*TINY, f"hydra.run.dir='{run}'")
    assert finished.code == 0, finished.said
    for words in (
        ("task=resume", "trainer.steps=3"),
        ("task=evaluate", "dataset.val_size=0.2", "evaluation.figures=[]"),
        ("task=sample", f"output='{run / 'x=1.npz'}'"),
    ):
        finished = vae_run(words[0], f"run='{run}'", *words[1:])
        assert finished.code == 0, finished.said
    assert (run / "x=1.npz").is_file()
    assert len(list((run / "evaluations").iterdir())) == 1


@pytest.mark.scale
def test_a_plain_c_locale_is_enough(python_environment: dict[str, str], tmp_path: Path) -> None:
    environment = {**python_environment, "LC_ALL": "C", "LANG": "C"}
    done = subprocess.run(
        [sys.executable, "-m", "vae_run", *TINY, "hydra.run.dir='é'"],
        cwd=tmp_path, env=environment, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "é" / "status.json").read_text())["state"] == "completed"


@pytest.mark.parametrize("length", [200, 300])
def test_a_long_name_works_or_is_told(length: int, vae_run: Run, tmp_path: Path) -> None:
    finished = vae_run(*TINY, f"hydra.run.dir={'x' * length}")
    if length < 256:
        assert finished.code == 0, finished.said
        return
    assert finished.code == 1
    assert "hydra.run.dir: " in finished.said
    assert "File name too long. Give a shorter name" in finished.said
    assert list(tmp_path.iterdir()) == []


def test_a_long_override_is_no_name(vae_run: Run, tmp_path: Path) -> None:
    """Of a value of 300 characters no folder is named; it only is no folder of data."""
    finished = vae_run("dataset=mnist", f"dataset.root={'y' * 300}", "dataset.download=false")
    assert finished.code == 3
    assert "MNIST" in finished.said


@pytest.fixture
def read_only(disk: Any) -> Path:
    subprocess.run(["mount", "-o", "remount,ro", str(disk.path)], check=True)
    return Path(disk.path)


def test_a_folder_that_cannot_be_written_is_refused_before_data_are_read(
    read_only: Path, vae_run: Run
) -> None:
    for words in ([f"hydra.run.dir={read_only / 'run'}"], [f"hydra.run.dir={read_only}"]):
        finished = vae_run(*TINY, *words)
        assert finished.code == 1
        assert "hydra.run.dir: " in finished.said
        assert "Read-only file system. Choose a folder" in finished.said
        assert "images of" not in finished.said
    for words in (["hydra.run.dir=/proc/run"], [f"hydra.run.dir={__file__}/run"]):
        finished = vae_run(*TINY, *words)
        assert finished.code == 1
        assert "hydra.run.dir: " in finished.said
        assert "Traceback" not in finished.said


def test_an_output_that_cannot_be_written_is_named(
    read_only: Path, vae: Path, vae_run: Run
) -> None:
    finished = vae_run("task=sample", f"run={vae}", f"output={read_only / 'x' / 'y.npz'}")
    assert finished.code == 1
    assert f"{read_only / 'x'}: Read-only file system" in finished.said.replace("\n", "")
    finished = vae_run("task=sample", f"run={vae}", f"output={read_only / 'y.npz'}")
    assert finished.code == 1
    assert "y.npz: Read-only file system" in finished.said.replace("\n", "")


# --- two runs in one directory ----------------------------------------------------------------


def state(run: Path) -> dict[str, Any]:
    file = run / "status.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return found


@pytest.mark.scale
def test_a_directory_is_one_runs_only(tmp_path: Path) -> None:
    """Two at the same moment, one later, and a resume of what is being trained."""
    endless = (
        *TINY[:2],
        TINY[3],
        "trainer.epochs=1000000",
        "trainer.compile=false",
        "hydra.run.dir=run",
    )
    both = [start((f"seed={i}", *endless), tmp_path / f"said{i}") for i in (1, 2)]
    run = tmp_path / "run"
    wait_for(lambda: sum(process.is_alive() for process in both) < 2)
    wait_for(lambda: state(run).get("step", 0) > 0)
    (first,) = (i for i in (0, 1) if both[i].is_alive())
    refused = (tmp_path / f"said{2 - first}").read_text()
    assert both[1 - first].exitcode == 1
    assert "run already holds a run" in refused
    assert f"seed: {first + 1}\n" in (run / ".hydra" / "config.yaml").read_text()
    assert state(run)["pid"] == both[first].pid
    assert finish(endless, tmp_path / "later") == 1
    assert finish(("task=resume", "run=run"), tmp_path / "later") == 1
    said = (tmp_path / "later").read_text()
    assert f"run is being trained by process {both[first].pid}" in said.replace("\n", "")
    assert state(run)["state"] == "running"
    both[first].kill()
    both[first].join()
    # The lock went with its process.
    assert finish(("task=resume", "run=run", "trainer.epochs=1"), tmp_path / "after") == 0
    assert state(run)["state"] == "completed"


@pytest.mark.parametrize("written", [(), (MARK,), (MARK, "config.yaml", "hydra.yaml")])
def test_a_start_that_was_killed_leaves_its_directory_free(
    written: tuple[str, ...], tmp_path: Path
) -> None:
    """It had claimed the directory, but no run was recorded; a claim that is held stays."""
    (tmp_path / ".hydra").mkdir()
    for name in written:
        (tmp_path / ".hydra" / name).touch()
    (tmp_path / "train.log").touch()
    claim(tmp_path)
    assert (tmp_path / ".hydra" / MARK).exists()
    with pytest.raises(FileExistsError):
        claim_in_another_process(tmp_path)
    recorded(tmp_path)
    assert not (tmp_path / ".hydra" / MARK).exists()


@pytest.mark.parametrize("name", ["checkpoints", "history.csv", ".hydra/mine.yaml", "status.json"])
def test_a_directory_with_anything_of_a_run_is_not_taken_over(name: str, tmp_path: Path) -> None:
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / MARK).touch()
    (tmp_path / name).touch()
    with pytest.raises(FileExistsError):
        claim(tmp_path)


def test_the_directory_of_another_hydra_program_is_not_taken_over(tmp_path: Path) -> None:
    """A script called train.py leaves the files of a start too, and has no `status.json`."""
    (tmp_path / ".hydra").mkdir()
    for name in ("config.yaml", "hydra.yaml", "overrides.yaml"):
        (tmp_path / ".hydra" / name).write_text("lr: 1\n")
    (tmp_path / "train.log").touch()
    with pytest.raises(FileExistsError):
        claim(tmp_path)
    assert (tmp_path / ".hydra" / "config.yaml").read_text() == "lr: 1\n"


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("meanwhile", ["recorded", "made anew", "removed"])
def test_what_happens_before_the_lock_is_noticed(
    meanwhile: str, new: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process ends its start, or removes the directory, between the look and the lock."""
    folder, lock = tmp_path / ".hydra", fcntl.flock

    def late(descriptor: int, kind: int) -> None:
        if meanwhile == "recorded":
            (tmp_path / "status.json").touch()
        else:
            folder.rename(tmp_path.parent / "gone")
        if meanwhile == "made anew":
            folder.mkdir()
        lock(descriptor, kind)

    if not new:
        folder.mkdir()
    monkeypatch.setattr("vae_run.runs.claim.fcntl.flock", late)
    with pytest.raises(FileExistsError):
        claim_in_another_process(tmp_path)


def claim_in_another_process(directory: Path) -> None:
    """`claim` as another process has it: a flock is of an open file, and this one opens anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vae_run.runs.claim._held", [])
        claim(directory)


def test_a_run_that_is_being_trained_can_be_evaluated(
    vae: Path, vae_run: Run, tmp_path: Path
) -> None:
    """The lock of a training keeps another training out, and nothing else."""
    run = Path(shutil.copytree(vae, tmp_path / "copy"))
    with held(run, dict):
        refused = vae_run("task=resume", f"run={run}", "trainer.epochs=21")
        sampled = vae_run("task=sample", f"run={run}", "output=x.npz")
        evaluated = vae_run("task=evaluate", f"run={run}", "dataset.val_size=0.2", *TINY[3:])
    assert refused.code == 1
    assert "is being trained" in refused.said
    assert sampled.code == 0, sampled.said
    assert (tmp_path / "x.npz").is_file()
    assert evaluated.code == 0, evaluated.said
    assert (run / "evaluations" / "dataset.val_size=0.2" / "metrics.json").is_file()
