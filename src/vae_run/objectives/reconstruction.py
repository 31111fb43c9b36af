"""The reconstruction error alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from vae_run.data.batches import Batch
from vae_run.errors import ConfigError
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.models.networks.skip import Pyramid
from vae_run.models.weight_constraints import TiedLinear
from vae_run.objectives.base import Epoch, NonNegative, Objective, Terms, unless_trained

if TYPE_CHECKING:
    from vae_run.config.schema import Settings


@dataclass(kw_only=True)
class Reconstruction(Objective):
    """loss = -E_q log p(x|z), without a prior, and what the posterior adds to it.

    `orthonormality` is the weight of a penalty |U^T U - I|^2 on the decoder's last layer U [P, H],
    with which the columns of a linear decoder become orthonormal.
    """

    restores: ClassVar[bool] = True
    takes_penalties: ClassVar[bool] = True
    orthonormality: NonNegative = 0.0

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        yield from unless_trained(settings, "reconstruction")
        network = settings.classes["network"]
        if options["orthonormality"] and issubclass(network, Pyramid):
            yield (
                "objective.orthonormality: is for a decoder whose last layer is linear; found "
                f"network {network.__name__}. Use network=mlp or linear."
            )

    def __call__(self, model: LatentVariableModel, batch: Batch, epoch: Epoch) -> Terms:
        model = model.beside(batch.input)
        q = model.encode(batch.input)
        z = model.posterior.sample(q, batch.noise[0])
        reconstruction = -model.decode(z).log_prob(batch.target)
        loss = reconstruction
        if self.orthonormality:
            loss = loss + self.orthonormality * distance_from_orthonormal(last_weight(model))
        penalties = model.posterior.penalties(q)
        loss = sum(penalties.values(), loss)
        return {"loss": loss, "reconstruction": reconstruction, **penalties}


def last_weight(model: LatentVariableModel) -> Tensor:
    """The weight [P, H] of the decoder's last linear layer.

    Raises:
        ConfigError: it is not a linear layer.
    """
    layer = next(model.likelihood.projection.children())
    if isinstance(layer, TiedLinear):
        return layer.weight.T
    if not isinstance(layer, nn.Linear):
        raise ConfigError("objective.orthonormality: is for linear layers. Use network=mlp.")
    return layer.weight


def distance_from_orthonormal(columns: Tensor) -> Tensor:
    """|U^T U - I|^2 of U [P, H]; U U^T = I would be impossible for H < P."""
    with torch.autocast(columns.device.type, enabled=False):  # it would round the products
        gram = columns.T @ columns
    return (gram - torch.eye(len(gram), device=gram.device)).square().sum()
