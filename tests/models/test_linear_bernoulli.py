"""log p(x|z) of binary images without x l for each code: the sum over pixels, in float64."""

from __future__ import annotations

import pytest
import torch
from parts import experiment
from torch import Tensor, nn
from torch.nn.functional import softplus

from vae_run.models.likelihoods import BernoulliLikelihood
from vae_run.models.likelihoods.discrete import LinearBernoulli


def exact(layer: nn.Linear, h: Tensor, x: Tensor) -> Tensor:
    """sum x l - softplus(l) with l = W h + b, in float64, of features [K, B, F]."""
    logits = h.double() @ layer.weight.double().T + layer.bias.double()
    return (x.double() * logits - softplus(logits)).sum(-1)


@pytest.mark.parametrize("pixels", [784, 30, 15])
@pytest.mark.parametrize("size", [0.1, 3.0, 40.0])
@pytest.mark.parametrize("lit", [0.1, 0.9, None])
@torch.no_grad()
def test_it_is_the_sum_over_pixels(pixels: int, size: float, lit: float | None) -> None:
    """Also where logits are in the hundreds, images are white, and grey (None)."""
    torch.manual_seed(0)
    layer = nn.Linear(40, pixels)
    layer.weight.mul_(size)
    x = torch.rand(6, pixels)
    x = x if lit is None else (x < lit).float()
    h = torch.randn(5, 6, 40).relu()
    found = LinearBernoulli(layer, x)(h.flatten(0, 1), h.shape[:-1])
    torch.testing.assert_close(found.double(), exact(layer, h, x), rtol=1e-5, atol=1e-4)


@torch.no_grad()
def test_products_below_the_range_of_floats_are_taken_one_by_one() -> None:
    """Every logit is 60: a product of four is e^-240."""
    layer = nn.Linear(1, 8)
    layer.weight.zero_()
    layer.bias.fill_(60.0)
    x = torch.zeros(1, 8)
    found = LinearBernoulli(layer, x)(torch.zeros(3, 1), torch.Size([3, 1]))
    torch.testing.assert_close(found, torch.full((3, 1), -8 * 60.0))


@pytest.mark.parametrize(
    "words",
    [(), ("network=conv",), ("model=ae", "network.tied=true"), ("network.spectral_norm=true",)],
)
@torch.no_grad()
def test_every_network_has_the_same_as_its_distribution(words: tuple[str, ...]) -> None:
    made = experiment(*words)
    model, x = made.model.eval(), made.splits.val.images[:7].float()
    z = torch.randn(4, 7, 3)
    found = model.likelihood.log_prob_of(x)(model.decoder_features(z), z.shape[:-1])
    torch.testing.assert_close(found, model.decode(z).log_prob(x), rtol=1e-5, atol=1e-5)


def test_only_a_linear_last_layer_is_taken_so() -> None:
    def made(projection: nn.Module) -> BernoulliLikelihood:
        return BernoulliLikelihood(event_shape=(4,), projection=lambda k: projection)

    x, linear, shaped = torch.zeros(2, 4), nn.Linear(3, 4), nn.Unflatten(1, (1, 4))
    assert isinstance(made(nn.Sequential(linear, shaped)).log_prob_of(x), LinearBernoulli)
    for other in (nn.Sequential(linear, nn.ReLU()), nn.Sequential(linear, nn.ReLU(), shaped)):
        assert not isinstance(made(other).log_prob_of(x), LinearBernoulli)
