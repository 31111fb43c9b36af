"""Initial weights: signals and gradients keep their size; models start at their data."""

from __future__ import annotations

import math

import pytest
import torch
from parts import composed, experiment, options
from torch import nn

from vae_run.config.check import check
from vae_run.models.build import build_model
from vae_run.models.networks import MLP, Conv, ResNet
from vae_run.models.networks.activations import Cos
from vae_run.models.networks.conv import Residual, group_norm
from vae_run.models.networks.initialisation import fans, gain, initialise


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (nn.ReLU, math.sqrt(2)),  # E[relu(u)^2] = 1/2
        (nn.LeakyReLU, math.sqrt(2 / 1.0001)),
        (nn.Identity, 1.0),
        (Cos, math.sqrt(2 / (1 + math.exp(-2)))),
        (nn.GELU, 1.5335),  # E[f^2] = 1/3 + 1/(2 pi sqrt 3) = 0.42522
        (nn.Tanh, 1.0),  # 1 / f'(0)
        (nn.Sigmoid, 4.0),
    ],
)
def test_the_gain_of_an_activation(kind: type[nn.Module], expected: float) -> None:
    assert gain(kind) == pytest.approx(expected, rel=1e-4)


def test_the_fans_of_a_transposed_convolution_count_the_taps_that_reach_an_output() -> None:
    up = nn.ConvTranspose2d(8, 4, 3, stride=2, padding=1, output_padding=1, bias=False)
    nn.init.ones_(up.weight)
    inside = up(torch.ones(1, 8, 9, 9))[0, 0, 4:-4, 4:-4]
    assert float(inside.detach().mean()) == pytest.approx(fans(up)[0]) == pytest.approx(8 * 9 / 4)
    down = nn.Conv2d(8, 4, 3, stride=2, padding=1)
    assert fans(down) == (8 * 9, 4 * 9 / 4)
    assert fans(nn.Linear(5, 7)) == (5, 7)


@pytest.mark.parametrize(
    ("kind", "both_ways", "variance"),
    [(nn.ReLU, False, 2 / 300), (nn.Tanh, False, 2 / 500), (nn.ReLU, True, 2 * 2 / 500)],
)
def test_weights_have_the_variance_of_the_paper(
    kind: type[nn.Module], both_ways: bool, variance: float
) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(300, 200)
    initialise(layer, kind, both_ways=both_ways)
    assert float(layer.weight.var()) == pytest.approx(variance, rel=0.02)
    assert not layer.bias.any()


DEEP = [
    MLP(widths=[200] * 4, init="auto"),
    Conv(widths=[16, 32, 64, 64]),
    Conv(widths=[16, 32, 64, 64], activation="gelu"),
    Conv(widths=[16, 32, 64, 64], activation="tanh"),
    ResNet(widths=[16, 32, 64, 64]),
]


@pytest.mark.parametrize("network", DEEP, ids=lambda n: f"{type(n).__name__}-{n.activation}")
def test_signals_and_gradients_keep_their_size_through_four_levels(network: Conv | MLP) -> None:
    """PyTorch's own divide an encoder's by 14 and more, a decoder's gradients by 200 and more.

    Transposed convolutions keep the size of a gradient's entries, so that signals shrink in them.
    """
    torch.manual_seed(0)
    shape = (3, 32, 32)
    for half, x, least in (
        (network.encoder(shape), torch.randn(8, *shape), 0.3),
        (network.decoder(16, shape), torch.randn(8, 16), 0.03),
    ):
        x.requires_grad_()
        out = half(x)
        size = float(out.square().mean().sqrt())
        assert least < size < 3
        sent = torch.randn_like(out)
        (received,) = torch.autograd.grad(out, x, sent)
        ratio = float(received.square().sum().sqrt() / sent.square().sum().sqrt())
        assert least < ratio < 4


