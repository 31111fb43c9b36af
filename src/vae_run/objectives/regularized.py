"""Deterministic autoencoders held in shape by penalties in place of noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from vae_run.data.batches import Batch
from vae_run.model import LatentVariableModel
from vae_run.objectives.base import NonNegative, Objective, Terms


@dataclass(kw_only=True)
class RegularizedReconstruction(Objective):
    """loss = -log p(x|z) + code_weight |z|^2 / 2 + decoder_weight R (Ghosh et al. 2020, eq. 11).

    R is, by `regularizer`: `l2`, the squared norm of the decoder's weights; `gradient_penalty`,
    the squared norm of d sum(E[x|z]) / dz, in training alone; `none`, for a decoder that is smooth
    by itself.
    """

    code_weight: NonNegative = 1e-2
    decoder_weight: NonNegative = 1e-4
    regularizer: Literal["l2", "gradient_penalty", "none"] = "l2"

    def __call__(self, model: LatentVariableModel, batch: Batch, epoch: float) -> Terms:
        q = model.encode(batch.input)
        z = model.posterior.sample(q, batch.noise[0])
        reconstruction = -model.decode(z).log_prob(batch.target)
        loss = reconstruction + self.code_weight * 0.5 * z.square().sum(-1)
        if self.regularizer == "l2":
            weights = [*model.decoder.parameters(), *model.likelihood.projection.parameters()]
            loss = (
                loss + self.decoder_weight * torch.stack([w.square().sum() for w in weights]).sum()
            )
        elif self.regularizer == "gradient_penalty" and torch.is_grad_enabled():
            total = model.decode(z).mean.sum()
            (slope,) = torch.autograd.grad(total, z, create_graph=True)
            loss = loss + self.decoder_weight * slope.square().sum(-1)
        return {"loss": loss, "reconstruction": reconstruction}
