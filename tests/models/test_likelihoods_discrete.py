"""Probabilities of grey levels: they sum to 1, are exact at extremes, and their mean is theirs."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from itertools import product

import numpy as np
import pytest
import torch
from hydra.utils import get_class
from omegaconf import OmegaConf
from parts import CONF, composed, options
from torch import nn

from vae_run.config.check import check
from vae_run.data.splits import Split
from vae_run.models.distributions.grid import DiscretizedLogistic, LevelCategorical
from vae_run.models.likelihoods import BernoulliLikelihood, GridLikelihood, Likelihood

LOCATIONS = (-1e6, -40.0, -0.3, 0.0, 0.4999, 0.5 / 255, 0.5, 0.93, 1.0, 1.8, 1e4)
SCALES = (1e-7, 1e-4, 4e-4, 0.004, 0.0041, 0.03, 0.2, 3.0, 1e5)
ALL_LEVELS = (2, 17, 27, 28, 256)
DRAWN = 20_000


def class_of(option: str) -> type[Likelihood]:
    """Of the file alone, which takes no composition while tests are collected."""
    return get_class(OmegaConf.load(CONF / "likelihood" / f"{option}.yaml")["_target_"])


GRID_OPTIONS = [o for o in options("likelihood") if class_of(o).discrete]


def head(option, levels, shape=(1,), *words):
    settings = check(composed(f"likelihood={option}", *words))
    return settings.build(
        "likelihood", event_shape=shape, levels=levels, projection=lambda k: nn.Identity()
    )


def grid(levels):
    return torch.arange(levels) / (levels - 1)


def extreme(levels):
    """A discretized logistic for every pair of a location and a scale."""
    loc, scale = torch.tensor(list(product(LOCATIONS, SCALES))).T
    return DiscretizedLogistic(loc, scale, levels)


def size(option, levels):
    """k, the numbers that the head asks of the decoder for a sub-pixel."""
    asked = []
    settings = check(composed(f"likelihood={option}"))
    settings.build(
        "likelihood",
        event_shape=(1,),
        levels=levels,
        projection=lambda k: asked.append(k) or nn.Identity(),
    )
    return asked[0]


def test_the_options_are_found():
    assert GRID_OPTIONS == ["categorical", "discretized_logistic", "logistic_mixture"]
    assert [size(o, 17) for o in GRID_OPTIONS] == [17, 2, 15]


@pytest.mark.parametrize("levels", ALL_LEVELS)
def test_a_discretized_logistic_sums_to_one(levels):
    total = extreme(levels).log_prob(grid(levels)[:, None]).exp().double().sum(0)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-5)


@pytest.mark.parametrize("spread", [0.0, 1.0, 30.0, 1e4])
@pytest.mark.parametrize("levels", ALL_LEVELS)
@pytest.mark.parametrize("option", GRID_OPTIONS)
def test_every_head_sums_to_one(option, levels, spread):
    torch.manual_seed(0)
    parameters = spread * torch.randn(50, size(option, levels), 1)
    p = head(option, levels)(parameters)
    total = p.log_prob(grid(levels)[:, None, None]).exp().double().sum(0)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-5)


def logistic_by_decimals(v, loc, scale, top):
    """log P of level v with 800 digits, as the difference of two distribution functions."""
    with localcontext(prec=800):
        loc, scale = Decimal(loc) * top, Decimal(scale) * top
        below = [1 / (1 + ((loc - Decimal(edge)) / scale).exp()) for edge in (v - 0.5, v + 0.5)]
        low = Decimal(0) if v == 0 else below[0]
        high = Decimal(1) if v == top else below[1]
        return float((high - low).ln())


def test_a_discretized_logistic_is_the_difference_of_distribution_functions():
    values, top = (0, 1, 100, 254, 255), 255
    for loc, scale in [(0.4, 0.2), (0.4, 4e-4), (1.8, 0.004), (-0.3, 0.03), (0.5, 3.0), (0.1, 1e3)]:
        # Parameters are rounded to float32 before they are compared.
        loc32, scale32 = (torch.tensor(float(np.float32(x * top))) / top for x in (loc, scale))
        p = DiscretizedLogistic(loc32, scale32, top + 1)
        found = p.log_prob(torch.tensor(values) / top)
        expected = [logistic_by_decimals(v, loc32.item(), scale32.item(), top) for v in values]
        torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-4, atol=1e-5)


def test_in_double_precision_it_is_exact():
    for v, loc, scale in [(0, 0.4, 4e-4), (3, 0.9, 0.002), (200, 0.1, 0.5), (255, 0.3, 0.01)]:
        numbers = torch.tensor([loc, scale], dtype=torch.double)
        p = DiscretizedLogistic(*numbers, 256)
        found = p.log_prob(torch.tensor(v / 255, dtype=torch.double)).item()
        assert found == pytest.approx(logistic_by_decimals(v, loc, scale, 255), rel=1e-11)


def test_a_mixture_is_the_weighed_sum_of_its_logistics():
    torch.manual_seed(0)
    logits, loc, raw = parameters = torch.randn(3, 5)
    p = head("logistic_mixture", 17)(parameters.reshape(1, 15, 1))
    scales = 0.1 / 16 + nn.functional.softplus(raw + math.log(math.expm1(0.2 - 0.1 / 16)))
    for v in (0, 3, 16):
        expected = sum(
            w * math.exp(logistic_by_decimals(v, m, s, 16))
            for w, m, s in zip(
                logits.softmax(0).tolist(), loc.tolist(), scales.tolist(), strict=True
            )
        )
        assert p.log_prob(torch.tensor([[v / 16]])).item() == pytest.approx(
            math.log(expected), rel=1e-5
        )


def test_a_categorical_is_the_log_softmax():
    torch.manual_seed(0)
    logits = torch.randn(3, 2, 17, 1, 4, 5)
    x = torch.randint(0, 17, (2, 1, 4, 5))
    found = head("categorical", 17, (1, 4, 5))(logits).log_prob(x / 16)
    chosen = logits.log_softmax(2).gather(2, x[:, None].expand(3, 2, 1, 1, 4, 5))
    torch.testing.assert_close(found, chosen.sum((2, 3, 4, 5)))


@pytest.mark.parametrize("levels", ALL_LEVELS)
def test_stored_pixels_find_their_level(levels):
    """Pixels are v * (1 / (L-1)), v/(L-1) or off by a rounding: all are level v."""
    split = Split(torch.arange(levels, dtype=torch.uint8)[:, None], scale=levels - 1.0)
    assert split.levels == levels
    exact = LevelCategorical(torch.randn(levels))
    for x in (split.pixels(slice(None))[:, 0], grid(levels), grid(levels) + 2e-7):
        torch.testing.assert_close(exact.log_prob(x), exact.indices.logits)


def test_gradients_are_finite_at_every_extreme():
    for levels in ALL_LEVELS:
        loc, scale = torch.tensor(list(product(LOCATIONS, SCALES))).T.clone().requires_grad_()
        p = DiscretizedLogistic(loc, scale, levels)
        p.log_prob(grid(levels)[:, None]).sum().backward()
    for option in GRID_OPTIONS:
        for value in (-1e4, 0.0, 1e4):
            parameters = torch.full((1, size(option, 256), 1), value, requires_grad=True)
            head(option, 256)(parameters).log_prob(grid(256)[:, None, None]).sum().backward()
            assert parameters.grad.isfinite().all(), (option, value)


@pytest.mark.parametrize("levels", ALL_LEVELS)
def test_the_mean_is_the_sum_over_levels(levels):
    p = extreme(levels)
    weights = p.log_prob(grid(levels)[:, None]).double().exp()
    expected = (weights * grid(levels).double()[:, None]).sum(0)
    torch.testing.assert_close(p.mean.double(), expected, rtol=0, atol=1e-5)
    near = DiscretizedLogistic(torch.linspace(-0.2, 1.2, 999), torch.tensor(1.0 / levels), levels)
    assert (near.mean.diff() > -1e-6).all()


@pytest.mark.parametrize("option", GRID_OPTIONS)
@pytest.mark.parametrize("levels", [2, 17, 256])
def test_samples_lie_on_the_grid_as_often_as_they_should(option, levels):
    torch.manual_seed(0)
    parameters = torch.randn(4, size(option, levels), 1)
    p = head(option, levels)(parameters)
    drawn = p.sample((DRAWN,))
    assert p.base_dist.support.check(drawn).all()
    assert not p.base_dist.support.check(drawn + 0.4 / (levels - 1)).any()
    index = (drawn * (levels - 1)).round().long()
    assert torch.equal(index / (levels - 1), drawn)
    probability = p.log_prob(grid(levels)[:, None, None]).exp()[..., None]
    variance = (probability * (grid(levels)[:, None, None] - p.mean).square()).sum(0)
    assert ((drawn.mean(0) - p.mean).abs() < 4.5 * (variance / DRAWN).sqrt() + 1e-6).all()
    found = (index == torch.arange(levels)[:, None, None, None]).float().mean(1)
    error = (probability * (1 - probability) / DRAWN).sqrt()
    assert ((found - probability).abs() < 5 * error + 3 / DRAWN).all()


def test_a_certain_logistic_rounds_its_location():
    p = DiscretizedLogistic(torch.tensor([-3.0, 0.3, 0.34, 7.0]), torch.tensor(1e-9), 17)
    expected = torch.tensor([0.0, 5.0, 5.0, 16.0]) / 16
    for found in (p.mean, p.sample()):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_bernoulli_is_two_levels_and_no_grid():
    assert BernoulliLikelihood.binary
    assert not BernoulliLikelihood.discrete
    assert issubclass(GridLikelihood, Likelihood)
    assert GridLikelihood.unit_interval
