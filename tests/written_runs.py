"""Run directories written by hand, for what only reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

BASE: dict[str, Any] = {
    "task": "train",
    "seed": 0,
    "latent_dim": 16,
    "device": "cpu",
    "likelihood": {"_target_": "vae_run.models.likelihoods.Bernoulli"},
    "objective": {"_target_": "vae_run.objectives.ELBO", "beta": 1.0},
    "corruption": {"_target_": "vae_run.corruptions.NoCorruption"},
    "dataset": {
        "_target_": "vae_run.data.datasets.digits.Digits",
        "binarize": "none",
        "split_seed": 0,
    },
    "trainer": {"_target_": "vae_run.training.gradient.Gradient", "epochs": 10, "steps": None},
    "evaluation": {"importance_samples": 100},
}


def build(
    directory: Path,
    val: Mapping[str, float] | None = None,
    test: Mapping[str, float] | None = None,
    *,
    state: str = "completed",
    data: str = "aaaa",
    model: str = "vae",
    message: str = "",
    **keys: Any,
) -> Path:
    """A run directory with these figures; `keys` are of the configuration, `__` for a point."""
    config = OmegaConf.create(BASE)
    for key, value in keys.items():
        OmegaConf.update(config, key.replace("__", "."), value)
    (directory / ".hydra").mkdir(parents=True)
    OmegaConf.save(config, directory / ".hydra" / "config.yaml")
    choices = {"hydra": {"runtime": {"choices": {"model": model}}}}
    OmegaConf.save(OmegaConf.create(choices), directory / ".hydra" / "hydra.yaml")
    files: dict[str, Any] = {
        "status.json": {"state": state, "message": message, "pid": 1, "host": "elsewhere"},
        "environment.json": {"dataset_fingerprint": data},
    }
    if val is not None:
        files["metrics.json"] = {"val": val, "test": test or val, "train": {"steps": 10}}
    for name, content in files.items():
        (directory / name).write_text(json.dumps(content), encoding="utf-8")
    return directory
