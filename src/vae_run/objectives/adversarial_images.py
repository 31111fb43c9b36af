"""The ELBO of images with a perceptual distance and a critic of images.

Letters: B batch, D latent dimensions, C channels, H and W height and width, W the weight of the
decoder's last layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_run.data.batches import Batch
from vae_run.errors import ConfigError
from vae_run.models.critics import PatchCritic
from vae_run.models.distributions.kl import kl
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.objectives import perceptual
from vae_run.objectives.base import Betas, Bound, Epoch, NonNegative, Rate, Terms, frozen

if TYPE_CHECKING:
    from vae_run.config.schema import Settings

Widths = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
MOST = 1e4
"""Bound of the adaptive weight (Esser et al. 2021, "Taming transformers", in their code)."""


def hinge(real: Tensor, made: Tensor) -> Tensor:
    """(max(0, 1 - real) + max(0, 1 + made)) / 2, means over patches: logits [B, n] to [B].

    It is 1 where the critic has no opinion, and 0 where it tells all patches apart by a margin of
    1 (Lim & Ye 2017; in this form, Esser et al. 2021).
    """
    distances = ((1 - real).relu().mean(1), (1 + made).relu().mean(1))
    return 0.5 * (distances[0] + distances[1])


def gradient_norm(
    loss: Callable[[Tensor], Tensor], projection: nn.Module, features: Tensor
) -> Tensor:
    """|d loss(projection(features)) / dW|, a detached scalar, W the weight of `projection`.

    Nothing but the last layer is differentiated, by torch.func, so that it is found without a
    second optimiser step and alike where several models are trained as one.
    """
    if torch.is_inference_mode_enabled():  # in which older versions of torch return zeros
        with torch.inference_mode(False), torch.no_grad():
            return gradient_norm(loss, projection, features.clone())
    held = {name: p.detach() for name, p in projection.named_parameters()}
    name = next(name for name in held if name.endswith("weight"))
    inputs = (features.detach(),)

    def of_weight(weight: Tensor) -> Tensor:
        outputs = torch.func.functional_call(projection, {**held, name: weight}, inputs)
        return loss(outputs)

    slope: Tensor = torch.func.grad(of_weight)(held[name])
    size: Tensor = slope.norm()
    return size.detach()


@dataclass(kw_only=True)
class AdversarialELBO(Bound):
    """loss = -E_q log p(x|z) + beta KL + perceptual_weight C H W d(x, y) + w l G(y).

    y is the mean of p(x|z), the decoded image. It is the first stage of latent diffusion (Rombach
    et al. 2022, appendix G) with beta near 0, and a VAE with an image critic, after Larsen et al.
    2016, with beta = 1 and `critic_samples`. All terms are in nats per image:

    - d is LPIPS or 1 - MS-SSIM, as `perceptual` says. Times the number C H W of values, d is added
      to the error of each value, as Rombach et al. do. The term is reported as `perceptual`.
    - G = -mean critic(y) is the generator's hinge term, reported as `adversarial`. w is
      `adversarial`, and l the adaptive weight, |dR/dW| / (|dG/dW| + 1e-4), at most 1e4, R the
      reconstruction and perceptual terms (Esser et al. 2021, eq. 7); l = 1 with adaptive=false.
      w l is reported as `critic_weight`.
    - The critic (PatchGAN, Isola et al. 2017; hinge loss) trains from the first step, and its word
      counts from the epoch `critic_start` on. With adversarial=0 there is none.
    - With `critic_samples` it sees images decoded from the prior too, half and half.

    The best checkpoint has the smallest loss without G, as the critic's word of two epochs cannot
    be compared.
    """

    warmup_key: ClassVar[str] = "critic_start"

    batched: ClassVar[tuple[str, ...]] = ("beta", "perceptual_weight")
    beta: NonNegative = 1e-6
    perceptual: Literal["none", "msssim", "lpips"] = "none"
    perceptual_weight: NonNegative = 1.0
    perceptual_scales: Annotated[int, Field(ge=1, le=5)] = 5
    perceptual_weights: str | None = None
    adversarial: NonNegative = 0.0
    critic_start: NonNegative = 1.0
    adaptive: bool = True
    critic_samples: bool = False
    critic_widths: Widths = field(default_factory=lambda: [32, 64])
    critic_rate: Rate = 1.0
    critic_betas: Betas = field(default_factory=lambda: [0.5, 0.9])

    def __post_init__(self) -> None:
        self.samples = 2 if self.adversarial and self.critic_samples else 1
        self.warmup_epochs = self.critic_start if self.adversarial else 0.0

    @classmethod
    def critic(
        cls,
        options: Mapping[str, Any],
        *,
        latent_dim: int,
        latent_shape: tuple[int, ...],
        event_shape: tuple[int, ...],
    ) -> PatchCritic | None:
        if not options["adversarial"]:
            return None
        if len(event_shape) != 3:
            raise ConfigError(
                "objective.adversarial: the critic is for images [C, H, W], but the data are "
                f"vectors of shape {list(event_shape)}. Use objective.adversarial=0."
            )
        return PatchCritic(event_shape, options["critic_widths"])

    @classmethod
    def whole_batches(cls, options: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        if options["adversarial"] and options["adaptive"]:
            yield "objective", cls.__name__, "Use objective.adaptive=false"

    def prepare(self, event_shape: tuple[int, ...], device: torch.device) -> None:
        if self.perceptual != "none":
            perceptual.check_images(self.perceptual, event_shape, self.perceptual_scales)
        if self.perceptual == "lpips":
            perceptual.lpips(self.perceptual_weights, device)

    def merit(self, values: Mapping[str, float]) -> float:
        regular = values["reconstruction"] + self.beta * values["kl"]
        return -(regular + values.get("perceptual", 0.0))

    def distance(self, x: Tensor, target: Tensor) -> Tensor:
        """perceptual_weight C H W d(x, target), [B]; 0 without a distance."""
        if self.perceptual == "none":
            return torch.zeros(len(x), device=x.device)
        if self.perceptual == "msssim":
            found = perceptual.dissimilarity(x, target, self.perceptual_scales)
        else:
            network = perceptual.lpips(self.perceptual_weights, target.device)
            found = network(x.float(), target.float())
        return self.perceptual_weight * math.prod(target.shape[1:]) * found

    def __call__(self, model: LatentVariableModel, batch: Batch, epoch: Epoch) -> Terms:
        q = model.encode(batch.input)
        z = model.posterior.sample(q, batch.noise[0])
        features = model.decoder_features(z)
        p: Distribution = model.likelihood(model.likelihood.projection(features))
        image, reconstruction = p.mean, -p.log_prob(batch.target)
        divergence = kl(q, model.latent_prior(), z)
        loss = reconstruction + self.beta * divergence
        terms = {"reconstruction": reconstruction, "kl": divergence}
        if self.perceptual != "none":
            terms["perceptual"] = self.distance(image, batch.target)
            loss = loss + terms["perceptual"]
        if model.critic is not None:
            made = [image, self._sampled(model, batch)] if self.critic_samples else [image]
            word = -torch.cat([frozen(model.critic)(y) for y in made], 1).mean(1)
            weight = self._weight(model, batch, features, epoch).expand(len(batch))
            if isinstance(epoch, Tensor) or epoch >= self.critic_start:
                loss = loss + weight * word
            told = torch.cat([model.critic(y.detach()) for y in made], 1)
            terms |= {"adversarial": word, "critic_weight": weight}
            terms["critic_loss"] = hinge(model.critic(batch.target), told)
        return {"loss": loss, **terms}

    def _weight(
        self, model: LatentVariableModel, batch: Batch, features: Tensor, epoch: Epoch
    ) -> Tensor:
        """The weight of the critic's word at `epoch`, a scalar tensor."""
        nothing = torch.zeros((), device=features.device)
        if not isinstance(epoch, Tensor) and epoch < self.critic_start:
            return nothing
        weight = self.adversarial * self._adapted(model, batch, features)
        started = epoch >= self.critic_start
        return torch.where(started, weight, nothing) if isinstance(started, Tensor) else weight

    def _sampled(self, model: LatentVariableModel, batch: Batch) -> Tensor:
        """Images decoded from the prior, [B, C, H, W]."""
        p = model.latent_prior()
        return model.decode(p.mean + p.stddev * batch.noise[1]).mean

    def _adapted(self, model: LatentVariableModel, batch: Batch, features: Tensor) -> Tensor:
        """The adaptive weight l, a scalar tensor."""
        assert model.critic is not None
        if not self.adaptive:
            return torch.ones((), device=features.device)
        likelihood, judge = model.likelihood, frozen(model.critic)

        def errors(outputs: Tensor) -> Tensor:
            p: Distribution = likelihood(outputs)
            return (self.distance(p.mean, batch.target) - p.log_prob(batch.target)).mean()

        def word(outputs: Tensor) -> Tensor:
            return -judge(likelihood(outputs).mean).mean()

        slopes = [gradient_norm(f, likelihood.projection, features) for f in (errors, word)]
        return (slopes[0] / (slopes[1] + 1e-4)).clamp(max=MOST)

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        yield from super().conflicts(settings, options)
        yield from _conflicts(settings, options)