def test_init_torch_leaves_every_layer_as_pytorch_made_it() -> None:
    def weights(init: str, option: str) -> list[torch.Tensor]:
        torch.manual_seed(0)
        settings = check(composed(f"network={option}", f"network.init={init}", "latent_dim=3"))
        return list(build_model(settings, (1, 8, 8)).parameters())

    torch.manual_seed(0)
    first = nn.Linear(64, 512).weight
    assert torch.equal(weights("torch", "mlp")[0], first)
    assert not torch.equal(weights("auto", "mlp")[0], first)
    for auto, own in zip(weights("auto", "linear"), weights("torch", "linear"), strict=True):
        assert torch.equal(auto, own), "linear maps have no activation to choose by"


def test_a_residual_block_starts_near_the_identity() -> None:
    torch.manual_seed(0)
    block, x = Residual(ResNet(), 32, (8, 8)), torch.randn(4, 32, 8, 8)
    change = block(x) - x
    assert 0 < float(change.std()) < 0.2 * float(x.std())


@pytest.mark.parametrize("activation", ["relu", "cos"])
def test_last_layers_are_drawn_like_hidden_ones_with_biases_of_zero(activation: str) -> None:
    torch.manual_seed(0)
    words = ("network=conv", f"network.activation={activation}", "latent_dim=64")
    model = build_model(check(composed(*words)), (3, 32, 32))
    size = gain(Cos if activation == "cos" else nn.ReLU)
    for layer, fan in (
        (model.posterior.projection, 128 * 4 * 4),
        (model.likelihood.projection[0], 32 * 9),
    ):
        assert float(layer.weight.detach().std()) == pytest.approx(size / fan**0.5, rel=0.05)
        assert not layer.bias.any()


def test_a_transposed_convolution_has_the_fan_of_its_gradients() -> None:
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(128, 64, 3, stride=2)
    initialise(layer, nn.ReLU)
    assert float(layer.weight.detach().var()) == pytest.approx(2 / (64 * 9), rel=0.02)


@pytest.mark.parametrize("option", ["normal", "full_normal"])
def test_a_posterior_starts_with_means_of_size_one_and_scales_of_one(option: str) -> None:
    torch.manual_seed(0)
    settings = check(composed(f"posterior={option}"))
    head = settings.build("posterior", features=400, latent_dim=20)
    head.initialise(MLP(init="auto").head, 20)
    q = head(torch.randn(500, 400))
    assert float(q.mean.std()) == pytest.approx(1.0, abs=0.05)
    assert float(q.stddev.log().abs().mean()) < 0.1


CUT_OFF = ("categorical", "discretized_logistic", "logistic_mixture")
"""Distributions over grey levels, whose means move where the tails beyond 0 and 1 are cut off."""


@pytest.mark.parametrize("option", options("likelihood"))
@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_every_likelihood_starts_at_the_mean_image(option: str, network: str) -> None:
    """Of the conv network, whose pixels share a bias, at the mean of each channel."""
    torch.manual_seed(0)
    words = (f"likelihood={option}", f"network={network}", "network.init=auto")
    model = build_model(check(composed(*words)), (3, 4, 4), 16).eval()
    mean = torch.rand(3, 4, 4) * 0.4 + 0.3
    model.likelihood.start_at(mean, 0.15)
    expected = mean if network == "mlp" else mean.mean((1, 2), keepdim=True).expand(3, 4, 4)
    z = torch.randn(50, 16)
    if network == "mlp":  # whose last layer is small
        assert float((model.decode(z).mean - expected).detach().square().mean().sqrt()) < 0.2
    with torch.no_grad():  # without what little depends on z
        model.likelihood.projection[0].weight.zero_()
    found = model.decode(z).mean[0]
    assert float((found - expected).abs().max()) < (0.04 if option in CUT_OFF else 1e-3)


