"""The point mass, and KL divergences against formulas and Monte Carlo."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from vae_run.models.distributions.degenerate import Delta
from vae_run.models.distributions.kl import kl

B, D, K = 4, 3, 100_000


def diagonal(loc, scale):
    return Independent(Normal(loc, scale), 1)


@pytest.fixture
def q():
    torch.manual_seed(0)
    return diagonal(torch.randn(B, D), torch.rand(B, D) + 0.2)


@pytest.fixture
def standard():
    return diagonal(torch.zeros(D), torch.ones(D))


def test_delta_is_its_value_however_it_is_sampled():
    value = torch.randn(B, D, requires_grad=True)
    delta = Delta(value)
    assert delta.batch_shape == (B,)
    assert delta.event_shape == (D,)
    assert torch.equal(delta.mean, value)
    assert torch.equal(delta.stddev, torch.zeros(B, D))
    assert torch.equal(delta.rsample((5,)), value.expand(5, B, D))
    assert torch.equal(delta.sample([2, 5]), value.expand(2, 5, B, D))
    delta.rsample().sum().backward()
    assert torch.equal(value.grad, torch.ones(B, D))


def test_delta_has_no_density_and_no_kl(standard):
    delta = Delta(torch.zeros(B, D))
    with pytest.raises(NotImplementedError):
        delta.log_prob(torch.zeros(B, D))
    with pytest.raises(NotImplementedError):
        kl(delta, standard, torch.zeros(B, D))


def test_kl_to_the_standard_normal_is_the_textbook_formula(q, standard):
    variance = q.variance
    formula = 0.5 * (q.mean**2 + variance - variance.log() - 1).sum(-1)
    torch.testing.assert_close(kl(q, standard, torch.empty(B, D)), formula)


def test_kl_in_closed_form_agrees_with_monte_carlo(q, standard):
    z = q.sample((K,))
    draws = q.log_prob(z) - standard.log_prob(z)
    error = draws.std(0) / K**0.5
    assert ((kl(q, standard, z[0]) - draws.mean(0)).abs() < 4 * error).all()
    assert (error < 0.02 * draws.mean(0)).all()


def test_kl_where_there_is_a_closed_form_does_not_look_at_the_samples(q, standard):
    assert torch.equal(
        kl(q, standard, torch.full((B, D), torch.nan)), kl(q, standard, torch.zeros(2, B, D))
    )


def test_kl_without_a_closed_form_in_torch_is_unbiased(q):
    factor = torch.tensor([[1.2, 0, 0], [0.5, 0.8, 0], [-0.3, 0.4, 1.5]])
    p = MultivariateNormal(torch.tensor([0.3, -0.2, 0.1]), scale_tril=factor)
    with pytest.raises(NotImplementedError):
        kl_divergence(q, p)
    full = MultivariateNormal(q.mean, torch.diag_embed(q.variance))
    exact = kl_divergence(full, p)
    z = q.sample((K,))
    single = torch.stack([kl(q, p, z[k]) for k in range(20)])
    assert single.shape == (20, B)
    torch.testing.assert_close(kl(q, p, z[:20]), single.mean(0))
    error = (q.log_prob(z) - p.log_prob(z)).std(0) / K**0.5
    assert ((kl(q, p, z) - exact).abs() < 4 * error).all()
