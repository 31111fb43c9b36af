"""Priors against scipy, and the Gaussian that is fitted to codes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from parts import composed, options
from scipy import stats

from vae_run.config import check
from vae_run.errors import CheckpointError
from vae_run.priors import FittedGaussian, StandardNormal

D = 3


@pytest.fixture
def codes():
    generator = torch.Generator().manual_seed(0)
    mixing = torch.tensor([[2.0, 0.5, 0.0], [0.0, 1.0, -0.7], [0.0, 0.0, 0.1]])
    return torch.randn(500, D, generator=generator) @ mixing + torch.tensor([1.0, -2.0, 5.0])


def test_standard_normal_is_scipys():
    z = torch.linspace(-3, 3, 12).reshape(4, D)
    expected = stats.multivariate_normal.logpdf(z.double().numpy(), np.zeros(D), np.eye(D))
    found = StandardNormal(latent_dim=D)().log_prob(z)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float32))


def test_fitted_gaussian_has_the_mean_and_covariance_of_the_codes(codes):
    prior = FittedGaussian(latent_dim=D)
    prior.fit(codes)
    p, array = prior(), codes.double().numpy()
    covariance = torch.tensor(np.cov(array.T), dtype=torch.float32)
    torch.testing.assert_close(p.mean, codes.mean(0))
    torch.testing.assert_close(p.covariance_matrix, covariance, rtol=1e-4, atol=1e-5)
    expected = stats.multivariate_normal.logpdf(array[:5], array.mean(0), np.cov(array.T))
    torch.testing.assert_close(
        p.log_prob(codes[:5]), torch.tensor(expected, dtype=torch.float32), rtol=1e-3, atol=1e-3
    )


def test_fitted_gaussian_goes_with_the_weights(codes):
    prior, other = FittedGaussian(latent_dim=D), FittedGaussian(latent_dim=D)
    prior.fit(codes)
    other.load_state_dict(prior.state_dict())
    assert torch.equal(other().scale_tril, prior().scale_tril)
    assert torch.equal(other().mean, prior().mean)


def test_fitted_gaussian_before_it_is_fitted_says_so():
    with pytest.raises(CheckpointError, match="no Gaussian was fitted"):
        FittedGaussian(latent_dim=D)()


@pytest.mark.parametrize(
    "few",
    [
        torch.zeros(10, D),
        torch.ones(1, D),
        torch.arange(10.0)[:, None] * torch.tensor([[1.0, -2.0, 0.0]]),
    ],
    ids=["all alike", "a single one", "on a line"],
)
def test_fitted_gaussian_takes_codes_without_spread(few):
    prior = FittedGaussian(latent_dim=D)
    prior.fit(few)
    drawn = prior().sample((100,))
    assert drawn.isfinite().all()
    nowhere = few.std(0, unbiased=False) == 0
    spread = few.std().nan_to_num().clamp(min=1e-4)
    assert ((drawn - few.mean(0)).abs()[:, nowhere] < 0.1 * spread).all()


@pytest.mark.parametrize("option", options("prior"))
def test_every_prior_samples_codes_that_have_a_density(option, codes):
    settings = check(composed("objective=reconstruction", f"prior={option}"))
    prior = settings.build("prior", latent_dim=D)
    assert prior.description
    if prior.fitted_to_codes:
        prior.fit(codes)
    z = prior().sample((50,))
    assert z.shape == (50, D)
    assert prior().log_prob(z).shape == (50,)
    assert prior().log_prob(z).isfinite().all()
