"""Networks: any image size comes back, and every parameter learns."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from parts import composed, options
from torch import nn

from vae_run.config.check import check
from vae_run.errors import ConfigError
from vae_run.models.networks import MLP, Conv, flatten_samples, parameter_count
from vae_run.models.networks.activations import activation

B, D, K = 3, 4, 2
IMAGES = [(1, 8, 8), (3, 7, 9), (1, 28, 28), (1, 1, 1), (3, 33, 17), (2, 1, 6)]
OTHERS = [(13,), (3, 20), (1, 7)]
"""Vectors, and windows of curves."""


@pytest.mark.parametrize("shape", [*IMAGES, *OTHERS], ids=str)
@pytest.mark.parametrize("option", options("network"))
def test_every_network_restores_the_size_and_trains_every_parameter(option, shape):
    words = (f"network={option}", "network.widths=[5,6,7]", "network.activation=tanh")
    network = check(composed(*words)).build("network")
    if len(shape) < 3 and isinstance(network, Conv):
        with pytest.raises(ConfigError, match="network=mlp"):
            network.encoder(shape)
        return
    torch.manual_seed(0)
    encoder, decoder = network.encoder(shape), network.decoder(D, shape)
    features = encoder(torch.rand(B, *shape))
    assert features.shape == (B, encoder.features)
    projection = decoder.projection(K)
    out = projection(decoder(torch.randn(B, D)))
    assert out.shape == (B, K, *shape)
    (features.sum() + out.square().sum()).backward()
    for half in (encoder, decoder, projection):
        for name, parameter in half.named_parameters():
            assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("option", options("network"))
def test_every_network_takes_each_image_by_itself(option):
    network = check(composed(f"network={option}")).build("network")
    encoder, decoder = network.encoder((1, 7, 9)), network.decoder(D, (1, 7, 9))
    x, z, projection = torch.rand(B, 1, 7, 9), torch.randn(B, D), decoder.projection(1)
    for b in range(B):
        torch.testing.assert_close(encoder(x)[b], encoder(x[b : b + 1])[0])
        torch.testing.assert_close(projection(decoder(z))[b], projection(decoder(z[b : b + 1]))[0])


def linear_sizes(module):
    return [(m.in_features, m.out_features) for m in module.modules() if isinstance(m, nn.Linear)]


def test_mlp_mirrors_its_widths_unless_the_decoder_has_its_own():
    for given, upward in ((None, [50, 100]), ([7], [7]), ([], [])):
        network = MLP(widths=[100, 50], decoder_widths=given)
        assert linear_sizes(network.encoder((1, 4, 5))) == [(20, 100), (100, 50)]
        sizes = [D, *upward, 20]
        decoder = network.decoder(D, (1, 4, 5))
        both = linear_sizes(decoder) + linear_sizes(decoder.projection(1))
        assert both == list(pairwise(sizes))


def test_conv_mirrors_its_widths_unless_the_decoder_has_its_own():
    def channels(module):
        found = [m for m in module.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
        return [(m.in_channels, m.out_channels) for m in found]

    network = Conv(widths=[5, 6])
    assert channels(network.encoder((3, 8, 8))) == [(3, 5), (5, 6)]
    assert channels(network.decoder(D, (3, 8, 8))) == [(6, 5), (5, 5)]
    own = Conv(widths=[5, 6], decoder_widths=[9, 8, 7]).decoder(D, (3, 8, 8))
    assert channels(own) == [(9, 8), (8, 7), (7, 7)]
    assert channels(own.projection(2)) == [(7, 6)]
    assert own.projection(2)(own(torch.zeros(1, D))).shape == (1, 2, 3, 8, 8)


def test_mlp_without_hidden_layers_is_linear():
    network = MLP(widths=[])
    encoder, decoder = network.encoder((2, 3)), network.decoder(D, (2, 3))
    x, z = torch.rand(B, 2, 3), torch.randn(B, D)
    assert torch.equal(encoder(x), x.flatten(1))
    assert torch.equal(decoder(z), z)


def test_conv_without_a_level_is_refused():
    with pytest.raises(ConfigError, match=r"network\.widths"):
        Conv(widths=[])
    with pytest.raises(ConfigError, match=r"network\.widths"):
        Conv(widths=[8], decoder_widths=[])


def test_an_activation_is_found_in_any_spelling():
    assert activation("relu") is nn.ReLU
    assert activation("LeakyReLU") is activation("leaky_relu") is nn.LeakyReLU
    with pytest.raises(ConfigError, match="did you mean 'relu'"):
        activation("rellu")


def test_every_activation_keeps_the_shape_and_draws_no_random_numbers():
    with pytest.raises(ConfigError) as caught:
        activation("?")
    known = str(caught.value).split("Known: ")[1]
    x = torch.linspace(-4, 4, 14).reshape(2, 7)
    for name in known.rstrip(".").split(", "):
        layer = activation(name)().train()
        assert layer(x).shape == x.shape, name
        assert torch.equal(layer(x), layer(x)), name


def test_parameters_are_counted_where_they_train():
    layer = nn.Linear(3, 4)
    layer.bias.requires_grad_(False)
    assert parameter_count(layer) == 12


def test_samples_are_flattened_in_order():
    z = torch.arange(2.0 * 3 * 4 * D).reshape(2, 3, 4, D)
    assert flatten_samples(z).shape == (24, D)
    assert torch.equal(flatten_samples(z)[1 * 12 + 2 * 4 + 3], z[1, 2, 3])
