"""The ELBO, and variants with a weight, a schedule or a floor for the KL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from vae_run.data.batches import Batch
from vae_run.errors import ConfigError
from vae_run.models.distributions.kl import kl, kl_per_dimension
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.objectives.base import (
    Bound,
    Epoch,
    NonNegative,
    Terms,
    elbo_terms,
    unless_factorised,
    warmed,
)

if TYPE_CHECKING:
    from vae_run.config.schema import Settings


def in_cycle(epoch: Epoch, cycle_epochs: float | None) -> Epoch:
    """Epochs since the present cycle began; at its end, those of all of it, not 0."""
    if cycle_epochs is None:
        return epoch
    if isinstance(epoch, Tensor):
        return epoch - cycle_epochs * ((epoch / cycle_epochs).ceil() - 1).clamp(min=0)
    return (epoch % cycle_epochs or cycle_epochs) if epoch > 0 else epoch


@dataclass(kw_only=True)
class ELBO(Bound):
    """loss = -E_q log p(x|z) + beta KL(q(z|x) || p(z)) (Kingma & Welling 2014, eq. 3).

    beta = 1 is the negative evidence lower bound, other values are the beta-VAE of Higgins et
    al. 2017. beta rises linearly from 0 over the first `warmup_epochs` (Bowman et al. 2016), and
    again every `cycle_epochs`, if given (Fu et al. 2019).

    `gradient` of the reconstruction term with respect to q: through the sample, or by the score
    function, E_q[log p(x|z) grad log q(z|x)] (Paisley et al. 2012), which needs no derivative of
    p(x|z) by z, and has a far larger variance.

    Under an improper prior the KL is -H(q) up to a constant; it is then reported as
    `negative_entropy`, and there is no ELBO.
    """

    batched: ClassVar[tuple[str, ...]] = ("beta",)
    beta: NonNegative = 1.0
    warmup_epochs: NonNegative = 0.0
    cycle_epochs: Annotated[float, Field(gt=0)] | None = None
    gradient: Literal["reparameterized", "score_function"] = "reparameterized"
    takes_improper_prior = True
    warms = "beta"

    def __post_init__(self) -> None:
        if self.cycle_epochs is not None and self.cycle_epochs < self.warmup_epochs:
            raise ConfigError(
                f"objective.cycle_epochs: found {self.cycle_epochs}, shorter than the warm-up of "
                f"{self.warmup_epochs} epochs in each cycle."
            )

    def __call__(self, model: LatentVariableModel, batch: Batch, epoch: Epoch) -> Terms:
        if self.gradient == "reparameterized":
            _, _, reconstruction, divergence = elbo_terms(model, batch)
            score: Tensor | float = 0.0
        else:
            q = model.encode(batch.input)
            z = model.posterior.sample(q, batch.noise[0])
            reconstruction = -model.decode(z.detach()).log_prob(batch.target)
            divergence = kl(
                q, model.latent_prior(), z
            )  # with a gradient through z, if it is sampled
            estimate = reconstruction.detach() * q.log_prob(z.detach())
            score = estimate - estimate.detach()  # 0, with the gradient of the score function
        loss = reconstruction + score + self.beta_at(epoch) * divergence
        name = "kl" if model.prior.proper else "negative_entropy"
        return {"loss": loss, "reconstruction": reconstruction, name: divergence}

    def merit(self, values: Mapping[str, float]) -> float:
        """The ELBO; minus the reconstruction term where beta is 0, and nothing trains the KL.

        Under an improper prior, where there is no ELBO, minus the loss with the final beta: with
        the beta of each epoch, the first epochs of a warm-up would have the lowest.
        """
        if "negative_entropy" in values:
            return -(values["reconstruction"] + self.beta * values["negative_entropy"])
        return super().merit(values) if self.beta else -values["reconstruction"]

    def beta_at(self, epoch: Epoch) -> Epoch:
        """The weight of the KL term at `epoch`."""
        return self.beta * warmed(in_cycle(epoch, self.cycle_epochs), self.warmup_epochs)


@dataclass(kw_only=True)
class Capacity(Bound):
    """loss = -E_q log p(x|z) + gamma |KL - C| (Burgess et al. 2018, eq. 8).

    C rises linearly from 0 to `capacity` nats over the first `warmup_epochs`.
    """

    batched: ClassVar[tuple[str, ...]] = ("gamma", "capacity")
    gamma: NonNegative = 10.0
    capacity: NonNegative = 10.0
    warmup_epochs: NonNegative = 0.0
    warms = "the capacity"

    def __call__(self, model: LatentVariableModel, batch: Batch, epoch: Epoch) -> Terms:
        _, _, reconstruction, divergence = elbo_terms(model, batch)
        target = self.capacity * warmed(epoch, self.warmup_epochs)
        loss = reconstruction + self.gamma * (divergence - target).abs()
        return {"loss": loss, "reconstruction": reconstruction, "kl": divergence}


@dataclass(kw_only=True)
class FreeBits(Bound):
    """loss = -E_q log p(x|z) + sum_d max(floor, KL_d): a KL_d below `floor` has no gradient.

    Kingma et al. 2016, appendix C.8, but with the maximum taken for each image, not for the mean
    over the batch, so that the loss does not depend on the batch.
    """

    batched: ClassVar[tuple[str, ...]] = ("floor",)
    floor: NonNegative = 0.1

    def __call__(self, model: LatentVariableModel, batch: Batch, epoch: Epoch) -> Terms:
        q, _, reconstruction, divergence = elbo_terms(model, batch)
        each = kl_per_dimension(q, model.latent_prior())
        assert each is not None  # `conflicts` refuses other combinations
        loss = reconstruction + each.clamp(min=self.floor).sum(-1)
        return {"loss": loss, "reconstruction": reconstruction, "kl": divergence}

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        yield from super().conflicts(settings, options)
        yield from unless_factorised(settings, "free_bits")
