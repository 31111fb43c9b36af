"""Normalising flows as distributions, from zuko, with a mean to encode by."""

from __future__ import annotations

from typing import Any

import torch
import zuko
from torch import Tensor, nn
from torch.distributions import Distribution


class FlowDistribution(zuko.distributions.NormalizingFlow):  # type: ignore[misc]
    """The law of f(u) for standard normal u [*, D] and an invertible f.

    `mean` is f(0), the image of the base's mean: a flow's own mean has no closed form.
    """

    @property
    def mean(self) -> Tensor:
        return self.push(torch.zeros_like(self.base.mean))

    def push(self, noise: Tensor) -> Tensor:
        """f(noise), with `noise` [*K, B, D] standard normal."""
        sample: Tensor = self.transform.inv(noise)
        return sample


class Flow(nn.Module):
    """A stack of coupling transformations of D dimensions, given F features or none."""

    def __init__(self, latent_dim: int, features: int, transforms: int, hidden: list[int]) -> None:
        super().__init__()
        # Two passes make each transformation a coupling, as quick to sample from as to evaluate.
        self.layers = zuko.flows.NSF(
            latent_dim, features, transforms=transforms, hidden_features=hidden, passes=2
        )

    def forward(self, features: Tensor | None = None) -> Distribution:
        """The flow's distribution: [D], or [B, D] given features [B, F]."""
        plain: Any = self.layers(features)
        return FlowDistribution(plain.transform, plain.base)
