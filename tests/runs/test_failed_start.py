"""A start that fails before its first step leaves no run directory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from vae_run.training.loop import Loop

if TYPE_CHECKING:
    from conftest import Run

MISSING = ("dataset=arrays", "dataset.path=nowhere.npz", "device=cpu")


def test_no_directory_is_left(vae_run: Run, tmp_path: Path) -> None:
    for typed in ((), (f"hydra.run.dir={tmp_path}/new/deep/run",)):
        finished = vae_run(*MISSING, *typed)
        assert finished.code == 3
        assert "nowhere.npz" in finished.said
        assert list(tmp_path.iterdir()) == []


def test_what_was_there_before_stays(vae_run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    assert vae_run(*MISSING, "hydra.run.dir=mine").code == 3
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_a_failure_before_the_first_step_but_not_after_it(
    vae_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = Loop.take

    def failing(at: int) -> Any:
        def taken(loop: Loop, record: Any) -> None:
            if record.step == at:
                raise RuntimeError("out of luck")
            take(loop, record)

        return taken

    words = ("device=cpu", "network.widths=[4]", "trainer.epochs=1", "hydra.run.dir=run")
    monkeypatch.setattr(Loop, "take", failing(1))
    assert vae_run(*words).code == 1
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(Loop, "take", failing(2))
    assert vae_run(*words).code == 1
    assert '"failed"' in (tmp_path / "run" / "status.json").read_text()
    assert (
        "out of luck"
        in (tmp_path / "run" / "train.log").read_text()
        + (tmp_path / "run" / "status.json").read_text()
    )


def test_paths_mean_what_was_typed_though_hydra_changes_the_directory(
    vae_run: Run, tmp_path: Path
) -> None:
    finished = vae_run(*MISSING, "hydra.job.chdir=true", "hydra.run.dir=run")
    assert finished.code == 3
    assert list(tmp_path.iterdir()) == []
    words = ("device=cpu", "network.widths=[4]", "trainer.steps=1", "evaluation.figures=[]")
    assert vae_run(*words, "hydra.job.chdir=true", "hydra.run.dir=first").code == 0
    started = ("init_from=first", "hydra.job.chdir=true", "hydra.run.dir=second")
    finished = vae_run(*words, *started)
    assert finished.code == 0, finished.said
