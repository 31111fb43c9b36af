"""Initial weights of layers, chosen by the activation beside them.

A layer keeps the size of signals and of gradients if the variance of its weights is

    gain^2 / fan_in          (He et al. 2015), gain^2 = 1 / E[f(u)^2] for u ~ N(0, 1), or
    gain^2 * 2 / (fan_in + fan_out)   (Glorot & Bengio 2010), gain = 1 / f'(0),

the first for activations f that are unbounded, such as relu with gain^2 = 2, the second for bounded
ones with a linear range, such as tanh with a gain of 1. Biases are 0.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from vae_run.models.networks.activations import Cos

SLOPES: dict[type[nn.Module], float] = {
    nn.Tanh: 1.0,
    nn.Softsign: 1.0,
    nn.Hardtanh: 1.0,
    nn.Sigmoid: 0.25,
    nn.Hardsigmoid: 1 / 6,
}
"""Bounded activations, which have Glorot's initialisation, and their slopes at 0."""
SMALL = 0.1
"""Size of a layer that should have little effect at first, relative to one that keeps the size."""

Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.ConvTranspose1d | nn.ConvTranspose2d


def gain(activation: type[nn.Module]) -> float:
    """Factor by which weights are larger because of the activation, for example sqrt(2) for relu.

    E[f(u)^2] is integrated numerically, to about six digits, so that any activation has its gain.
    """
    if activation in SLOPES:
        return 1 / SLOPES[activation]
    with torch.no_grad(), torch.device("cpu"):  # also where a model is outlined on "meta"
        u = torch.linspace(-10, 10, 20_001, dtype=torch.double)
        density = torch.exp(-0.5 * u.square()) / math.sqrt(2 * math.pi)
        size = torch.trapezoid(activation().double()(u).square() * density, u)
    return float(size.rsqrt())


def fans(layer: Layer) -> tuple[float, float]:
    """Mean numbers of inputs of an output and of outputs of an input, borders not counted.

    A transposed convolution of stride s reaches an output by one of s positions of its kernel.
    """
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    taps, stride = math.prod(layer.kernel_size), math.prod(layer.stride)
    inward, outward = layer.in_channels * taps, layer.out_channels * taps
    if isinstance(layer, (nn.ConvTranspose1d, nn.ConvTranspose2d)):
        return inward / stride, outward
    return inward, outward / stride


@torch.no_grad()
def initialise(
    layer: Layer, activation: type[nn.Module], *, size: float = 1.0, both_ways: bool = False
) -> None:
    """Draw the weights of a layer whose inputs or outputs pass through `activation`.

    Of a transposed convolution, for an unbounded activation, the outputs of an input count, so
    that gradients keep their size: the other fan is smaller, and VAEs of images learn more slowly.

    Args:
        layer: the layer.
        activation: decides the distribution.
        size: a factor.
        both_ways: whether the transposed weight is a layer too, so that the mean of both fans
            counts whatever the activation is.
    """
    inward, outward = fans(layer)
    fan = outward if isinstance(layer, (nn.ConvTranspose1d, nn.ConvTranspose2d)) else inward
    if both_ways or activation in SLOPES:
        fan = (inward + outward) / 2
    bound = size * gain(activation) * math.sqrt(3 / fan)  # uniform on [-bound, bound]
    layer.weight.uniform_(-bound, bound)
    if layer.bias is None:
        return
    if activation is Cos:  # even, so that without phases x and -x would have the same features
        layer.bias.uniform_(-math.pi, math.pi)
    else:
        layer.bias.zero_()


@torch.no_grad()
def initialise_head(layer: Layer, large: int) -> None:
    """Draw small weights of a last layer, which has no activation.

    The first `large` outputs have about the root mean square of the inputs, the others `SMALL`
    times that. Biases are 0.
    """
    bound = math.sqrt(3 / fans(layer)[0])
    layer.weight.uniform_(-bound, bound)
    layer.weight[large:] *= SMALL
    if layer.bias is not None:
        layer.bias.zero_()
