"""Likelihoods that are densities of real-valued pixels, scaled to [0, 1].

Letters: K samples, B batch, E event shape (C, H, W) or (F,).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution, Laplace, Normal
from torch.nn.functional import softplus

from vae_run.models.distributions.continuous_bernoulli import ContinuousBernoulli
from vae_run.models.likelihoods.base import Likelihood, Projection, raw_scale, scale, start_of


class OneScaleNormal(Normal):
    """A normal distribution with one scale, [], for all entries of `loc`.

    Its log-density takes half the passes over the entries that `Normal` takes, for which the scale
    is as large as `loc`.
    """

    def __init__(self, loc: Tensor, scale: Tensor) -> None:
        self._one = scale
        super().__init__(loc, scale, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        constant = self._one.log() + 0.5 * math.log(2 * math.pi)
        return (value - self.loc).square() * (-0.5 / self._one.square()) - constant


class BatchOptimalNormal(Normal):
    """A normal distribution whose variance, in `log_prob`, is the mean squared error of the batch.

    sigma^2 = mean (x - mu)^2 maximises the likelihood of the batch (Rybkin et al. 2021,
    "Simple and effective VAE training with calibrated decoders", eq. 8).
    """

    def log_prob(self, value: Tensor) -> Tensor:
        squared = (value - self.loc).square()
        variance = squared.mean().clamp(min=GaussianLikelihood.floor**2)
        return -0.5 * (squared / variance + variance.log() + math.log(2 * math.pi))


class GaussianLikelihood(Likelihood):
    """N(mu, sigma^2 I) with one sigma for all pixels, for pixels in [0, 1].

    `sigma` is a number; or "learned", one trained scalar, sigma = floor + softplus(rho); or
    "optimal", the maximum likelihood value of each batch in training, and the root mean squared
    error of the training split, stored with the model, everywhere else. sigma is at least `floor`,
    because the density of a perfect reconstruction is unbounded.

    `speed` multiplies rho, sigma = floor + softplus(speed * rho): Adam, which moves each weight by
    about the learning rate a step, moves a learned sigma that many times as fast.
    """

    floor = 1e-3
    stored: Tensor

    def __init__(
        self,
        *,
        event_shape: tuple[int, ...],
        projection: Projection,
        sigma: Annotated[float, Field(ge=1e-3)] | Literal["learned", "optimal"] = "learned",
        speed: Annotated[float, Field(gt=0)] = 10.0,
    ) -> None:
        super().__init__(event_shape=event_shape, projection=projection)
        self.speed = speed
        self.kind = sigma if isinstance(sigma, str) else "fixed"
        if sigma == "learned":
            start = 0.3  # about the standard deviation of grey-scale images
            self.rho = nn.Parameter(torch.tensor(raw_scale(start - self.floor) / speed))
        elif sigma == "optimal":
            self.register_buffer("stored", torch.tensor(1.0))
        else:
            self.register_buffer("stored", torch.tensor(float(sigma)), persistent=False)

    @property
    def sigma(self) -> Tensor:
        """The standard deviation of a pixel, a scalar tensor."""
        if self.kind != "learned":
            return self.stored
        return self.floor + softplus(self.speed * self.rho)

    @property
    def calibrated(self) -> bool:
        return self.kind == "optimal"

    def calibrate(self, mean_squared_error: float) -> None:
        """Set sigma to the root of the training split's error, unless it was given as a number."""
        sigma = max(self.floor, math.sqrt(mean_squared_error))
        if self.kind == "optimal":
            self.stored.fill_(sigma)
        elif self.kind == "learned":
            self.rho.fill_(raw_scale(max(sigma - self.floor, 1e-9)) / self.speed)

    def start(self, mean: Tensor, deviation: float) -> Tensor:
        return mean[None]

    @torch.no_grad()
    def start_scale(self, deviation: float) -> None:
        if self.kind == "learned":
            self.rho.fill_(start_of(deviation, self.floor, math.log(2) + self.floor) / self.speed)

    @classmethod
    def whole_batches(cls, options: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        if options["sigma"] == "optimal":
            yield "likelihood.sigma", "optimal", "Choose another likelihood.sigma"

    def forward(self, parameters: Tensor) -> Distribution:
        (loc,) = self.split(parameters)
        if self.calibrated and self.training:
            return self.independent(BatchOptimalNormal(loc, self.stored, validate_args=False))
        return self.independent(OneScaleNormal(loc, self.sigma))


class GaussianPixelLikelihood(Likelihood):
    """N(mu, diag sigma^2): the decoder gives every pixel its own sigma.

    sigma = floor + softplus(raw), in pixels. Without the floor the density of a pixel that is
    always the same, such as a black corner, would grow without bound, and with it the likelihood
    (Mattei & Frellsen 2018): its value depends on `floor`, so tell both.
    """

    single = False

    start_sigma = 0.3
    """sigma where raw = 0: about the standard deviation of grey-scale images."""

    def __init__(
        self,
        *,
        event_shape: tuple[int, ...],
        projection: Projection,
        floor: Annotated[float, Field(gt=0, lt=0.3)] = 0.01,
    ) -> None:
        super().__init__(event_shape=event_shape, projection=projection, k=2)
        self.floor = floor

    def start(self, mean: Tensor, deviation: float) -> Tensor:
        raw = start_of(deviation, self.floor, self.start_sigma)
        return torch.stack([mean, torch.full_like(mean, raw)])

    def forward(self, parameters: Tensor) -> Distribution:
        loc, raw = self.split(parameters)
        return self.independent(
            Normal(loc, scale(raw, self.floor, self.start_sigma), validate_args=False)
        )

    def scale(self, p: Distribution) -> Tensor:
        return p.stddev


class LaplaceLikelihood(Likelihood):
    """exp(-|x - mu| / b) / (2b) with one b for all pixels: absolute instead of squared error.

    `scale`, b, is a number, or "learned": one trained scalar, b = floor + softplus(rho). It is at
    least `floor`, because the density of a perfect reconstruction is unbounded. `speed` is that of
    the Gaussian's learned sigma.
    """

    floor = 1e-3
    stored: Tensor

    def __init__(
        self,
        *,
        event_shape: tuple[int, ...],
        projection: Projection,
        scale: Annotated[float, Field(ge=1e-3)] | Literal["learned"] = "learned",
        speed: Annotated[float, Field(gt=0)] = 10.0,
    ) -> None:
        super().__init__(event_shape=event_shape, projection=projection)
        self.speed = speed
        self.learned = scale == "learned"
        if isinstance(scale, str):
            start = 0.2  # about the mean absolute deviation of grey-scale images
            self.rho = nn.Parameter(torch.tensor(raw_scale(start - self.floor) / speed))
        else:
            self.register_buffer("stored", torch.tensor(float(scale)), persistent=False)

    @property
    def b(self) -> Tensor:
        """The mean absolute deviation of a pixel, a scalar."""
        return self.floor + softplus(self.speed * self.rho) if self.learned else self.stored

    def start(self, mean: Tensor, deviation: float) -> Tensor:
        return mean[None]

    @torch.no_grad()
    def start_scale(self, deviation: float) -> None:
        """b is the standard deviation over sqrt(2)."""
        if self.learned:
            b = deviation / math.sqrt(2)
            self.rho.fill_(start_of(b, self.floor, math.log(2) + self.floor) / self.speed)

    def forward(self, parameters: Tensor) -> Distribution:
        (loc,) = self.split(parameters)
        return self.independent(Laplace(loc, self.b, validate_args=False))


class ContinuousBernoulliLikelihood(Likelihood):
    """The continuous Bernoulli for every pixel: a density on [0, 1], normalised unlike the
    cross-entropy of grey pixels.
    """

    unit_interval = True

    def __init__(self, *, event_shape: tuple[int, ...], projection: Projection) -> None:
        super().__init__(event_shape=event_shape, projection=projection)

    def start(self, mean: Tensor, deviation: float) -> Tensor:
        """The logits by bisection, of means in [0.05, 0.95]: beyond, logits are in the hundreds."""
        wanted = mean.double().clamp(0.05, 0.95)
        low, high = torch.full_like(wanted, -1e4), torch.full_like(wanted, 1e4)
        for _ in range(60):
            middle = (low + high) / 2
            above = ContinuousBernoulli(middle, validate_args=False).mean > wanted
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        return low.to(mean)[None]

    def forward(self, parameters: Tensor) -> Distribution:
        (logits,) = self.split(parameters)
        return self.independent(ContinuousBernoulli(logits, validate_args=False))
