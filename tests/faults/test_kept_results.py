"""Results: a place that cannot take them is found before the work, and none is lost after it."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from vae_run.runs.run_directory import RunDirectory
from vae_run.system import places
from vae_run.system.places import try_place
from vae_run.tasks import evaluate, user_files
from vae_run.tasks.user_files import check_output, write_table

if TYPE_CHECKING:
    from conftest import Run

METRICS = {"val": {"elbo": -91.25}, "test": {"elbo": -92.5}}


def test_a_full_disk_is_found_before_the_work(disk: Any) -> None:
    disk.fill()
    for name in ("codes.npz", "new/folder/codes.npz"):
        with pytest.raises(OSError, match="No space left") as found:
            try_place(disk.path / name)
        assert found.value.filename == str(disk.path / name)
    with pytest.raises(OSError, match="No space left"):
        check_output(str(disk.path / "codes.csv"), (".csv",))
    disk.free()
    try_place(disk.path / "codes.npz")
    assert list(disk.path.iterdir()) == []


def test_a_run_that_cannot_be_written_is_not_evaluated(
    disk: Any, vae: Path, vae_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(shutil.copytree(vae, disk.path / "run"))
    subprocess.run(["mount", "-o", "remount,ro", str(disk.path)], check=True)
    monkeypatch.setattr(evaluate, "measure", lambda *_: pytest.fail("it was measured"))
    finished = vae_run("task=evaluate", f"run={run}", "evaluation.figures=[]")
    assert finished.code == 1
    assert "metrics.json: Read-only file system" in finished.said.replace("\n", "")


def test_measured_numbers_are_kept_elsewhere(
    disk: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    disk.fill()
    with pytest.raises(OSError, match="No space left") as found:
        RunDirectory(disk.path).write_metrics(METRICS)
    assert found.value.errno == errno.ENOSPC
    (kept,) = Path().iterdir()
    assert json.loads(kept.read_text()) == METRICS
    assert f"what belongs there is in {kept.absolute()}" in caplog.text
    with pytest.raises(OSError, match="No space left"):
        write_table(disk.path / "codes.npz", {"mean": np.arange(6.0).reshape(3, 2)})
    (codes,) = Path().glob("codes-kept-*.npz")
    with np.load(codes) as archive:
        assert archive["mean"].tolist() == [[0, 1], [2, 3], [4, 5]]


def test_what_can_be_kept_nowhere_is_printed(
    disk: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(disk.path)
    monkeypatch.setattr(places.tempfile, "tempdir", str(disk.path))
    disk.fill()
    with pytest.raises(OSError, match="No space left"):
        RunDirectory(disk.path).write_metrics(METRICS)
    assert json.JSONDecoder().raw_decode(capsys.readouterr().out)[0] == METRICS
    with pytest.raises(OSError, match="No space left"):
        user_files.write_table(disk.path / "codes.csv", {"mean": np.array([[0.5, 2.0]])})
    assert capsys.readouterr().out.startswith("mean_0,mean_1\n0.5,2.0\n")


def test_a_run_does_not_start_on_a_full_disk_and_leaves_nothing(vae_run: Run, disk: Any) -> None:
    disk.fill()
    finished = vae_run("trainer.epochs=1", f"hydra.run.dir={disk.path}/new/run")
    assert finished.code == 1
    assert "status.json: No space left on device. Free some space" in finished.err
    disk.free()
    assert list(disk.path.iterdir()) == []
