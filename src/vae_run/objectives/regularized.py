"""Deterministic autoencoders that are regularised by penalties instead of noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor

from vae_run.data.batches import Batch
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.models.weight_constraints import TiedLinear
from vae_run.objectives.base import Epoch, NonNegative, Objective, Terms, unless_trained

if TYPE_CHECKING:
    from vae_run.config.schema import Settings


@dataclass(kw_only=True)
class RegularizedReconstruction(Objective):
    """loss = -log p(x|z) + code_weight |z|^2 / 2 + decoder_weight R (Ghosh et al. 2020, eq. 11).

    R is, by `regularizer`: `l2`, the squared norm of the decoder's weights; `gradient_penalty`,
    |J|^2, the squared Frobenius norm of the Jacobian J of the decoded image E[x|z] by z; `none`,
    for a decoder that is smooth by construction, as with network.spectral_norm.
    """

    batched: ClassVar[tuple[str, ...]] = ("code_weight", "decoder_weight")
    takes_penalties: ClassVar[bool] = True
    code_weight: NonNegative = 1e-2
    decoder_weight: NonNegative = 1e-4
    regularizer: Literal["l2", "gradient_penalty", "none"] = "l2"

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        yield from unless_trained(settings, "regularized")
        regularizer = options["regularizer"]
        if regularizer == "gradient_penalty" and settings.classes["posterior"].stochastic:
            yield (
                "objective.regularizer: found gradient_penalty, whose random directions are the "
                "noise that a stochastic code uses itself. Use posterior=delta."
            )
        if regularizer == "l2" and settings.build("network").spectral_norm:
            yield (
                "objective.regularizer: found l2, but network.spectral_norm divides each weight by "
                "its norm, so that its size has no effect. Use objective.regularizer=none."
            )

    def __call__(self, model: LatentVariableModel, batch: Batch, epoch: Epoch) -> Terms:
        q = model.encode(batch.input)
        z = model.posterior.sample(q, batch.noise[0])
        reconstruction = -model.decode(z).log_prob(batch.target)
        loss = reconstruction + self.code_weight * 0.5 * z.square().sum(-1)
        if self.regularizer == "l2":
            weights = decoder_weights(model)
            loss = (
                loss + self.decoder_weight * torch.stack([w.square().sum() for w in weights]).sum()
            )
        elif self.regularizer == "gradient_penalty":
            slope = directional_derivative(model, z, batch.noise[0])
            loss = loss + self.decoder_weight * slope.square().flatten(1).sum(1)
        penalties = model.posterior.penalties(q)
        loss = sum(penalties.values(), loss)
        return {"loss": loss, "reconstruction": reconstruction, **penalties}


def decoder_weights(model: LatentVariableModel) -> list[Tensor]:
    """The decoder's weights and biases, those that `network.tied` takes from the encoder included.

    These are no parameters of the decoder's modules.
    """
    parts = (model.decoder, model.likelihood.projection)
    tied = [m.weight for part in parts for m in part.modules() if isinstance(m, TiedLinear)]
    return [*(parameter for part in parts for parameter in part.parameters()), *tied]


def directional_derivative(model: LatentVariableModel, z: Tensor, direction: Tensor) -> Tensor:
    """J u [B, *E], the derivative of the decoded image at z [B, D] along u, `direction` [B, D].

    For standard normal u the expectation of |J u|^2 is |J|^2, the squared Frobenius norm of J.
    """
    if torch.is_inference_mode_enabled():  # in which older versions of torch return zeros
        with torch.inference_mode(False), torch.no_grad():
            return directional_derivative(model, z.clone(), direction.clone())

    def decoded(codes: Tensor) -> Tensor:
        return model.decode(codes).mean

    # v -> J^T v is linear, and its transpose is u -> J u: two backward passes. Forward-mode
    # differentiation would import torch's compiler.
    vjp: Any = torch.func.vjp  # its annotation is a union of two types
    images, pull = vjp(decoded, z)
    _, push = vjp(lambda v: pull(v)[0], torch.zeros_like(images))
    slope: Tensor = push(direction)[0]
    return slope