def _conflicts(settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
    """Messages on parts that the critic, or the perceptual distance, cannot be combined with."""
    network, epochs = settings.build("network"), settings.parts["trainer"].get("epochs")
    scale = settings.parts["dataset"].get("scale", "none")
    if options["perceptual"] != "none" and scale != "none":
        yield (
            f"objective.perceptual: compares pixels in [0, 1], and dataset.scale={scale} changes "
            "them. Use dataset.scale=none, or objective.perceptual=none."
        )
    if not options["adversarial"]:
        return
    if options["adaptive"] and network.spectral_norm:
        yield (
            "objective.adaptive: needs a last layer with a weight of its own, which "
            "network.spectral_norm takes from it. Use objective.adaptive=false."
        )
    if options["critic_samples"] and not settings.classes["prior"].gaussian:
        yield (
            "objective.critic_samples: draws codes of prior=standard_normal; choose that prior, or "
            "objective.critic_samples=false."
        )
    by_epochs = settings.parts["trainer"].get("steps") is None and epochs is not None
    if by_epochs and options["critic_start"] >= epochs:
        yield (
            f"objective.critic_start: found {options['critic_start']}, not before the end of a "
            f"training of {epochs} epochs, so the critic's word would never count. Lower it, or "
            "raise trainer.epochs."
        )
