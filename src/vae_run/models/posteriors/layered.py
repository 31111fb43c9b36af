"""Posteriors of codes of several layers z = [z_1, ..., z_L]; the decoder reads z_1.

Letters: K samples, B batch, L layers, D latent dimensions, D_i of layer i, F features.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution, Normal
from torch.func import functional_call

from vae_run.models.distributions.layered import LayeredNormal, layer_sizes
from vae_run.models.networks.conditional import (
    ConditionalNormal,
    Hidden,
    NormalHead,
    block_widths,
    hidden_layers,
    normal,
    wrong_widths,
)
from vae_run.models.networks.initialisation import Layer
from vae_run.models.posteriors.base import Posterior

if TYPE_CHECKING:
    from vae_run.config.schema import Settings

HIDDEN: Hidden = [100, 100]  # never modified
Layers = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=2)]
Prior = Callable[[int, Tensor], tuple[Tensor, Tensor]]
"""A layer i and z_{i+1} to the mean and log variance of p(z_i|z_{i+1})."""
DRAWN = 64
"""Samples that an expected code is the mean of."""


class LayeredPosterior(Posterior):
    """q over the layers of a code, drawn one after the other: the flat code is [z_1, ..., z_L]."""

    moments = False
    layered = True
    points: Tensor

    def __init__(self, layers: list[int] | None, latent_dim: int) -> None:
        super().__init__()
        self.layers = layer_sizes(layers, latent_dim)
        generator = torch.Generator().manual_seed(0)
        half = torch.randn(DRAWN // 2, 1, sum(self.layers), generator=generator)
        self.register_buffer("points", torch.cat([half, -half]), persistent=False)

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        size, prior = settings.fixed.latent_dim, settings.classes["prior"]
        sizes = layer_sizes(options["layers"], size)
        if settings.fixed.latent_shape is not None:
            yield (
                f"latent_shape: found {settings.fixed.latent_shape}, but layers of codes are "
                "vectors. Use latent_dim, or posterior=normal."
            )
        elif size < 2:
            yield f"latent_dim: found {size}, but two layers of codes have at least 2 dimensions."
        elif sum(sizes) != size:
            yield (
                f"posterior.layers: found {list(sizes)}, {sum(sizes)} dimensions in all, but "
                f"latent_dim={size}. Set latent_dim={sum(sizes)}, or other layers."
            )
        if wrong := wrong_widths("posterior", options["hidden"], len(sizes)):
            yield wrong
        if not prior.layered:
            yield (
                f"prior: found {prior.__name__}, but the prior of several layers of codes is "
                "p(z2) p(z1|z2). Use prior=hierarchical, or posterior=normal."
            )

    @classmethod
    def read_size(cls, options: Mapping[str, Any], latent_dim: int) -> int:
        return layer_sizes(options["layers"], latent_dim)[0]

    def read(self, z: Tensor) -> Tensor:
        return z[..., : self.layers[0]]

    @abstractmethod
    def forward(self, features: Tensor) -> LayeredNormal:
        """q(z|x) over [B, D]."""

    def sample(self, q: Distribution, noise: Tensor) -> Tensor:
        assert isinstance(q, LayeredNormal)
        return q.push(noise)

    def scale(self, q: Distribution) -> None:
        return None

    def expectation(self, q: Distribution) -> Tensor:
        """E_q[z] [B, D], estimated by the mean of 64 samples.

        Their noise is the same for all images and symmetric around 0, so that the first layer to be
        drawn is exact, and a layer that does not depend on the image does not seem to.
        """
        assert isinstance(q, LayeredNormal)
        return q.push(self.points.expand(-1, *q.batch_shape, -1)).mean(0)


class HierarchicalPosterior(LayeredPosterior):
    """q(z_1|x) q(z_2|z_1) ... q(z_L|z_{L-1}), from the image up (Burda et al. 2015, section 5)."""

    def __init__(
        self,
        *,
        features: int,
        latent_dim: int,
        layers: Layers | None = None,
        hidden: Hidden = HIDDEN,
        activation: str = "relu",
    ) -> None:
        super().__init__(layers, latent_dim)
        self.projection = NormalHead(features, self.layers[0])
        widths = block_widths(hidden, len(self.layers) - 1)
        self.conditionals = nn.ModuleList(
            ConditionalNormal(below, size, each, activation, "posterior.activation")
            for below, size, each in zip(self.layers[:-1], self.layers[1:], widths, strict=True)
        )

    def initialise(self, draw: Callable[[Layer, int], None], latent_dim: int) -> None:
        draw(self.projection, self.layers[0])

    def forward(self, features: Tensor) -> LayeredNormal:
        first = normal(*self.projection.moments(features))
        return LayeredNormal(self.layers, first, [*self.conditionals], upward=True)

    def detached(self, q: Distribution) -> LayeredNormal:
        assert isinstance(q, LayeredNormal)
        first = Normal(q.first.loc.detach(), q.first.scale.detach(), validate_args=False)
        further = [partial(_held, conditional) for conditional in self.conditionals]
        return LayeredNormal(self.layers, first, further, upward=True)


def _held(conditional: nn.Module, code: Tensor) -> Normal:
    """The distribution given `code`, with a gradient to the code and none to parameters."""
    tensors = {name: p.detach() for name, p in conditional.named_parameters()}
    found: Normal = functional_call(conditional, tensors, (code,))
    return found


class LadderPosterior(LayeredPosterior):
    """q(z_L|x) q(z_{L-1}|z_L, x) ... q(z_1|z_2, x), from the top down (Sonderby et al. 2016).

    Upward, features d_1 = h(x), d_{i+1} = MLP(d_i) give estimates N(m_i, s_i^2) of each layer.
    Downward, q(z_i|z_{i+1}, x) is proportional to N(z_i; m_i, s_i^2) p(z_i|z_{i+1}), whose
    precision is the sum of both, and whose mean is weighted by them. So q has the prior's
    parameters in it. There is none of the paper's batch normalisation, with which an image's code
    would depend on its batch.
    """

    shares_prior = True

    def __init__(
        self,
        *,
        features: int,
        latent_dim: int,
        layers: Layers | None = None,
        hidden: Hidden = HIDDEN,
        activation: str = "relu",
    ) -> None:
        super().__init__(layers, latent_dim)
        widths = block_widths(hidden, len(self.layers) - 1)
        inputs = [features]
        self.blocks, self.heads = nn.ModuleList(), nn.ModuleList()
        for each in widths:
            self.blocks.append(hidden_layers(inputs[-1], each, activation, "posterior.activation"))
            inputs.append(each[-1] if each else inputs[-1])
        for below, size in zip(inputs, self.layers, strict=True):
            self.heads.append(NormalHead(below, size))
        self._prior: Prior = _no_prior

    def attach(self, prior: nn.Module) -> None:
        # A method, so that the prior is not registered as a submodule here.
        self._prior = prior.moments  # type: ignore[assignment]

    def initialise(self, draw: Callable[[Layer, int], None], latent_dim: int) -> None:
        for head, size in zip(self.heads, self.layers, strict=True):
            assert isinstance(head, NormalHead)
            draw(head, size)

    def forward(self, features: Tensor) -> LayeredNormal:
        estimates = list[tuple[Tensor, Tensor]]()
        for layer, head in enumerate(self.heads):
            features = self.blocks[layer - 1](features) if layer else features
            assert isinstance(head, NormalHead)
            estimates.append(head.moments(features))
        further = [partial(self._combined, i, estimates[i]) for i in range(len(self.layers) - 1)]
        return LayeredNormal(self.layers, normal(*estimates[-1]), further[::-1], upward=False)

    def _combined(self, layer: int, estimate: tuple[Tensor, Tensor], above: Tensor) -> Normal:
        """q(z_i|z_{i+1}, x) of `layer` i given z_{i+1}, `above`, from the `estimate` of x."""
        (own, own_log), (prior, prior_log) = estimate, self._prior(layer, above)
        weight = (prior_log - own_log).sigmoid()  # s^-2 / (s^-2 + s_p^-2)
        log_variance = -torch.logaddexp(-own_log, -prior_log)
        return normal(weight * own + (1 - weight) * prior, log_variance)


def _no_prior(layer: int, above: Tensor) -> tuple[Tensor, Tensor]:
    raise RuntimeError("a ladder needs its prior: call `attach` first")
