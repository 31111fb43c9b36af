"""The likelihood of rows of a table: exact, normalised over categories, one term a feature."""

from __future__ import annotations

import math

import pytest
import torch
from parts import composed
from scipy import special, stats
from torch import nn

from vae_run.config.check import check
from vae_run.errors import ConfigError

BLOCKS = ((1, 4), (5, 7))
"""Of 8 features; 0, 4 and 7 are numbers."""
NUMBERS = [0, 4, 7]


def mixed(*words, shape=(8,), blocks=BLOCKS):
    settings = check(composed("likelihood=mixed", *words))
    return settings.build(
        "likelihood", event_shape=shape, one_hot=blocks, projection=lambda k: nn.Identity()
    )


@pytest.fixture
def outputs():
    return torch.randn(3, 4, 1, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def rows():
    """[4, 8]: numbers, and one category of each block."""
    x = torch.zeros(4, 8)
    x[:, NUMBERS] = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    x[torch.arange(4), torch.tensor([1, 3, 2, 1])] = 1
    x[torch.arange(4), torch.tensor([5, 5, 6, 6])] = 1
    return x


@pytest.mark.parametrize("sigma", [0.4, "learned"])
def test_it_is_scipys_normal_and_log_softmax(outputs, rows, sigma):
    likelihood = mixed(f"likelihood.sigma={sigma}")
    if sigma == "learned":
        assert likelihood.sigma.detach() == pytest.approx(1.0, abs=1e-6), "the training spread"
        with torch.no_grad():
            likelihood.rho += torch.linspace(-1, 2, 8)
    p = likelihood(outputs)
    mu, s = outputs[:, :, 0].double().numpy(), likelihood.sigma.detach().double().numpy()
    x = rows.double().numpy()
    expected = stats.norm.logpdf(x[:, NUMBERS], mu[..., NUMBERS], s[NUMBERS]).sum(-1)
    for start, stop in BLOCKS:
        logs = special.log_softmax(mu[..., start:stop], -1)
        expected = expected + (x[:, start:stop] * logs).sum(-1)
    assert p.log_prob(rows).shape == (3, 4)
    torch.testing.assert_close(
        p.log_prob(rows).detach().double(), torch.tensor(expected), rtol=1e-6, atol=1e-5
    )


def test_contributions_of_features_sum_to_minus_log_p(outputs, rows):
    p = mixed()(outputs)
    each = p.contributions(rows)
    assert each.shape == (3, 4, 8)
    torch.testing.assert_close(-each.sum(-1), p.log_prob(rows))
    assert (each[:, rows[:, 1] == 0, 1] == 0).all(), "a category that does not apply"
    assert (each[..., 1:4] >= 0).all(), "probabilities are at most 1"


def test_categories_are_normalised(outputs, rows):
    p, total = mixed()(outputs), 0.0
    for i in range(1, 4):
        for j in range(5, 7):
            x = rows.clone()
            x[:, 1:4] = x[:, 5:7] = 0
            x[:, i] = x[:, j] = 1
            total = total + p.log_prob(x).exp()
    numbers = torch.distributions.Normal(outputs[:, :, 0, NUMBERS], 1.0)
    torch.testing.assert_close(total, numbers.log_prob(rows[:, NUMBERS]).sum(-1).exp())


def test_its_mean_holds_probabilities_and_its_samples_follow_them():
    outputs = torch.tensor([[0.5, 1.0, 0.0, -1.0, -2.0, 2.0, 0.0, 3.0]])[:, None]
    p = mixed("likelihood.sigma=0.5")(outputs)
    expected = special.softmax([1.0, 0.0, -1.0])
    assert p.mean[0, NUMBERS].tolist() == [0.5, -2.0, 3.0]
    assert p.mean[0, 1:4].numpy() == pytest.approx(expected, abs=1e-6)
    torch.manual_seed(0)
    drawn = p.sample((20_000,))[:, 0]
    assert (drawn[:, 1:4].sum(1) == 1).all()
    assert (drawn[:, 5:7].sum(1) == 1).all()
    assert drawn[:, 1:4].mean(0).numpy() == pytest.approx(expected, abs=0.015)
    assert drawn[:, NUMBERS].mean(0).numpy() == pytest.approx([0.5, -2.0, 3.0], abs=0.015)
    assert drawn[:, NUMBERS].std(0).numpy() == pytest.approx([0.5] * 3, abs=0.015)


def test_the_gradient_is_the_mean_minus_the_row(outputs, rows):
    outputs.requires_grad_()
    likelihood = mixed("likelihood.sigma=0.5")
    p = likelihood(outputs)
    (-p.log_prob(rows)).sum().backward()
    expected = p.mean.detach() - rows
    expected[..., NUMBERS] /= 0.5**2
    torch.testing.assert_close(outputs.grad[:, :, 0], expected)


def test_a_learned_sigma_is_of_each_column_and_above_its_floor(rows):
    likelihood = mixed("likelihood.floor=0.05")
    with torch.no_grad():
        likelihood.rho[0] = -100.0
    assert float(likelihood.sigma[0].detach()) == pytest.approx(0.05)
    (-likelihood(torch.zeros(4, 1, 8)).log_prob(rows)).sum().backward()
    assert (likelihood.rho.grad[4:8:3] != 0).all()
    assert (likelihood.rho.grad[[1, 2, 3, 5, 6]] == 0).all()


def test_without_blocks_everything_is_a_number():
    x = torch.rand(5, 2, 3, 4)
    found = mixed("likelihood.sigma=0.5", shape=(2, 3, 4), blocks=())(torch.zeros(5, 1, 2, 3, 4))
    expected = -x.square().sum((1, 2, 3)) / 0.5 - 24 * math.log(0.5 * math.sqrt(2 * math.pi))
    torch.testing.assert_close(found.log_prob(x), expected)


@pytest.mark.parametrize("typed", ["sigma=0", "sigma=none", "floor=0", "floor=1.5"])
def test_impossible_values_are_refused(typed):
    with pytest.raises(ConfigError, match=f"likelihood.{typed.split('=')[0]}: found"):
        mixed(f"likelihood.{typed}")
