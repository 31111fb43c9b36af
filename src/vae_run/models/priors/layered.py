"""Priors of codes of several layers. Letters: L layers, D latent dimensions, D_i of layer i."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Normal

from vae_run.models.distributions.layered import LayeredNormal, layer_sizes, split_layers
from vae_run.models.networks.conditional import (
    ConditionalNormal,
    Hidden,
    block_widths,
    wrong_widths,
)
from vae_run.models.priors.base import Count, Prior

if TYPE_CHECKING:
    from vae_run.config.schema import Settings

HIDDEN: Hidden = [100, 100]  # never modified


class HierarchicalPrior(Prior):
    """p(z_L) p(z_{L-1}|z_L) ... p(z_1|z_2), with p(z_L) = N(0, I) (Burda et al. 2015, section 5).

    Each p(z_i|z_{i+1}) is normal and factorised, with mean and variance by a network of its own.
    """

    learned = True
    layered = True
    description = "the hierarchical prior"
    top: Tensor

    def __init__(
        self,
        *,
        latent_dim: int,
        layers: Annotated[list[Count], Field(min_length=2)] | None = None,
        hidden: Hidden = HIDDEN,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.layers = layer_sizes(layers, latent_dim)
        widths = block_widths(hidden, len(self.layers) - 1)
        self.conditionals = nn.ModuleList(
            ConditionalNormal(above, size, each, activation, "prior.activation")
            for size, above, each in zip(self.layers[:-1], self.layers[1:], widths, strict=True)
        )
        self.register_buffer("top", torch.zeros(self.layers[-1]), persistent=False)

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        posterior, given = settings.classes["posterior"], settings.parts["posterior"]
        if not posterior.layered:
            yield (
                "prior=hierarchical: is a prior of codes of several layers, and codes of "
                f"{posterior.__name__} have one. Use posterior=hierarchical or ladder, or "
                "prior=standard_normal."
            )
            return
        own, found = (
            layer_sizes(each["layers"], settings.fixed.latent_dim) for each in (options, given)
        )
        if own != found:
            yield (
                f"prior.layers: found {list(own)}, but posterior.layers are {list(found)}. Leave "
                "out prior.layers, which follow from the posterior's."
            )
        if wrong := wrong_widths("prior", options["hidden"], len(own)):
            yield wrong

    def forward(self) -> LayeredNormal:
        top = Normal(self.top, torch.ones_like(self.top), validate_args=False)
        return LayeredNormal(self.layers, top, [*self.conditionals][::-1], upward=False)

    def moments(self, layer: int, above: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of p(z_i|z_{i+1}), with i = `layer` from 0, given `above`."""
        conditional = self.conditionals[layer]
        assert isinstance(conditional, ConditionalNormal)
        return conditional.moments(above)

    def carried(self, z: Tensor, dimension: int) -> Tensor:
        """z with every layer below that of `dimension` at its mean given the layer above it."""
        parts = split_layers(z, self.layers)
        changed = sum(dimension >= sum(self.layers[: i + 1]) for i in range(len(self.layers)))
        for layer in reversed(range(changed)):
            parts[layer], _ = self.moments(layer, parts[layer + 1])
        return torch.cat(parts, -1)
