"""A disk that is full: what was saved stays, the message names the file, and the run goes on."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from same_run import assert_same_run

from vae_run.runs import checkpoint_file
from vae_run.tasks import final_evaluation
from vae_run.training.loop import Loop

if TYPE_CHECKING:
    from conftest import Run, Train

PLAN = (
    *("device=cpu", "network.widths=[16]", "trainer.epochs=3", "evaluation.figures=[]"),
    *("trainer.log_every=4", "trainer.checkpoint_seconds=0"),
)
TAKE = Loop.take


def at(monkeypatch: pytest.MonkeyPatch, actions: dict[int, Any]) -> None:
    """Do `actions` after the steps that are their keys."""

    def taken(loop: Any, record: Any) -> None:
        TAKE(loop, record)
        if record.step in actions:
            actions[record.step](loop)

    monkeypatch.setattr(Loop, "take", taken)


def state(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "status.json").read_text())
    return found


def test_while_a_checkpoint_is_written(
    disk: Any, vae_run: Run, train: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = train(tmp_path / "whole", *PLAN)
    run = disk.path / "run"
    at(monkeypatch, dict.fromkeys(range(12, 34), lambda _: disk.fill()))
    finished = vae_run(*PLAN, f"hydra.run.dir={run}")
    assert finished.code == 1
    found = finished.said.replace("\n", "")
    assert re.search(r"checkpoints/(best|last)\.pt: No space left on device. Free some", found)
    assert "Traceback" not in finished.said
    assert state(run)["state"] == "failed"
    assert "No space left" in state(run)["message"]
    kept = run / "checkpoints" / "last.pt"
    assert checkpoint_file.read(kept)["step"] in range(11, 33)
    assert not list(run.rglob("*.tmp"))
    disk.free()
    monkeypatch.setattr(Loop, "take", TAKE)
    finished = vae_run("task=resume", f"run={run}")
    assert finished.code == 0, finished.said
    assert_same_run(run, whole)


def test_while_only_tensorboard_and_the_logs_write(
    disk: Any, vae_run: Run, train: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Training goes on, and says so; the history catches up."""
    plan = (*PLAN[:-1], "trainer.checkpoint_seconds=1000")
    whole = train(tmp_path / "whole", *plan)
    run = disk.path / "run"

    def fill(loop: Loop) -> None:
        disk.fill()
        loop.tracker.text("long", "x" * 10_000)  # more than the rest of the file's last page
        loop.tracker.flush()

    at(monkeypatch, {10: fill, 20: lambda _: disk.free()})
    finished = vae_run(*plan, f"hydra.run.dir={run}")
    assert finished.code == 0, finished.said
    assert "TensorBoard: No space left on device" in finished.said
    assert "Nothing more is sent to it; the run goes on" in finished.said
    assert re.search(r"TensorBoard: \d+ records were not sent", finished.said)
    assert "Traceback" not in finished.said
    assert state(run)["state"] == "completed"
    for name in ("metrics.json", "history.csv"):
        drop = ("train_seconds", "examples_per_second")
        texts = [(r / name).read_text().splitlines() for r in (run, whole)]
        found, expected = (
            [line for line in text if not any(word in line for word in drop)] for text in texts
        )
        assert len(found) == len(expected)
        if name == "metrics.json":
            assert found == expected


@pytest.mark.parametrize("place", ["figures", "the last word"])
def test_while_results_are_written(
    place: str, disk: Any, vae_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing result is a failure, and a resumed run makes it."""
    run = disk.path / "run"
    name = {"figures": "write_pictures", "the last word": "write_report"}[place]
    original = getattr(final_evaluation, name)

    def filled(*arguments: Any) -> Any:
        disk.fill()
        return original(*arguments)

    monkeypatch.setattr(final_evaluation, name, filled)
    finished = vae_run(*PLAN, "evaluation.figures=[reconstructions]", f"hydra.run.dir={run}")
    assert finished.code == 1
    file = {"figures": ".png", "the last word": "report.html"}[place]
    assert f"{file}: No space left on device" in finished.said
    assert "Traceback" not in finished.said
    assert state(run)["state"] == "failed"
    disk.free()
    monkeypatch.setattr(final_evaluation, name, original)
    finished = vae_run("task=resume", f"run={run}")
    assert finished.code == 0, finished.said
    assert state(run)["state"] == "completed"
    assert (run / "report.html").stat().st_size > 1000
    assert (run / "figures" / "learning_curves.png").stat().st_size > 1000


def test_before_anything_is_written(disk: Any, vae_run: Run) -> None:
    disk.fill()
    finished = vae_run(*PLAN, f"hydra.run.dir={disk.path / 'run'}")
    assert finished.code == 1
    assert "No space left on device" in finished.said
    assert "Traceback" not in finished.said
