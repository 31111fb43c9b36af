"""The keys of the configuration that the parameters of an estimator stand for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from vae_run.errors import ConfigError
from vae_run.sklearn.rows import Rows

CLOSED = ("pca", "ppca")
"""Models in closed form, which are fitted in the units of X."""
OWN_LIKELIHOOD = ("kl_autoencoder", "linear_ae", "pca", "ppca", "sparse_ae")
"""Presets that choose their likelihood."""
_REFUSED = {
    "condition": "rows of X have nothing beside them that a model could be given;",
    "dataset.binarize": "training alone would see binary pixels, and scores would be those of grey "
    "ones; give binary X to fit and to the other methods, such as (X > 127).astype(np.uint8), or",
    "network.skip": "codes alone do not tell such a decoder enough for inverse_transform;",
}
"""Keys that an estimator cannot have, and why."""


def configured(parameters: Mapping[str, Any], rows: Rows) -> dict[str, Any]:
    """The keys that `parameters` of an `Autoencoder` stand for; those in its `keys` come last.

    Raises:
        ConfigError: an estimator cannot have one of `keys`.
    """
    keys, model = dict(parameters["keys"] or {}), parameters["model"]
    for key, why in _REFUSED.items():
        if keys.get(key) and keys[key] != "none":
            raise ConfigError(f"{key}: {why} use vae_run.fit.")
    scale, likelihood = parameters["scale"], parameters["likelihood"]
    if scale == "auto":
        scale = "none" if rows.pictures or model in CLOSED else "standard"
    if likelihood is None and model not in OWN_LIKELIHOOD:
        likelihood = None if rows.pictures and scale == "none" else "gaussian"
    named = {
        "model": model,
        "network": parameters["network"],
        "likelihood": likelihood,
        "latent_dim": None if "latent_shape" in keys else parameters["latent_dim"],
        "trainer.epochs": parameters["epochs"],
        "trainer.batch_size": parameters["batch_size"],
        "optimizer.lr": parameters["lr"],
        "dataset.scale": scale,
        "dataset.val_size": parameters["validation_fraction"],
        "evaluation.metrics": ["objective", "mse"],
        "seed": _seed(parameters["random_state"]),
        "device": parameters["device"],
    }
    return {**{key: value for key, value in named.items() if value is not None}, **keys}


def _seed(state: Any) -> int:
    """A seed: `state` itself, or drawn from it; of None, from NumPy's global generator."""
    if isinstance(state, (int, np.integer)):
        return int(state)
    return int(check_random_state(state).randint(2**31 - 1))
