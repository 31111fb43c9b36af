"""The reconstruction error of principal components with as many dimensions as the code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from vae_run.evaluation.base import metric
from vae_run.evaluation.principal_components import components, wide

if TYPE_CHECKING:
    from vae_run.evaluation.view import View

FEW = 128
"""Images that are reconstructed at once."""


@metric()
def pca(view: View) -> dict[str, float]:
    """`pca_mse`: squared error per pixel of mu + U U^T (input - mu) against the clean image.

    mu and U, `latent_dim` components, are those of the clean training images (`components`): what
    PCA makes of the same input, to stand beside `mse`. Under a corruption the input is corrupted,
    and PCA, which was fitted to clean images, was not made to restore it.
    """
    if view.train is None:
        return {}
    found, total = components(view.train, view.latent_dim), 0.0
    for batch in view.batches():
        # A few at a time: in double precision, a batch takes eight times its own memory.
        for given, target in zip(
            *(torch.split(x, FEW) for x in (batch.input, batch.target)), strict=True
        ):
            error = found.reconstruct(given) - wide(target)
            total += float(error.square().flatten(1).mean(1).sum())
    return {"pca_mse": total / view.size}