@pytest.mark.parametrize(
    "option", ["gaussian", "gaussian_pixel", "laplace", "discretized_logistic", "categorical"]
)
def test_scales_start_at_the_spread_of_the_data(option: str) -> None:
    torch.manual_seed(0)
    words = (f"likelihood={option}", "network.init=auto")
    model = build_model(check(composed(*words)), (1, 4, 4), 256)
    model.likelihood.start_at(torch.full((1, 4, 4), 0.5), 0.08)
    model.likelihood.start_scale(0.08)
    drawn = model.decode(torch.zeros(1, 16)).sample((2000,))
    assert float(drawn.std(0).mean()) == pytest.approx(0.08, rel=0.1)


def test_an_experiment_starts_at_its_data() -> None:
    made = experiment("likelihood=gaussian", "network.init=auto", n=400)
    x = made.splits.train.pixels(slice(None))
    spread = float((x - x.mean(0)).square().mean().sqrt())
    assert float(made.model.likelihood.sigma) == pytest.approx(spread, rel=1e-4)
    bias = made.model.likelihood.projection[0].bias
    torch.testing.assert_close(bias, x.mean(0).flatten())


@pytest.mark.parametrize(("model", "at_mean"), [("ae", True), ("vae", False)])
def test_a_convolutional_vae_does_not_start_at_the_mean_image(model: str, at_mean: bool) -> None:
    """It would ignore its code for long."""
    made = experiment(f"model={model}", "network=conv", "likelihood=gaussian", n=400)
    bias = made.model.likelihood.projection[0].bias.detach()
    mean = made.splits.train.pixels(slice(None)).mean()
    assert float(bias) == pytest.approx(float(mean) if at_mean else 0.0, abs=1e-6)


@pytest.mark.parametrize("option", ["gaussian", "laplace"])
def test_a_learned_scale_starts_at_the_spread_of_the_data(option: str) -> None:
    made = experiment(f"likelihood={option}", n=400)
    x = made.splits.train.pixels(slice(None))
    spread = float((x - x.mean(0)).square().mean().sqrt())
    drawn = made.model.likelihood(torch.zeros(1, 1, 1, 4, 5)).sample((4000,))
    assert float(drawn.detach().std()) == pytest.approx(spread, rel=0.03)


def test_a_learned_sigma_moves_as_fast_as_its_speed_says() -> None:
    steps = {}
    for speed in (1, 10):
        made = experiment("likelihood=gaussian", f"likelihood.speed={speed}")
        likelihood = made.model.likelihood
        raw = float(likelihood.rho) * speed
        optimizer = made.optimizer(made.model)
        (-made.model.decode(torch.zeros(1, 3)).log_prob(torch.zeros(1, 4, 5))).sum().backward()
        optimizer.step()
        steps[speed] = float(likelihood.rho) * speed - raw
    assert steps[10] == pytest.approx(10 * steps[1], rel=1e-2)
    assert abs(steps[1]) == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize(
    ("channels", "size", "groups"),
    [(32, (16, 16), 32), (128, (1, 1), 8), (128, (2, 2), 32), (6, (2, 2), 1), (5, (1, 1), 1)],
)
def test_groups_have_at_least_16_values(channels: int, size: tuple[int, int], groups: int) -> None:
    assert group_norm(channels, size).num_groups == groups


@pytest.mark.parametrize("option", ["conv", "resnet"])
def test_group_norm_comes_after_each_hidden_convolution(option: str) -> None:
    words = (f"network={option}", "network.norm=group", "network.widths=[8,16]")
    network = check(composed(*words)).build("network")
    halves = network.encoder((3, 9, 8)), network.decoder(4, (3, 9, 8))
    for half in halves:
        kinds = [type(m).__name__ for m in half.modules()]
        convolutions = sum("Conv2d" in k or "Transpose" in k for k in kinds)
        assert kinds.count("GroupNorm") == convolutions
    assert halves[1](torch.randn(5, 4)).shape == (5, 8, 9, 8)
