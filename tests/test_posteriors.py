"""Posteriors turn features into q(z|x), and standard noise into its samples."""

from __future__ import annotations

import pytest
import torch
from parts import composed, options

from vae_run.config import check
from vae_run.posteriors import DeltaPosterior, NormalPosterior

B, D, F, K = 5, 3, 7, 2


@pytest.fixture
def features():
    torch.manual_seed(0)
    return torch.randn(B, F)


def test_normal_has_mean_and_log_variance_linear_in_the_features(features):
    head = NormalPosterior(features=F, latent_dim=D)
    q = head(features)
    both = features @ head.projection.weight.T + head.projection.bias
    torch.testing.assert_close(q.mean, both[:, :D])
    torch.testing.assert_close(q.variance, both[:, D:].exp())
    assert q.event_shape == (D,)


def test_normal_samples_are_mean_plus_scale_times_noise(features):
    head = NormalPosterior(features=F, latent_dim=D)
    q, noise = head(features), torch.randn(K, B, D)
    z = head.sample(q, noise)
    for k in range(K):
        torch.testing.assert_close(z[k], q.mean + q.stddev * noise[k])
        assert torch.equal(z[k], head.sample(q, noise[k]))


def test_delta_samples_are_the_code_whatever_the_noise(features):
    head = DeltaPosterior(features=F, latent_dim=D)
    q = head(features)
    code = features @ head.projection.weight.T + head.projection.bias
    torch.testing.assert_close(q.mean, code)
    assert torch.equal(head.sample(q, torch.randn(K, B, D)), q.mean.expand(K, B, D))


@pytest.mark.parametrize("option", options("posterior"))
def test_every_posterior_turns_noise_into_samples_of_its_own(option, features):
    settings = check(composed("objective=reconstruction", f"posterior={option}"))
    head = settings.build("posterior", features=F, latent_dim=D)
    q = head(features)
    assert q.mean.shape == (B, D)
    n = 20_000
    z = head.sample(q, torch.randn(n, B, D))
    assert z.shape == (n, B, D)
    error = z.std(0) / n**0.5
    assert ((z.mean(0) - q.mean).abs() < 5 * error + 1e-6).all()
    torch.testing.assert_close(z.std(0), q.stddev, rtol=0.05, atol=1e-5)
    z[0].square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())
    with torch.autocast("cpu", torch.bfloat16):
        assert head(features).mean.dtype == torch.float32
    if head.stochastic:
        assert q.log_prob(z[0]).shape == (B,)
