"""The start of sparse codes whose encoder and decoder have one linear layer each.

Letters: D units of the code, P pixels of an image.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.models.posteriors import SparsePosterior


@torch.no_grad()
def start_transposed(model: LatentVariableModel, mean: Tensor, deviation: float) -> None:
    """Let the encoder begin as the transposed decoder, and both at the mean image.

    Each unit then finds at first what it adds, W^T (x - mean), as of a dictionary. Far fewer units
    are never active than with independent weights (Gao et al. 2024, section 2.1 and appendix A.1).
    Does nothing where there are other layers.

    Args:
        model: the model.
        mean: of the training images, [*E].
        deviation: as of `Likelihood.start_at`.
    """
    posterior, last = model.posterior, next(model.likelihood.projection.children(), None)
    layers = [*model.encoder.parameters(), *model.decoder.parameters()]
    if not isinstance(posterior, SparsePosterior) or layers or not isinstance(last, nn.Linear):
        return
    head, units = posterior.projection, posterior.units
    assert isinstance(head, nn.Linear)
    model.likelihood.start_at(mean, deviation)
    pixels, size = mean.numel(), head.out_features
    columns = last.weight[:pixels, :size]  # the first parameter of each pixel
    head.weight[:, :pixels] = units.slope * columns.T
    head.bias.copy_(units.start - head.weight[:, :pixels] @ mean.flatten())
