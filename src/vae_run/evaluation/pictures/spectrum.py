"""Eigenvalues of the covariance of codes, beside those of PCA."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vae_run import plots
from vae_run.evaluation.base import picture
from vae_run.evaluation.few_images import MANY, covariance, encoded
from vae_run.system.nouns import counted

if TYPE_CHECKING:
    from vae_run.evaluation.base import Image
    from vae_run.evaluation.view import View


@picture("How the variance spreads over directions, in the codes and in PCA's.", of_codes=True)
def spectrum(view: View) -> Image | None:
    """Eigenvalues of the covariance of the expected codes beside those of PCA of the same images.

    None for a code of one dimension, whose share is always the whole.
    """
    if view.latent_dim < 2:
        return None
    found = encoded(view)
    values = torch.linalg.eigvalsh(covariance(found.means)).flip(0)
    pixels = [batch.target.cpu() for batch in replace(view, limit=MANY).batches()]
    pca = principal_values(torch.cat(pixels).flatten(1).double())[: view.latent_dim]
    kind = "means of q(z|x)" if view.model.posterior.stochastic else "codes"
    notes = [
        f"Of the covariance of {kind}, and of the first {len(pca)} principal components of the "
        f"{view.noun}; {counted(len(found.means), view.noun)}"
    ]
    return plots.spectrum(values.tolist(), pca.tolist(), notes)


def principal_values(points: Tensor) -> Tensor:
    """Falling eigenvalues, at most min(N, F), of the covariance of points [N, F]."""
    centred = points - points.mean(0)
    small = centred.T @ centred if points.shape[1] <= len(points) else centred @ centred.T
    values: Tensor = torch.linalg.eigvalsh(small).flip(0).clamp(min=0)
    return values / max(len(points) - 1, 1)
