"""Likelihoods p(x|z): heads on the decoder's features.

Letters: K samples, B batch, E event shape (C, H, W) or (F,), k parameters a pixel.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Bernoulli, Distribution, Independent, Normal
from torch.nn.functional import softplus


class Likelihood(nn.Module, ABC):
    """Owns the decoder's last layer, `projection`: features -> [N, k, *E].

    Calling it turns those parameters, [*K, B, k, *E], into p(x|z) over [*K, B, *E].
    """

    unit_interval = False
    """Whether the data must lie in [0, 1]."""
    binary = False
    """Whether only 0 and 1 have a probability, so that grey pixels give a cross-entropy."""

    def __init__(
        self, *, event_shape: tuple[int, ...], projection: Callable[[int], nn.Module], k: int = 1
    ) -> None:
        super().__init__()
        self.event_shape = event_shape
        self.projection = projection(k)

    def independent(self, pixels: Distribution) -> Distribution:
        """Pixels independent given z: log-densities are summed over the event."""
        return Independent(pixels, len(self.event_shape), validate_args=False)

    @abstractmethod
    def forward(self, parameters: Tensor) -> Distribution: ...

    @property
    def calibrated(self) -> bool:
        """Whether a parameter is set from the train split by `calibrate`."""
        return False

    def calibrate(self, mean_squared_error: float) -> None:
        """Set that parameter from the train split's squared error per pixel."""
        raise NotImplementedError


class BernoulliLikelihood(Likelihood):
    """Independent binary pixels with logits l: log p(x|z) = sum x l - log(1 + exp l)."""

    unit_interval = True
    binary = True

    def __init__(
        self, *, event_shape: tuple[int, ...], projection: Callable[[int], nn.Module]
    ) -> None:
        super().__init__(event_shape=event_shape, projection=projection)

    def forward(self, parameters: Tensor) -> Distribution:
        logits = parameters.squeeze(-1 - len(self.event_shape)).float()
        return self.independent(Bernoulli(logits=logits, validate_args=False))


class BatchOptimalNormal(Normal):
    """A normal whose one variance is, at every `log_prob`, the mean squared error of that batch.

    sigma^2 = mean (x - mu)^2 maximises the likelihood of the batch (Rybkin et al. 2021,
    "Simple and effective VAE training with calibrated decoders", eq. 8).
    """

    def log_prob(self, value: Tensor) -> Tensor:
        squared = (value - self.loc).square()
        variance = squared.mean().clamp(min=GaussianLikelihood.floor**2)
        return -0.5 * (squared / variance + variance.log() + math.log(2 * math.pi))


class GaussianLikelihood(Likelihood):
    """N(mu, sigma^2 I) with one sigma for all pixels, in units of pixels in [0, 1].

    `sigma` is a number; or "learned", one trained scalar, sigma = floor + softplus(rho); or
    "optimal", the closed form of each batch while training, and the train split's root mean
    squared error, stored with the model, everywhere else. No sigma falls below `floor`, because
    the density of a perfect reconstruction would grow without bound.
    """

    floor = 1e-3
    stored: Tensor

    def __init__(
        self,
        *,
        event_shape: tuple[int, ...],
        projection: Callable[[int], nn.Module],
        sigma: Annotated[float, Field(ge=1e-3)] | Literal["learned", "optimal"] = "learned",
    ) -> None:
        super().__init__(event_shape=event_shape, projection=projection)
        self.kind = sigma if isinstance(sigma, str) else "fixed"
        if sigma == "learned":
            start = 0.3  # about the standard deviation of grey images
            self.rho = nn.Parameter(torch.tensor(math.log(math.expm1(start - self.floor))))
        elif sigma == "optimal":
            self.register_buffer("stored", torch.tensor(1.0))
        else:
            self.register_buffer("stored", torch.tensor(float(sigma)), persistent=False)

    @property
    def sigma(self) -> Tensor:
        """The standard deviation of a pixel, a scalar."""
        return self.floor + softplus(self.rho) if self.kind == "learned" else self.stored

    @property
    def calibrated(self) -> bool:
        return self.kind == "optimal"

    def calibrate(self, mean_squared_error: float) -> None:
        """Store the train split's optimal sigma."""
        self.stored.fill_(max(self.floor, math.sqrt(mean_squared_error)))

    def forward(self, parameters: Tensor) -> Distribution:
        loc = parameters.squeeze(-1 - len(self.event_shape)).float()
        if self.calibrated and self.training:
            return self.independent(BatchOptimalNormal(loc, self.stored, validate_args=False))
        return self.independent(Normal(loc, self.sigma, validate_args=False))
