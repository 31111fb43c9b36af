"""Anomalous rows of a synthetic table: vae-run beside IsolationForest, PCA and PyOD's AutoEncoder.

    python benchmarks/table_anomalies.py [--rows 50000] [--epochs 10] [--seed 0]

50,000 rows of 14 correlated numbers and 6 categories that depend on them. 2 % of the rows are
anomalies: a third of the cells of such a row are exchanged with those of other rows, so that every
column has the distribution that it had, and only the dependence between columns is broken. All
methods are trained on the same rows, anomalies among them and without labels, and score the same
test rows. PyOD is left out where it is not installed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow
import torch
from pyarrow import parquet
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score

import vae_run
from vae_run.data.datasets.table import Table

NUMBERS, CATEGORIES, FACTORS = 14, 6, 5
SHARE = 0.02


def synthetic(rows: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Columns of a table, and which of its rows are anomalies."""
    random = np.random.default_rng(seed)
    hidden = random.normal(size=(rows, FACTORS))
    mixed = np.tanh(hidden @ random.normal(size=(FACTORS, 16))) @ random.normal(size=(16, NUMBERS))
    numbers = mixed + 0.3 * mixed.std(0) * random.normal(size=mixed.shape)
    numbers = numbers * 10.0 ** random.integers(-2, 4, NUMBERS) + random.normal(size=NUMBERS)
    columns = {f"x{i}": numbers[:, i] for i in range(NUMBERS)}
    for i in range(CATEGORIES):
        levels = 3 + i
        logits = 2 * hidden @ random.normal(size=(FACTORS, levels))
        chosen = (logits + random.gumbel(size=logits.shape)).argmax(1)
        columns[f"c{i}"] = np.array([f"level {k}" for k in range(levels)])[chosen]
    strange = random.random(rows) < SHARE
    for values in columns.values():
        broken = np.flatnonzero(strange & (random.random(rows) < 1 / 3))
        values[broken] = values[random.integers(0, rows, len(broken))]
    return columns, strange


def of_vae_run(folder: Path, data: Table, epochs: int) -> tuple[np.ndarray, float]:
    """-log p(x|z) at the mean of the code, of every test row; and the seconds of training."""
    run = folder / "run"
    words = [
        "dataset=table", f"dataset.path={data.path}", "dataset.label=anomaly", "likelihood=mixed",
        "latent_dim=8", "network.widths=[128,64]", f"trainer.epochs={epochs}", "optimizer.lr=2e-3",
        "evaluation.metrics=[objective]", "evaluation.figures=[]", "device=cpu",
        f"hydra.run.dir={run}",
    ]  # fmt: skip
    subprocess.run([sys.executable, "-m", "vae_run", *words], check=True)
    model, x = vae_run.load(run), data.load().test.images
    with torch.inference_mode():
        scores = -model.decode(model.encode(x).mean).log_prob(x)
    metrics = json.loads((run / "metrics.json").read_text())
    return scores.numpy(), float(metrics["train"]["train_seconds"])


def of_others(train: np.ndarray, test: np.ndarray, seed: int):
    """{method: (scores of test, seconds of training)} on the same standardised features."""
    started = time.perf_counter()
    forest = IsolationForest(random_state=seed).fit(train)
    yield "IsolationForest (scikit-learn)", -forest.score_samples(test), started
    for size in (5, 8):
        started = time.perf_counter()
        pca = PCA(size, random_state=seed).fit(train)
        error = test - pca.inverse_transform(pca.transform(test))
        yield f"PCA, {size} components (scikit-learn)", np.square(error).sum(1), started
    with contextlib.suppress(ImportError):
        from pyod.models.auto_encoder import AutoEncoder

        started = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            found = AutoEncoder(
                epoch_num=10, hidden_neuron_list=[64, 8], contamination=SHARE, random_state=seed
            ).fit(train)
        yield "AutoEncoder (PyOD)", found.decision_function(test), started


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--rows", type=int, default=50_000)
    words.add_argument("--epochs", type=int, default=10)
    words.add_argument("--seed", type=int, default=0)
    chosen = words.parse_args()
    columns, strange = synthetic(chosen.rows, chosen.seed)
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "rows.parquet"
        parquet.write_table(pyarrow.table({**columns, "anomaly": strange.astype(int)}), file)
        data = Table(path=str(file), label="anomaly")
        splits = data.load()
        truth = splits.test.labels.numpy()
        scores, seconds = of_vae_run(Path(place), data, chosen.epochs)
        rows = [("vae-run, likelihood=mixed", scores, seconds)]
        train, test = splits.train.images.numpy(), splits.test.images.numpy()
        for name, found, started in of_others(train, test, chosen.seed):
            rows.append((name, found, time.perf_counter() - started))
    print(f"{len(truth):,} test rows, {truth.sum():,} of them anomalies; trained on {len(train):,}")
    print("| method | AUROC | average precision | seconds of training |")
    print("| --- | --- | --- | --- |")
    for name, found, seconds in rows:
        auroc, precision = roc_auc_score(truth, found), average_precision_score(truth, found)
        print(f"| {name} | {auroc:.3f} | {precision:.3f} | {seconds:.1f} |")


if __name__ == "__main__":
    main()
