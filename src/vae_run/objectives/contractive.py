"""Contractive autoencoders: codes that change little where the image changes a little.

Letters: B batch, D latent dimensions, P pixels of an image, E event shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from vae_run.data.batches import Batch
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.models.posteriors import SigmoidPosterior
from vae_run.objectives.base import Epoch, NonNegative, Objective, Terms, unless_trained

if TYPE_CHECKING:
    from vae_run.config.schema import Settings


@dataclass(kw_only=True)
class Contractive(Objective):
    """loss = -log p(x|z) + `contraction` |J|^2 (Rifai et al. 2011, eq. 4).

    |J|^2 is the squared Frobenius norm of the Jacobian J [D, P] of the code by the encoder's input,
    reported as `jacobian`: exact for an encoder of one sigmoid layer (`sigmoid_jacobian`), else
    estimated with one random direction an image (`estimated_jacobian`).
    """

    batched: ClassVar[tuple[str, ...]] = ("contraction",)
    contraction: NonNegative = 0.1

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        yield from unless_trained(settings, "contractive")
        posterior = settings.classes["posterior"]
        if posterior.stochastic:
            yield (
                f"posterior: found {posterior.__name__}, but objective=contractive is for "
                "deterministic codes: the directions in which it measures their slope are the "
                "noise that a stochastic code uses itself. Use posterior=sigmoid or delta."
            )

    def __call__(self, model: LatentVariableModel, batch: Batch, epoch: Epoch) -> Terms:
        z = model.encode(batch.input).mean
        reconstruction = -model.decode(z).log_prob(batch.target)
        layer = sigmoid_layer(model)
        if layer is not None:
            jacobian = sigmoid_jacobian(z, layer.weight[:, : batch.input[0].numel()])
        else:
            jacobian = estimated_jacobian(model, batch.input, batch.noise[0])
        loss = reconstruction + self.contraction * jacobian
        return {"loss": loss, "reconstruction": reconstruction, "jacobian": jacobian}


def sigmoid_layer(model: LatentVariableModel) -> nn.Linear | None:
    """The layer of an encoder 1 / (1 + exp(-W x - b)), with the pixels first in x; else None."""
    layer = getattr(model.posterior, "projection", None)
    alone = isinstance(model.posterior, SigmoidPosterior) and not [*model.encoder.parameters()]
    return layer if alone and isinstance(layer, nn.Linear) else None


def sigmoid_jacobian(z: Tensor, weight: Tensor) -> Tensor:
    """|dz/dx|^2 = sum_d (z_d (1 - z_d))^2 |W_d|^2 of z [B, D] = sigmoid(W x + b), [B]."""
    # Not a product of matrices, which autocast would round.
    return ((z * (1 - z)).square() * weight.square().sum(1)).sum(1)


def estimated_jacobian(model: LatentVariableModel, x: Tensor, direction: Tensor) -> Tensor:
    """|J^T v|^2 at the images x [B, *E], with v of `direction` [B, D]; [B].

    For standard normal v its expectation is |J|^2 (Hutchinson 1990).
    """
    if torch.is_inference_mode_enabled():  # in which older versions of torch return zeros
        with torch.inference_mode(False), torch.no_grad():
            return estimated_jacobian(model, x.clone(), direction.clone())
    vjp: Any = torch.func.vjp  # its annotation is a union of two types
    _, pull = vjp(lambda images: model.encode(images).mean, x)
    slope: Tensor = pull(direction)[0]
    return slope.square().flatten(1).sum(1)
