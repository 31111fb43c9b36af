"""Damaged, foreign and old checkpoints: refused by name, or the one before goes on."""

from __future__ import annotations

import io
import shutil
import struct
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from same_run import assert_same_run

from vae_run import load
from vae_run.errors import CheckpointError
from vae_run.runs import checkpoint_file

if TYPE_CHECKING:
    from conftest import Run, Train

PLAN = (
    *("device=cpu", "network.widths=[16]", "evaluation.figures=[]", "trainer.checkpoint_seconds=0"),
    *("trainer.log_every=4", "dataset.classes=[0,1]"),
)


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def flipped(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def empty(file: Path) -> None:
    file.write_bytes(b"")


def foreign(file: Path) -> None:
    torch.save({"model": {}}, file)


LONG = pytest.mark.faults
DAMAGE = (
    flipped,
    *(pytest.param(each, marks=LONG) for each in (truncated, empty, foreign, Path.unlink)),
)


@pytest.fixture(scope="module")
def whole(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("damaged") / "whole", *PLAN, "trainer.epochs=4")


@pytest.fixture(scope="module")
def half(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("damaged") / "half", *PLAN, "trainer.epochs=2")


@pytest.mark.parametrize("damage", DAMAGE)
def test_resume_falls_back_to_the_checkpoint_before(
    damage: Callable[[Path], None], half: Path, whole: Path, vae_run: Run, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(half, tmp_path / "run"))
    before = checkpoint_file.read(run / "checkpoints" / "previous.pt")["step"]
    assert 0 < before < checkpoint_file.read(run / "checkpoints" / "last.pt")["step"]
    damage(run / "checkpoints" / "last.pt")
    finished = vae_run("task=resume", f"run={run}", "trainer.epochs=4")
    assert finished.code == 0, finished.said
    said = finished.said.replace("\n", " ")
    assert "warning: " in said
    assert "last.pt: " in said
    assert "Going on from the one before it" in said
    assert f"step {before}" in said
    assert_same_run(run, whole, but=("trainer", "progress"))


@pytest.mark.parametrize("damage", DAMAGE)
def test_with_no_good_checkpoint_left_resume_refuses(
    damage: Callable[[Path], None], half: Path, vae_run: Run, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(half, tmp_path / "run"))
    status = (run / "status.json").read_bytes()
    for name in ("last", "previous"):
        damage(run / "checkpoints" / f"{name}.pt")
    finished = vae_run("task=resume", f"run={run}", "trainer.epochs=4")
    assert finished.code == 3
    assert ".pt: " in finished.said
    assert (run / "status.json").read_bytes() == status


@pytest.mark.parametrize("damage", DAMAGE)
def test_no_other_task_takes_a_damaged_checkpoint(
    damage: Callable[[Path], None], half: Path, vae_run: Run, tmp_path: Path
) -> None:
    """Nor another one in its stead."""
    run = Path(shutil.copytree(half, tmp_path / "run"))
    damage(run / "checkpoints" / "best.pt")
    with pytest.raises(CheckpointError, match=r"best\.pt: "):
        load(run)
    for words in (
        ("task=evaluate", f"run={run}"),
        ("task=sample", f"run={run}", "output=x.npz"),
        ("task=encode", f"run={run}", "input=x.npz", "output=y.npz"),
        ("task=export", f"run={run}", "output=y.pt2"),
        (*PLAN, "trainer.epochs=1", f"init_from={run}", f"hydra.run.dir={tmp_path / 'new'}"),
    ):
        finished = vae_run(*words)
        assert finished.code == 3, words
        assert "best.pt: " in finished.said
        assert "Traceback" not in finished.said
    assert not (tmp_path / "x.npz").exists()


def resave(file: Path, **changes: Any) -> None:
    checkpoint_file.save(file, {**checkpoint_file.read(file), **changes})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model": {}}, "is no such tensor, but the configured model expects"),
        ({"model": 3}, "not one of this run"),
        ({"model": {"a": "b"}}, "no such tensor"),
        ({"event_shape": [1, 9, 9]}, "expects"),
        ({"event_shape": ["x"]}, "not one of this run"),
        ({"event_shape": None}, "not one of this run"),
        ({"format": 7}, "has format 7, written by vae-run"),
        ({"format": True}, "has format True"),
    ],
)
def test_what_a_checkpoint_holds_is_checked(
    changes: dict[str, Any], told: str, half: Path, vae_run: Run, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(half, tmp_path / "run"))
    resave(run / "checkpoints" / "best.pt", **changes)
    finished = vae_run("task=sample", f"run={run}", "output=x.npz")
    assert finished.code == 3
    assert "best.pt: " in finished.said
    assert told in finished.said.replace("\n", " ")


@pytest.mark.parametrize(
    "changes",
    [
        {"progress": 3}, {"progress": {"stop": 3}}, {"trainer": "x"}, {"optimizer": {}},
        {"batches": None}, {"meter": {}}, {"model": {"encoder.0.weight": torch.zeros(2)}},
    ],
)  # fmt: skip
def test_what_a_resumed_checkpoint_holds_is_checked(
    changes: dict[str, Any], half: Path, vae_run: Run, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(half, tmp_path / "run"))
    resave(run / "checkpoints" / "last.pt", **changes)
    finished = vae_run("task=resume", f"run={run}", "trainer.epochs=4")
    assert finished.code == 3, finished.said
    assert "last.pt: " in finished.said


def test_the_data_of_a_resumed_run_must_be_its_own(
    half: Path, vae_run: Run, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(half, tmp_path / "run"))
    config = run / ".hydra" / "config.yaml"
    config.write_text(config.read_text().replace("split_seed: 0", "split_seed: 1"))
    finished = vae_run("task=resume", f"run={run}", "trainer.epochs=4")
    assert finished.code == 3
    assert "other data" in finished.said


def test_a_checkpoint_without_a_writer_is_told_as_such(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"format": 99}, buffer)
    body = buffer.getvalue()[:-2]
    digest = sha256(body).hexdigest().encode()
    file = tmp_path / "last.pt"
    file.write_bytes(body + struct.pack("<H", len(digest)) + digest)
    with pytest.raises(CheckpointError, match="has format 99, written by an unknown program"):
        checkpoint_file.read(file)


def test_a_second_name_that_a_kill_left_is_kept(tmp_path: Path) -> None:
    """`previous.pt` is `last.pt` already: the run was killed between the two steps of a write."""
    (tmp_path / "last.pt").write_bytes(b"1")
    for _ in range(2):
        checkpoint_file.keep(tmp_path / "last.pt", "previous.pt")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["last.pt", "previous.pt"]
