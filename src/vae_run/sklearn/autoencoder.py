"""`Autoencoder`: an estimator of scikit-learn that trains any family of vae-run.

Letters: n rows, D latent dimensions, F features, H x W pixels, C channels.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from vae_run.api.run import Run
from vae_run.api.training import fit
from vae_run.errors import ConfigError
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.runs.run_directory import RunDirectory
from vae_run.sklearn.fitted import Fitted
from vae_run.sklearn.keys import configured
from vae_run.sklearn.rows import Rows

Scale = Literal["auto", "none", "unit", "standard"]
METRICS = ("auto", "elbo", "mse")
_FLOATS = (np.float64, np.float32)


class Autoencoder(
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    """An autoencoder as a transformer: X to codes, codes to X, and how normal each row is.

    X is [n, F], rows of real numbers, or images [n, H, W] or [n, H, W, C]: bytes, or floats in
    [0, 1]. The parameters are keys of the configuration, as on the command line; those without a
    name here go into `keys`.

    Args:
        model: a preset, such as "vae", "ae" or "pca".
        latent_dim: D, the number of dimensions of the code.
        network: "mlp", "conv", ...; None: that of the preset, or "mlp".
        likelihood: "gaussian", "bernoulli", ...; None: that of the preset, or "gaussian" for rows
            of numbers and for scaled images, and "bernoulli" for other images.
        epochs, batch_size, lr: `trainer.epochs`, `trainer.batch_size` and `optimizer.lr`; None:
            those of the configuration (100, 128 and 0.001).
        keys: other keys, such as {"objective.beta": 4, "network.widths": [64]}. They count more
            than what else is said here.
        scale: `dataset.scale`, by statistics of the X of `fit`: "none", "unit" or "standard".
            "auto" is "standard" for rows of numbers, and "none" for images and for the models
            "pca" and "ppca".
        metric: what `score_samples` is: "elbo", "mse", or "auto", which is the ELBO where the
            family has one.
        validation_fraction: share of X that is not trained on but tells which epoch was best; 0:
            all of X is trained on, and the last epoch is kept.
        random_state: `seed`, an int or a `RandomState`; None: drawn from NumPy's global generator.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        directory: a folder, in which each `fit` makes a run directory; None: it is removed after
            `fit`.
        verbose: whether the training tells of itself on the terminal.

    Attributes:
        model_: the trained `LatentVariableModel`, which takes and returns scaled values.
        config_: the whole configuration, nested.
        history_: a row for each epoch, with `train/loss` and other values.
        metrics_: {split: {metric: value}}; "test" is X itself.
        run_path_: the run directory, or None if it was removed.
        n_features_in_: values of a row of X.
        feature_names_in_: the names of columns, if X was a data frame with names.
    """

    def __init__(
        self,
        model: str = "vae",
        *,
        latent_dim: int = 16,
        network: str | None = None,
        likelihood: str | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        lr: float | None = None,
        keys: Mapping[str, Any] | None = None,
        scale: Scale = "auto",
        metric: Literal["auto", "elbo", "mse"] = "auto",
        validation_fraction: float = 0.0,
        random_state: int | np.random.RandomState | None = 0,
        device: str = "auto",
        directory: str | os.PathLike[str] | None = None,
        verbose: bool = False,
    ) -> None:
        self.model = model
        self.latent_dim = latent_dim
        self.network = network
        self.likelihood = likelihood
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.keys = keys
        self.scale = scale
        self.metric = metric
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.device = device
        self.directory = directory
        self.verbose = verbose

    def fit(self, X: ArrayLike, y: object = None) -> Autoencoder:
        """Train on X.

        Args:
            X: [n, F], [n, H, W] or [n, H, W, C].
            y: is not used.

        Raises:
            ValueError: X is of a wrong shape or type, or has missing values.
            ConfigError: a parameter or a key is wrong.
            DivergedError: the loss is no longer finite.
            KeyboardInterrupt: Ctrl-C; a run in `directory` can be resumed by `vae_run.Run`.
        """
        if self.metric not in METRICS:
            raise ConfigError(f"metric: found {self.metric!r}, expected one of {METRICS}.")
        X = self._checked(X, reset=True)
        rows = Rows.of(X)
        images, how = rows.given(X)
        with self._place() as place:
            run = fit(
                images,
                test=images,
                directory=place,
                quiet=not self.verbose,
                **{**how, **configured(self.get_params(deep=False), rows)},
            )
            if run.status == "interrupted":
                raise KeyboardInterrupt
            self._take(run, rows)
        return self

    def _take(self, run: Run, rows: Rows) -> None:
        """Keep the model of `run`, and what it tells of its training."""
        self._fitted = Fitted.of(RunDirectory(run.path), rows)
        self.config_, self.history_, self.metrics_ = run.config, run.history, run.metrics
        self.run_path_ = None if self.directory is None else str(run.path)

    @contextmanager
    def _place(self) -> Iterator[Path]:
        """A new run directory, which is removed afterwards if `directory` is None."""
        if self.directory is not None:
            name = f"{datetime.now():%Y-%m-%d-%H-%M-%S}-{self.model}-{secrets.token_hex(3)}"
            yield Path(self.directory) / name
            return
        with tempfile.TemporaryDirectory(prefix="vae-run-") as scratch:
            yield Path(scratch) / "run"

    def transform(self, X: ArrayLike) -> NDArray[np.floating[Any]]:
        """Codes of the rows of X, the means of q(z|x), [n, D]."""
        check_is_fitted(self)
        X = self._checked(X)
        return self._fitted.codes(X).astype(_kind(X))

    def inverse_transform(self, Z: ArrayLike) -> NDArray[np.floating[Any]]:
        """Rows in the units and the shape of X, decoded from codes Z [n, D]."""
        check_is_fitted(self)
        codes: NDArray[Any] = check_array(Z, dtype=_FLOATS)
        if codes.shape[1] != (size := self._fitted.size):
            raise ValueError(f"Z has {codes.shape[1]} columns, but codes have {size}.")
        return self._fitted.reconstructed(codes).astype(_kind(codes))

    def score_samples(self, X: ArrayLike) -> NDArray[np.float64]:
        """How normal each row of X is, higher is more normal, as of `IsolationForest`, [n].

        The negative of the score of `task=score`: the ELBO in nats, estimated with one posterior
        sample and the same noise for every row, or minus the squared error per value of the
        reconstruction. Both are of the values as `scale` scales them.

        Raises:
            ConfigError: `metric` is "elbo", and the family has none.
        """
        check_is_fitted(self)
        X = self._checked(X)
        best = "elbo" if self._fitted.bounded else "mse"
        metric = best if self.metric == "auto" else self.metric
        if metric == "elbo" != best:
            raise ConfigError(f"metric: found elbo, but model={self.model} has none. Use mse.")
        return -self._fitted.scores(X, metric)

    def score(self, X: ArrayLike, y: object = None) -> float:
        """The mean of `score_samples`, by which `GridSearchCV` chooses."""
        return float(self.score_samples(X).mean())

    @property
    def model_(self) -> LatentVariableModel:
        """The trained model, in eval mode."""
        check_is_fitted(self)
        return self._fitted.model

    @property
    def _n_features_out(self) -> int:
        return self._fitted.size

    def _checked(self, X: ArrayLike, *, reset: bool = False) -> NDArray[Any]:
        """X as an array, like the X of `fit` if this is not it (`reset`).

        Raises:
            ValueError: it is not.
        """
        least = 2 if reset else 1
        dimensions = X.ndim if hasattr(X, "ndim") else np.asarray(X).ndim
        if dimensions < 3:
            checked: NDArray[Any] = validate_data(
                self, X, reset=reset, dtype=_FLOATS, ensure_min_samples=least
            )
        else:
            checked = check_array(X, dtype=None, allow_nd=True, ensure_min_samples=least)
            if checked.ndim > 4 or checked.dtype.kind not in "buif":
                raise ValueError(
                    f"X is {checked.dtype} {checked.shape}; expected numbers [n, features], "
                    "[n, height, width] or [n, height, width, channels]."
                )
            if checked.dtype.kind in "uif" and checked.dtype not in (np.uint8, *_FLOATS):
                checked = checked.astype(np.float64)
            if reset:
                self.n_features_in_ = Rows.of(checked).size
        if not reset and Rows.of(checked) != (rows := self._fitted.rows):
            found = Rows.of(checked)
            raise ValueError(
                f"X has rows of {found.shape}{' bytes' * found.bytes}, but Autoencoder was fitted "
                f"to rows of {rows.shape}{' bytes' * rows.bytes}."
            )
        return checked

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _kind(X: NDArray[Any]) -> Any:
    """The type of results for X: its own, if it is one of floats."""
    return X.dtype if X.dtype in _FLOATS else np.float64
