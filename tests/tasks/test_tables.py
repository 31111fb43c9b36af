"""A run on a table, from training to scores, reconstructions and samples of rows."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from vae_run import load
from vae_run.data.datasets.table import Table

if TYPE_CHECKING:
    from conftest import Run, Train

ROWS = 120


def columns(random: np.random.Generator, rows: int = ROWS) -> dict[str, list[object]]:
    """Two numbers that agree, and a category that tells their sign."""
    x = random.normal(size=rows)
    return {
        "weight": (70 + 10 * x).tolist(),
        "height": (1.7 + 0.1 * x).tolist(),
        "size": ["large" if value > 0 else "small" for value in x],
        "kind": ["odd" if i % 6 == 0 else "even" for i in range(rows)],
    }


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table") / "rows.parquet"
    parquet.write_table(pa.table(columns(np.random.default_rng(0))), path)
    return path


@pytest.fixture(scope="module")
def run(table: Path, train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    words = ("dataset=table", f"dataset.path={table}", "dataset.label=kind", "likelihood=mixed")
    train(path, *words, "latent_dim=2", "network.widths=[8]", "trainer.epochs=2")
    return path


def test_samples_have_the_names_of_classes_that_no_font_has(
    vae_run: Run, train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vae_run.evaluation.few_images._can_be_drawn", lambda names: False)
    rows = columns(np.random.default_rng(0))
    rows["kind"] = ["कुत्ता" if kind == "odd" else "बिल्ली" for kind in rows["kind"]]
    parquet.write_table(pa.table(rows), tmp_path / "rows.parquet")
    path = f"dataset.path={tmp_path / 'rows.parquet'}"
    words = ("dataset=table", path, "dataset.label=kind", "likelihood=mixed", "condition=label")
    train(tmp_path / "run", *words, "latent_dim=2", "network.widths=[8]", "trainer.epochs=1")
    done = vae_run("task=sample", f"run={tmp_path / 'run'}", "n=8", "output=rows.csv")
    assert done.code == 0, done.said
    assert {row["kind"] for row in read(Path("rows.csv"))} <= {"कुत्ता", "बिल्ली"}


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_it_is_called_rows_and_drawn_as_columns(run: Path) -> None:
    log = (run / "train.log").read_text()
    assert f"{ROWS} rows of 4" in log
    assert "images/s" not in log
    drawn = {file.stem for file in (run / "figures").iterdir()}
    assert not drawn & {"manifold", "traversals", "interpolations"}
    page = (run / "report.html").read_text(encoding="utf-8").split("<main>")[1]
    said = re.sub(r"<[^>]*>", " ", page).split("Configuration")[0]
    assert "nats per row" in said
    assert not re.search(r"\b([Ii]mages?|[Pp]ixels?)\b", said)


def test_scores_name_the_columns_and_their_nats(
    run: Path, table: Path, vae_run: Run, tmp_path: Path
) -> None:
    own = {**columns(np.random.default_rng(1), 8), "extra": list(range(8))}
    own["height"][3] = 9.9  # 82 standard deviations off
    parquet.write_table(pa.table(own), tmp_path / "own.parquet")
    words = (f"run={run}", "input=own.parquet", "device=cpu")
    done = vae_run("task=score", *words, "output=scores.csv", cwd=tmp_path)
    assert done.code == 0, done.said
    assert "scores of 8 rows" in done.said
    rows = read(tmp_path / "scores.csv")
    assert (rows[0]["index"], rows[0]["column_1"]) == ("3", "height")
    assert {row[f"column_{k}"] for row in rows for k in (1, 2, 3)} == {"weight", "height", "size"}
    assert [row["label"] for row in rows] == [own["kind"][int(row["index"])] for row in rows]
    assert (tmp_path / "scores-strangest.png").is_file()
    model, saved = load(run), torch.load(run / "checkpoints" / "best.pt", weights_only=True)
    assert saved["columns"] == ["weight", "height", "size=large", "size=small"]
    x = torch.tensor([[own["weight"][3], own["height"][3]]], dtype=torch.double)
    mean, std = (torch.tensor([c[key] for c in saved["table"][:2]]) for key in ("mean", "std"))
    large = float(own["size"][3] == "large")
    x = torch.cat([(x[0] - mean) / std, torch.tensor([large, 1 - large])])[None].float()
    with torch.inference_mode():
        expected = -model.decode(model.encode(x).mean).log_prob(x)
    found = sum(float(rows[0][f"contribution_{k}"]) for k in (1, 2, 3))
    assert found == pytest.approx(float(expected), rel=1e-5)


def test_reconstructions_and_samples_are_tables_in_its_units(
    run: Path, table: Path, vae_run: Run, tmp_path: Path
) -> None:
    words = (f"run={run}", "device=cpu")
    again = vae_run("task=reconstruct", *words, "input=test", "output=r.csv", cwd=tmp_path)
    assert again.code == 0, again.said
    rows, splits = read(tmp_path / "r.csv"), Table(path=str(table), label="kind").load()
    with torch.inference_mode():
        expected = splits.table.table(load(run).reconstruct(splits.test.images))
    assert [float(row["weight"]) for row in rows] == pytest.approx(expected["weight"].tolist())
    assert [row["size"] for row in rows] == expected["size"].tolist()
    assert [int(row["index"]) for row in rows] == splits.test.index.tolist()
    drawn = vae_run("task=sample", *words, "n=5", "output=s.parquet", cwd=tmp_path)
    assert drawn.code == 0, drawn.said
    found = parquet.read_table(tmp_path / "s.parquet")
    assert found.column_names == ["weight", "height", "size"]
    assert 30 < np.mean(found["weight"]) < 110
    refused = vae_run("task=sample", *words, "n=5", "output=s.png", cwd=tmp_path)
    assert refused.code == 1
    assert "rows are written to a file that ends in" in refused.said


def test_evaluation_on_another_table_uses_the_scale_of_the_run(
    run: Path, vae_run: Run, tmp_path: Path
) -> None:
    strange = {**columns(np.random.default_rng(2)), "size": ["large", "huge"] * (ROWS // 2)}
    parquet.write_table(pa.table(strange), tmp_path / "strange.parquet")
    words = ("task=evaluate", f"run={run}", "dataset.path=strange.parquet", "device=cpu")
    refused = vae_run(*words, cwd=tmp_path)
    assert refused.code == 3
    assert "lacking: size=small; unknown: size=huge" in refused.said
