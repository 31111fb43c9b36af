"""Models to be exported: of small experiments, with random weights in place of trained ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from parts import SHAPE, composed, experiment

from vae_run.config.check import check
from vae_run.exports.source import Source
from vae_run.training.experiment import Experiment, assemble

METRICS = {"val": {"mse": 0.25}, "test": {"mse": 0.5, "elbo": -12.0}}
ROWS = 40


def source_of(made: Experiment, family: str = "vae") -> Source:
    """The model of an experiment as an export takes it."""
    model = made.model.eval().requires_grad_(False)
    return Source(model, made.settings, made.about(), made.settings.raw, "run", family, METRICS)


def small(*words: str, shape: tuple[int, ...] = SHAPE) -> Source:
    """The model that `words` compose, for random images of `shape`."""
    family = next((w.removeprefix("model=") for w in words if w.startswith("model=")), "vae")
    return source_of(experiment(*words, shape=shape), family)


def configured(*words: str) -> Source:
    """The model that `words` compose, for the data that they name."""
    settings = check(composed("latent_dim=3", "network.widths=[8]", *words))
    return source_of(assemble(settings, torch.device("cpu")))


def of_table(folder: Path) -> Source:
    """Of a table of two numbers of very different size, one with missing values, and categories."""
    random = np.random.default_rng(0)
    lines = ["income,height,colour"]
    for i in range(ROWS):
        income = "" if i % 7 == 0 else f"{1e6 + 1e5 * random.normal():.1f}"
        lines.append(f"{income},{1.7 + 0.1 * random.normal():.3f},{('red', 'blue')[i % 2]}")
    (folder / "rows.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    path = f"dataset.path={folder / 'rows.csv'}"
    return configured("dataset=table", path, "dataset.missing=indicator", "likelihood=mixed")


def of_own_units(folder: Path, *words: str) -> Source:
    """Of vectors whose columns lie around 1e9 and around 0, scaled by the run; with conditions."""
    random = np.random.default_rng(0)
    arrays = {
        "train": (random.normal(size=(ROWS, 5)) * [1e5, 1, 1, 1, 1] + [1e9, 0, 0, 0, 0]).astype(
            "f4"
        ),
        "train_age": 50 + 10 * random.normal(size=ROWS),
        "train_sex": random.permutation(["f", "m"] * (ROWS // 2)),
    }
    np.savez(folder / "data.npz", **arrays)
    path = f"dataset.path={folder / 'data.npz'}"
    likelihood = "likelihood=gaussian_pixel"
    return configured("dataset=arrays", path, "dataset.scale=standard", likelihood, *words)
