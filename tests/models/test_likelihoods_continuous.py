"""Densities of real-valued pixels: exact, normalised, and with the mean that they say."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from itertools import pairwise

import pytest
import torch
from parts import composed
from scipy import integrate, stats
from torch import nn

from vae_run.config.check import check
from vae_run.errors import ConfigError
from vae_run.models.distributions.continuous_bernoulli import ContinuousBernoulli

SIZES = (1e-8, 1e-4, 4e-3, 0.02, 0.3, 0.4999, 0.5001, 1, 4, 9, 15, 17, 40, 89, 1e3, 1e6)
LOGITS = [0.0, *SIZES, *(-size for size in SIZES)]
DRAWN = 20_000


def head(*words, shape=(1,)):
    settings = check(composed(*words))
    return settings.build("likelihood", event_shape=shape, projection=lambda k: nn.Identity())


# Continuous Bernoulli


def log_normaliser(logit):
    """log((exp l - 1) / l) with 60 digits."""
    with localcontext(prec=60):
        size = Decimal(logit)
        return ((size.exp() - 1) / size).ln() if logit else Decimal(0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_continuous_bernoulli_is_exact_for_every_logit(dtype):
    logits = torch.tensor(LOGITS, dtype=dtype)
    p = ContinuousBernoulli(logits)
    for x in (0.0, 0.25, 0.5, 0.96875, 1.0):  # numbers that float32 holds
        expected = [float(Decimal(v) * Decimal(x) - log_normaliser(v)) for v in logits.tolist()]
        found = p.log_prob(torch.tensor(x, dtype=dtype))
        tolerance = 2e-6 if dtype == torch.float32 else 1e-8
        torch.testing.assert_close(
            found, torch.tensor(expected, dtype=dtype), rtol=tolerance, atol=tolerance
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_continuous_bernoullis_mean_is_exact_for_every_logit(dtype):
    logits = torch.tensor(LOGITS, dtype=dtype)
    with localcontext(prec=60):
        exact = [Decimal(v) for v in logits.tolist()]
        expected = [float(1 / (1 - (-v).exp()) - 1 / v) if v else 0.5 for v in exact]
    found = ContinuousBernoulli(logits).mean
    tolerance = 3e-7 if dtype == torch.float32 else 1e-8
    torch.testing.assert_close(found, torch.tensor(expected, dtype=dtype), rtol=0, atol=tolerance)


def test_the_gradient_of_continuous_bernoulli_is_x_minus_the_mean():
    logits = torch.tensor(LOGITS, requires_grad=True)
    p = ContinuousBernoulli(logits)
    p.log_prob(torch.tensor(0.3)).sum().backward()
    torch.testing.assert_close(logits.grad, 0.3 - p.mean.detach(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("logit", [0.0, 0.01, -0.5, 3.0, -20.0, 60.0])
def test_continuous_bernoulli_integrates_to_one(logit):
    p = ContinuousBernoulli(torch.tensor(logit, dtype=torch.double))

    def density(x):
        return p.log_prob(torch.tensor(x, dtype=torch.double)).exp().item()

    ends = [0.01, 0.99]
    total, _ = integrate.quad(density, 0, 1, points=ends)
    first, _ = integrate.quad(lambda x: x * density(x), 0, 1, points=ends)
    assert total == pytest.approx(1, abs=1e-8)
    assert first == pytest.approx(p.mean.item(), abs=1e-8)


def test_continuous_bernoulli_samples_have_its_distribution():
    torch.manual_seed(0)
    logits = torch.tensor([0.0, 1e-6, -0.4, 2.0, -30.0, 1e4])
    drawn = ContinuousBernoulli(logits).sample((DRAWN,))
    assert ((drawn >= 0) & (drawn <= 1)).all()
    for logit, column in zip(logits.double().tolist(), drawn.double().T.numpy(), strict=True):
        if logit <= 0:  # scipy's truncated exponential, falling from 0 on
            rate = max(-logit, 1e-9)
            known = stats.truncexpon(b=rate, scale=1 / rate)
        else:
            known, column = stats.truncexpon(b=logit, scale=1 / logit), 1 - column
        assert stats.kstest(column, known.cdf).pvalue > 1e-3, logit


def test_at_a_logit_of_0_it_is_uniform():
    p = head("likelihood=continuous_bernoulli", shape=(4,))(torch.zeros(2, 1, 4))
    assert torch.equal(p.log_prob(torch.rand(2, 4)), torch.zeros(2))


# Gaussian with a sigma for every pixel


def test_gaussian_pixel_is_scipys_with_floored_sigmas():
    torch.manual_seed(0)
    parameters, x = 3 * torch.randn(3, 4, 2, 1, 2, 5), torch.rand(4, 1, 2, 5)
    p = head("likelihood=gaussian_pixel", "likelihood.floor=0.05", shape=(1, 2, 5))(parameters)
    loc, raw = parameters.double().unbind(2)
    sigma = 0.05 + (raw + math.log(math.expm1(0.25))).exp().log1p()
    expected = stats.norm.logpdf(x.double(), loc, sigma).sum((-3, -2, -1))
    torch.testing.assert_close(p.log_prob(x), torch.tensor(expected).float())
    assert torch.equal(p.mean, parameters[:, :, 0])


def test_gaussian_pixel_starts_at_the_spread_of_images_and_stops_at_its_floor():
    for raw, sigma in ((0.0, 0.3), (-1e4, 0.01), (1e3, 1e3 - 1.0744)):
        p = head("likelihood=gaussian_pixel")(torch.tensor([[[0.5], [raw]]]))
        assert p.stddev.item() == pytest.approx(sigma, rel=1e-4)
    with pytest.raises(ConfigError, match=r"likelihood\.floor"):
        check(composed("likelihood=gaussian_pixel", "likelihood.floor=0.0"))


# Laplace


@pytest.mark.parametrize("scale", [0.001, 0.2, 3.0])
def test_laplace_is_the_absolute_error_and_a_constant(scale):
    torch.manual_seed(0)
    parameters, x = torch.randn(3, 4, 1, 2, 5), torch.rand(4, 2, 5)
    p = head("likelihood=laplace", f"likelihood.scale={scale}", shape=(2, 5))(parameters)
    loc = parameters[:, :, 0].double()
    expected = (-(x - loc).abs() / scale - math.log(2 * scale)).sum((-2, -1))
    torch.testing.assert_close(p.log_prob(x), expected.float())
    if scale == 0.2:
        known = stats.laplace.logpdf(x.double(), loc, scale).sum((-2, -1))
        torch.testing.assert_close(expected, torch.tensor(known))


def test_laplaces_learned_scale_is_floored_and_finds_the_mean_absolute_error():
    torch.manual_seed(0)
    target, learned = 0.07 * torch.randn(50, 40), head("likelihood=laplace", shape=(40,))
    assert learned.b.item() == pytest.approx(0.2)
    optimizer = torch.optim.Adam(learned.parameters(), lr=0.05)
    for _ in range(250):
        optimizer.zero_grad()
        (-learned(torch.zeros(50, 1, 40)).log_prob(target)).mean().backward()
        optimizer.step()
    assert learned.b.item() == pytest.approx(target.abs().mean().item(), rel=1e-3)
    with torch.no_grad():
        learned.rho.fill_(-1e4)
    assert learned.b.item() == pytest.approx(1e-3)


def test_laplaces_scale_is_a_number_of_at_least_the_floor_or_learned():
    assert head("likelihood=laplace", "likelihood.scale=0.5").state_dict() == {}
    for wrong in ("0.0005", "optimal", "null"):
        with pytest.raises(ConfigError, match=r"likelihood\.scale"):
            check(composed("likelihood=laplace", f"likelihood.scale={wrong}"))


@pytest.mark.parametrize(
    ("words", "width"),
    [
        (("likelihood=gaussian_pixel",), 0.3),
        (("likelihood=gaussian_pixel", "likelihood.floor=0.001"), 0.3),
        (("likelihood=laplace",), 0.2),
        (("likelihood=laplace", "likelihood.scale=0.001"), 0.001),
    ],
    ids=str,
)
def test_densities_integrate_to_one(words, width):
    made = head(*words)
    k = 2 if "gaussian_pixel" in words[0] else 1
    p = made(torch.tensor([0.4, 0.0][:k], dtype=torch.float32).reshape(1, k, 1))

    def density(x):
        return p.log_prob(torch.tensor([[x]], dtype=torch.double)).exp().item()

    edges = [0.4 - 40 * width, 0.4, 0.4 + 40 * width]
    total = sum(integrate.quad(density, a, b)[0] for a, b in pairwise(edges))
    assert total == pytest.approx(1, abs=1e-6)
