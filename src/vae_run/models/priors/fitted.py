"""Densities fitted to the codes of a trained model, to sample from (Ghosh et al. 2020).

They are the samplers of `task=sample sampler=...` for any model, and the priors of models that are
trained without one. Letters: N codes, C components, D latent dimensions.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod

import torch
from torch import Tensor
from torch.distributions import (
    Categorical,
    Distribution,
    MixtureSameFamily,
    MultivariateNormal,
)

from vae_run.errors import CheckpointError, ConfigError
from vae_run.models.priors.base import Count, Prior

SEED = 0


class Fitted(Prior):
    """A density fitted to the codes after training, which has no prior.

    Ghosh et al. 2020, "From variational to deterministic autoencoders", call it ex-post density
    estimation. `fit` sets it, and checkpoints contain it.
    """

    trained_with = False
    fitted_to_codes = True
    fitted: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("fitted", torch.zeros((), dtype=torch.bool))

    @property
    def ready(self) -> bool:
        return bool(self.fitted)

    def forward(self) -> Distribution:
        if not self.ready:
            when = "to its end" if self.fitted_once else "until its first evaluation"
            raise CheckpointError(
                "This model has no prior, and nothing was fitted to its codes yet: train it "
                f"{when}, or choose a sampler with task=sample."
            )
        return self.density()

    @abstractmethod
    def density(self) -> Distribution:
        """The fitted density."""


def covariance_factor(codes: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [D] and Cholesky factor [D, D] of the covariance of `codes` [N, D], in float64.

    1e-6 of the mean variance is added to the diagonal, so that the covariance is regular.
    """
    codes = codes.cpu().double()
    centred = codes - codes.mean(0)
    covariance = centred.T @ centred / max(1, len(codes) - 1)
    floor = 1e-6 * covariance.diagonal().mean().clamp(min=1e-12)
    covariance = covariance + floor * torch.eye(codes.shape[1]).double()
    return codes.mean(0), torch.linalg.cholesky(covariance)


class FittedGaussian(Fitted):
    """A normal distribution with the mean and covariance of the codes."""

    description = "a Gaussian fitted to the codes"
    loc: Tensor
    factor: Tensor

    def __init__(self, *, latent_dim: int) -> None:
        super().__init__()
        self.register_buffer("loc", torch.zeros(latent_dim))
        self.register_buffer("factor", torch.eye(latent_dim))

    def fit(self, codes: Tensor) -> None:
        """Set mean and covariance from `codes` [N, D]; see `covariance_factor`."""
        loc, factor = covariance_factor(codes)
        self.loc.copy_(loc)
        self.factor.copy_(factor)
        self.fitted.fill_(True)

    def density(self) -> Distribution:
        return MultivariateNormal(self.loc, scale_tril=self.factor, validate_args=False)


class FittedMixture(Fitted):
    """A mixture of C normal distributions with full covariances, fitted to the codes by EM."""

    fitted_once = True
    logits: Tensor
    loc: Tensor
    factor: Tensor

    def __init__(self, *, latent_dim: int, components: Count = 10) -> None:
        super().__init__()
        self.description = f"a mixture of {components} normals fitted to the codes"
        self.register_buffer("logits", torch.zeros(components))
        self.register_buffer("loc", torch.zeros(components, latent_dim))
        self.register_buffer("factor", torch.eye(latent_dim).repeat(components, 1, 1))

    def fit(self, codes: Tensor) -> None:
        """Maximum likelihood on `codes` [N, D], initialised by k-means with a fixed seed.

        1e-6 of the variance of the codes is added to every variance.

        Raises:
            ConfigError: there are fewer codes than components.
        """
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        components = len(self.logits)
        if len(codes) < components:
            raise ConfigError(
                f"components: found {components}, more than the {len(codes)} training codes."
            )
        codes = codes.cpu().double()
        loc = codes.mean(0)
        unit = (codes - loc).square().mean().sqrt().clamp(min=1e-6)  # `reg_covar` is relative to it
        found = GaussianMixture(components, max_iter=300, random_state=SEED, reg_covar=1e-6)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            found.fit(((codes - loc) / unit).numpy())
        self.logits.copy_(torch.from_numpy(found.weights_).log())
        self.loc.copy_(loc + unit * torch.from_numpy(found.means_))
        self.factor.copy_(unit * torch.linalg.cholesky(torch.from_numpy(found.covariances_)))
        self.fitted.fill_(True)

    def density(self) -> Distribution:
        return MixtureSameFamily(
            Categorical(logits=self.logits, validate_args=False),
            MultivariateNormal(self.loc, scale_tril=self.factor, validate_args=False),
            validate_args=False,
        )
