"""Sweeps: a directory a job, a table, and failures that stay local."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from conftest import Finished, Run

SMALL = ("-m", "device=cpu", "network.widths=[8]", "trainer.epochs=2", "evaluation.figures=[]")


@pytest.fixture(scope="module")
def swept(vae_run: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Finished]:
    """The sweep of the three families."""
    place = tmp_path_factory.mktemp("sweep")
    finished = vae_run(*SMALL, "model=ae,dae,vae", "latent_dim=2", "sweep.dir=all", cwd=place)
    return place / "all", finished


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "sweep.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_job_has_a_directory_under_one_folder(swept: tuple[Path, Finished]) -> None:
    folder, finished = swept
    assert finished.code == 0, finished.said
    runs = sorted(path.name for path in folder.iterdir() if path.is_dir())
    assert [name[:3] for name in runs] == ["000", "001", "002"]
    for family, name in zip(("ae", "dae", "vae"), runs, strict=True):
        assert f"model={family}" in name
    for name in runs:
        status = json.loads((folder / name / "status.json").read_text(encoding="utf-8"))
        assert status["state"] == "completed"
        for file in ("metrics.json", "history.csv", ".hydra/config.yaml", "checkpoints/best.pt"):
            assert (folder / name / file).is_file()


def test_the_sweeps_table_holds_what_the_runs_measured(swept: tuple[Path, Finished]) -> None:
    folder, finished = swept
    rows = table(folder)
    assert [row["model"] for row in rows] == ["ae", "dae", "vae"]
    assert {row["state"] for row in rows} == {"completed"}
    assert {row["latent_dim"] for row in rows} == {"2"}
    for row in rows:
        metrics = json.loads((folder / row["run"] / "metrics.json").read_text(encoding="utf-8"))
        for split in ("val", "test"):
            for name, value in metrics[split].items():
                assert float(row[f"{split}/{name}"]) == value
        assert bool(row["test/elbo"]) == (row["model"] == "vae")
        assert f"{metrics['val']['loss']:.4g}" in finished.out
    assert "3 jobs, 0 not completed" in finished.out


def test_the_default_folder_is_one_for_all_jobs(vae_run: Run, tmp_path: Path) -> None:
    finished = vae_run(*SMALL, "seed=range(2)", "trainer.steps=1")
    assert finished.code == 0
    (folder,) = tmp_path.glob("outputs/*/*")
    assert "sweep" in folder.name
    assert len([path for path in folder.iterdir() if path.is_dir()]) == 2
    assert [row["seed"] for row in table(folder)] == ["0", "1"]


def test_jobs_do_not_disturb_each_other(swept: tuple[Path, Finished], vae_run: Run) -> None:
    """A job of a sweep ends like the same command alone."""
    folder, _ = swept
    alone = Path.cwd() / "alone"
    typed = (*SMALL[1:], "model=vae", "latent_dim=2", f"hydra.run.dir={alone}")
    assert vae_run(*typed).code == 0
    job = next(folder.glob("002*"))
    single, third = (
        json.loads((run / "metrics.json").read_text(encoding="utf-8")) for run in (alone, job)
    )
    assert (single["val"], single["test"]) == (third["val"], third["test"])


def test_failed_jobs_do_not_end_the_sweep(vae_run: Run, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, 4, 4), dtype=np.uint8)
    for name in ("a", "c"):
        np.savez(tmp_path / f"{name}.npz", train=images)
    finished = vae_run(*SMALL, "dataset=arrays", "dataset.path=a.npz,b.npz,c.npz",
                       "sweep.dir=data")  # fmt: skip
    assert finished.code == 3
    rows = table(tmp_path / "data")
    assert [row["state"] for row in rows] == ["completed", "failed", "completed"]
    assert "b.npz" in rows[1]["message"]
    assert rows[1]["val/elbo"] == ""
    assert float(rows[2]["val/elbo"]) < 0
    assert "3 jobs, 1 not completed" in finished.out
    assert "Traceback" not in finished.said
    assert len([path for path in (tmp_path / "data").iterdir() if path.is_dir()]) == 2


def test_a_diverging_job_is_told_from_a_failed_one(vae_run: Run, tmp_path: Path) -> None:
    finished = vae_run(*SMALL, "optimizer=sgd", "likelihood=mse", "optimizer.lr=1e10,1e-3",
                       "sweep.dir=lr", "trainer.log_every=1")  # fmt: skip
    assert finished.code == 4
    assert [row["state"] for row in table(tmp_path / "lr")] == ["diverged", "completed"]


def test_a_wrong_value_in_the_last_job_is_refused_before_the_first(
    vae_run: Run, tmp_path: Path
) -> None:
    for typed, words in (
        ("latent_dim=2,8,abc", "latent_dim: found 'abc'"),
        ("model=ae,vae,vaee", "vaee"),
        ("posterior=normal,delta", "objective:"),
        ("trainer.epochs=1,2,0", "trainer.epochs: found 0"),
    ):
        finished = vae_run(*SMALL, typed)
        assert finished.code == 1
        assert words in finished.err, finished.err
        assert "Traceback" not in finished.said
        assert list(tmp_path.iterdir()) == []


def test_a_folder_of_something_else_is_not_mixed_with_a_sweep(
    swept: tuple[Path, Finished], vae_run: Run
) -> None:
    folder = next(swept[0].glob("000*"))  # a run
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    finished = vae_run(*SMALL, "seed=1,2", f"sweep.dir='{folder}'")
    assert finished.code == 1
    assert "sweep.dir:" in finished.err
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_the_same_command_again_does_nothing(swept: tuple[Path, Finished], vae_run: Run) -> None:
    folder, _ = swept
    before = {path: path.stat().st_mtime_ns for path in folder.glob("0*/**/*")}
    finished = vae_run(*SMALL, "model=ae,dae,vae", "latent_dim=2", f"sweep.dir={folder}")
    assert finished.code == 0, finished.said
    assert "3 jobs, 3 done before" in finished.out
    assert {path: path.stat().st_mtime_ns for path in folder.glob("0*/**/*")} == before


def test_long_and_odd_overrides_make_readable_names(vae_run: Run, tmp_path: Path) -> None:
    finished = vae_run(*SMALL, "network.widths=[8],[9,8]", "trainer.steps=1", "sweep.dir=names",
                       f"dataset.classes=[{','.join(map(str, range(10)))}]")  # fmt: skip
    assert finished.code == 0, finished.said
    names = [row["run"] for row in table(tmp_path / "names")]
    assert len(set(names)) == 2
    assert all(len(name) <= 110 and "/" not in name and " " not in name for name in names)
