"""`task=ensemble`: members as they measured themselves, their mean, and what is refused."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from vae_run import load
from vae_run.data.datasets.digits import Digits
from vae_run.tasks.ensemble import Errors

if TYPE_CHECKING:
    from conftest import Run, Train

SEEDS = range(3)
TYPED = ("model=ae", "likelihood=mse", "latent_dim=8", "network.widths=[32]", "trainer.epochs=12",
         "network.activation=tanh", "optimizer.lr=0.01")  # fmt: skip


@pytest.fixture(scope="module")
def runs(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three autoencoders that differ in their seed. Read only."""
    folder = tmp_path_factory.mktemp("ensemble")
    for seed in SEEDS:
        train(folder / f"seed-{seed}", *TYPED, f"seed={seed}")
    (folder / "notes.txt").write_text("no run", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def table(runs: Path, vae_run: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """What `output=FILE.json` says of them."""
    file = tmp_path_factory.mktemp("table") / "table.json"
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*")}
    finished = vae_run("task=ensemble", f"runs={runs}/*", f"output={file}", cwd=file.parent)
    assert finished.code == 0, finished.said
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*")} == before
    assert list(file.parent.iterdir()) == [file]
    found = json.loads(file.read_text(encoding="utf-8"))
    assert f"{found['ensemble']['test']['mse']:.6g}" in finished.out
    return found


@pytest.mark.scale
def test_members_have_the_errors_that_their_runs_report(runs: Path, table: dict) -> None:
    for seed in SEEDS:
        name = f"seed-{seed}"
        metrics = json.loads((runs / name / "metrics.json").read_text(encoding="utf-8"))
        for split in ("val", "test"):
            assert table[name][split]["mse"] == pytest.approx(metrics[split]["mse"], rel=1e-6)


def test_the_ensemble_is_the_mean_of_the_members_reconstructions(runs: Path, table: dict) -> None:
    test = Digits().load().test
    images = test.pixels(slice(None))
    outputs = torch.stack([load(runs / f"seed-{seed}").reconstruct(images) for seed in SEEDS])
    error = (outputs.double().mean(0) - images).square().mean().item()
    assert table["ensemble"]["test"]["mse"] == pytest.approx(error, rel=1e-6)
    # Krogh & Vedelsby 1995: the mean error less the spread of the members.
    spread = (outputs.double() - outputs.double().mean(0)).square().mean().item()
    mean = table["mean of members"]["test"]["mse"]
    assert mean - error == pytest.approx(spread, rel=1e-4)


def test_members_in_folders_of_one_name_are_told_apart(
    runs: Path, vae_run: Run, tmp_path: Path
) -> None:
    for day, seed in (("monday", 0), ("tuesday", 1)):
        shutil.copytree(runs / f"seed-{seed}", tmp_path / day / "sweep" / "0")
    words = ("task=ensemble", "runs=[monday/sweep/*,tuesday/sweep/*]", "output=e.JSON")
    finished = vae_run(*words, cwd=tmp_path)
    assert finished.code == 0, finished.said
    found = json.loads((tmp_path / "e.JSON").read_text(encoding="utf-8"))
    assert list(found)[:2] == ["monday/sweep/0", "tuesday/sweep/0"]
    assert found["monday/sweep/0"]["test"] != found["tuesday/sweep/0"]["test"]


def test_the_ensemble_is_better_than_its_best_member(table: dict) -> None:
    for split in ("val", "test"):
        each = [table[f"seed-{seed}"][split]["mse"] for seed in SEEDS]
        assert table["best member"][split]["mse"] == min(each)
        assert table["mean of members"][split]["mse"] == pytest.approx(sum(each) / 3, rel=1e-12)
        assert table["ensemble"][split]["mse"] < 0.95 * min(each)


def test_rows_are_members_mean_best_and_ensemble() -> None:
    assert Errors([3.0, 1.0], 0.5).rows() == [3.0, 1.0, 2.0, 1.0, 0.5]


def test_a_csv_holds_the_same(runs: Path, table: dict, vae_run: Run, tmp_path: Path) -> None:
    typed = ("task=ensemble", f"runs={runs}/seed-?", "output=some/where/table.csv")
    assert vae_run(*typed, "evaluation.batch_size=100").code == 0
    with (tmp_path / "some" / "where" / "table.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["run"]: row for row in csv.DictReader(file)}
    assert list(rows) == list(table)
    for name, row in rows.items():
        for split in ("val", "test"):
            assert float(row[f"{split}/mse"]) == pytest.approx(table[name][split]["mse"], rel=1e-6)


@pytest.mark.parametrize(
    ("file", "before", "after", "words"),
    [
        ("environment.json", '"dataset_fingerprint": "', '"dataset_fingerprint": "0', "split_seed"),
        (".hydra/config.yaml", "NoCorruption", "Grayscale", "corruption of"),
        ("environment.json", '"dataset_fingerprint"', '"fingerprint"', "no dataset_fingerprint"),
    ],
)
def test_members_of_other_data_or_corruption_are_refused(
    file: str, before: str, after: str, words: str, runs: Path, vae_run: Run, tmp_path: Path
) -> None:
    for seed in (0, 1):
        shutil.copytree(runs / f"seed-{seed}", tmp_path / "all" / f"seed-{seed}")
    changed = tmp_path / "all" / "seed-1" / file
    text = changed.read_text(encoding="utf-8")
    assert before in text
    changed.write_text(text.replace(before, after), encoding="utf-8")
    finished = vae_run("task=ensemble", f"runs={tmp_path}/all/*")
    assert finished.code == (3 if "no " in words else 1), finished.said
    assert words in finished.said, finished.said
    assert "seed-1" in finished.said


def test_other_mistakes_are_told(runs: Path, vae_run: Run, tmp_path: Path) -> None:
    for typed, code, words in (
        ([f"runs={runs}/seed-0"], 3, "matches 1 run;"),
        ([f"runs={runs}/nothing*"], 3, "matches no run."),
        ([f"runs={runs}/*", "latent_dim=3"], 1, "latent_dim: task=ensemble takes the runs as"),
        ([f"runs={runs}/*", "output=table.txt"], 1, "output: found table.txt"),
        ([], 1, "runs: a value is needed"),
    ):
        finished = vae_run("task=ensemble", *typed)
        assert finished.code == code, finished.said
        assert words in finished.said, finished.said
        assert "Traceback" not in finished.said
    assert list(tmp_path.iterdir()) == []


def test_data_that_changed_since_are_refused(
    runs: Path, vae_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Digits.read

    def changed(self):
        parts = read(self)
        parts.train.images[0] += 1
        return parts

    monkeypatch.setattr(Digits, "read", changed)
    finished = vae_run("task=ensemble", f"runs={runs}/*")
    assert finished.code == 3
    assert "have changed since" in finished.said
