"""Reconstruction alone."""

from __future__ import annotations

from dataclasses import dataclass

from vae_run.data.batches import Batch
from vae_run.model import LatentVariableModel
from vae_run.objectives.base import Objective, Terms


@dataclass(kw_only=True)
class Reconstruction(Objective):
    """loss = -E_q log p(x|z): the code is not held to any prior."""

    def __call__(self, model: LatentVariableModel, batch: Batch, epoch: float) -> Terms:
        q = model.encode(batch.input)
        z = model.posterior.sample(q, batch.noise[0])
        reconstruction = -model.decode(z).log_prob(batch.target)
        return {"loss": reconstruction, "reconstruction": reconstruction}
