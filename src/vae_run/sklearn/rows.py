"""The rows of X, as scikit-learn has it, and the events of a model.

Letters: n rows, F features, C channels, H x W pixels, E event shape.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Rows:
    """How rows of X are given to a model, and its outputs are made rows again.

    Attributes:
        shape: of a row: (F,) of vectors, (H, W) or (H, W, C) of images.
        bytes: whether the rows are images of bytes.
        white: the byte that means 1.0: 1 if the X of `fit` has no greater value, otherwise 255;
            after training, that of the run, for which `dataset.white` may have been another.
    """

    shape: tuple[int, ...]
    bytes: bool = False
    white: int = field(default=255, compare=False)

    @classmethod
    def of(cls, X: NDArray[Any]) -> Rows:
        """Those of X, [n, *shape]."""
        pictures = X.ndim > 2 and X.dtype == np.uint8
        return cls(X.shape[1:], pictures, 1 if pictures and X.max() == 1 else 255)

    @property
    def pictures(self) -> bool:
        """Whether a row is an image."""
        return len(self.shape) > 1

    @property
    def size(self) -> int:
        """Values of a row."""
        return math.prod(self.shape)

    def given(self, X: NDArray[Any]) -> tuple[NDArray[Any], Mapping[str, Any]]:
        """X as `vae_run.fit` takes it, [n, *E], and the keys that say how."""
        keys: dict[str, Any] = {"dataset.white": self.white} if self.bytes else {}
        if len(self.shape) == 3:
            return np.array(np.moveaxis(X, -1, 1)), {**keys, "dataset.layout": "channels_first"}
        # torch warns of arrays that cannot be written to, such as those that joblib maps.
        return np.require(X, None, "W"), keys

    def events(self, X: NDArray[Any], *, exact: bool = False) -> Tensor:
        """X [n, *shape] as the values that the model was trained on before they were scaled.

        Args:
            X: rows.
            exact: whether float64 was scaled as it is (`Scaling.exact`).

        Returns:
            float32 [n, *E], or float64 if `exact`; bytes are divided by `white`.

        Raises:
            ValueError: a byte is above `white`.
        """
        high = int(X.max()) if self.bytes and X.size else 0
        if high > self.white:
            pixels = "of 0 and 1" if self.white == 1 else f"from 0 to {self.white}"
            raise ValueError(
                f"X has the value {high}, but that of fit had pixels {pixels}. Give such pixels, "
                "or fit on bytes up to 255."
            )
        channels = np.moveaxis(X, -1, 1) if len(self.shape) == 3 else X
        kind = np.float64 if exact else np.float32
        values = torch.from_numpy(np.array(channels, dtype=kind, order="C"))
        values = values[:, None] if len(self.shape) == 2 else values
        return values * (1.0 / self.white) if self.bytes else values

    def warn_if_nearly_black(self, X: NDArray[Any]) -> None:
        """Warn of an X [n, *shape] of 0 and 1, where that of `fit` had brighter bytes."""
        if self.bytes and self.white > 1 and X.size and X.max() == 1:
            warnings.warn(
                f"X has no pixel above 1, and is divided by {self.white} as that of fit was, which "
                "makes it nearly black: if its pixels are 0 and 1, multiply them by "
                f"{self.white}", stacklevel=2,
            )  # fmt: skip

    def back(self, events: Tensor) -> NDArray[np.float64]:
        """The inverse of `events`: float64 [n, *shape], of which bytes are no whole numbers."""
        values = events.cpu().double().numpy() * (self.white if self.bytes else 1.0)
        if len(self.shape) == 3:
            values = np.moveaxis(values, 1, -1)
        return np.asarray(values.reshape(len(values), *self.shape))
