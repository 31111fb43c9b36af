"""Priors p(z). Letters: N codes, D latent dimensions."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

from vae_run.errors import CheckpointError


class Prior(nn.Module, ABC):
    """p(z) over [D]; `description` is what captions say of samples from it."""

    generative = True
    """Whether training fits the codes to this prior, so that KL and ELBO mean something."""
    fitted_to_codes = False
    """Whether `fit` sets it from the training codes after the fact."""
    description: str

    @abstractmethod
    def forward(self) -> Distribution:
        """p(z)."""

    def fit(self, codes: Tensor) -> None:
        """Fit p(z) to `codes` [N, D]."""
        raise NotImplementedError


class StandardNormal(Prior):
    """N(0, I)."""

    description = "the prior N(0, I)"
    loc: Tensor

    def __init__(self, *, latent_dim: int) -> None:
        super().__init__()
        self.register_buffer("loc", torch.zeros(latent_dim), persistent=False)

    def forward(self) -> Distribution:
        scale = torch.ones_like(self.loc)
        return Independent(Normal(self.loc, scale, validate_args=False), 1, validate_args=False)


class FittedGaussian(Prior):
    """No prior while training; afterwards a Gaussian with the mean and covariance of the codes.

    The simplest ex-post density estimate of Ghosh et al. 2020, "From variational to
    deterministic autoencoders". `fit` sets it and the checkpoint carries it.
    """

    generative = False
    fitted_to_codes = True
    description = "a Gaussian fitted to the codes"
    loc: Tensor
    factor: Tensor
    fitted: Tensor

    def __init__(self, *, latent_dim: int) -> None:
        super().__init__()
        self.register_buffer("loc", torch.zeros(latent_dim))
        self.register_buffer("factor", torch.eye(latent_dim))
        self.register_buffer("fitted", torch.zeros((), dtype=torch.bool))

    def fit(self, codes: Tensor) -> None:
        """Mean and covariance of `codes` [N, D], with a floor that keeps the latter regular."""
        codes = codes.double()
        centred = codes - codes.mean(0)
        covariance = centred.T @ centred / max(1, len(codes) - 1)
        floor = 1e-6 * covariance.diagonal().mean().clamp(min=1e-12)
        covariance = covariance + floor * torch.eye(codes.shape[1], device=codes.device).double()
        self.loc.copy_(codes.mean(0))
        self.factor.copy_(torch.linalg.cholesky(covariance))
        self.fitted.fill_(True)

    def forward(self) -> MultivariateNormal:
        if not bool(self.fitted):
            raise CheckpointError(
                "This model has no prior, and no Gaussian was fitted to its codes yet: train it "
                "until its first evaluation, then sample."
            )
        return MultivariateNormal(self.loc, scale_tril=self.factor, validate_args=False)
