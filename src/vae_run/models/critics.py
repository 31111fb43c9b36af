"""Critics: networks that tell two sets of codes, or of images, apart.

A critic returns logits, positive for what it takes for the first set. None has layers whose output
depends on the other items of a batch.

Letters: N items, D latent dimensions, C channels, H and W height and width.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import leaky_relu, linear

from vae_run.models.networks.conv import group_norm
from vae_run.models.networks.initialisation import Layer, initialise, initialise_head

SLOPE = 0.2
"""Of leaky ReLU below 0, which critics have in place of ReLU (Radford et al. 2016)."""


class Leaky(nn.LeakyReLU):
    """Leaky ReLU of that slope."""

    def __init__(self) -> None:
        super().__init__(SLOPE)


def _hidden(layer: Layer) -> Layer:
    initialise(layer, Leaky)
    return layer


def _last(layer: Layer) -> Layer:
    """`layer` with small weights: a critic begins near the logit 0, without an opinion."""
    initialise_head(layer, 0)
    return layer


class CodeCritic(nn.Module):
    """A logit [N] of each code [N, D]: hidden layers of `widths` units.

    Kim & Mnih 2018 have six of 1000 units.
    """

    def __init__(self, latent_dim: int, widths: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise((latent_dim, *widths)):
            layers += [_hidden(nn.Linear(before, after)), Leaky()]
        last = _last(nn.Linear((latent_dim, *widths)[-1], 1))
        self.layers = nn.Sequential(*layers, last, nn.Flatten(0))

    def forward(self, codes: Tensor) -> Tensor:
        logits: Tensor = self.layers(codes)
        return logits.float()

    def with_slopes(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """The logits [N] of codes [N, D], and their slopes by the codes [N, D], detached.

        The logits have gradients at the parameters alone.
        """
        logits, slopes, *_ = _WithSlopes.apply(codes.detach(), *self.parameters())
        return logits.float(), slopes.float()


class _WithSlopes(Function):
    """The logits of linear layers with leaky ReLU between them, and their slopes by the input.

    An item's logit depends on no other item. So its slopes by what each layer gives, times what the
    loss has as slope by the logit, are the gradients by what the layer gives: one pass back serves
    for the slopes by the codes and for the gradients of the parameters, where two losses would need
    one each.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(codes: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
        """Logits [N], slopes [N, D]; of each layer its input [N, F] and slopes by its output."""
        weights, biases = parameters[::2], parameters[1::2]
        inputs = [codes]
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            inputs.append(leaky_relu(linear(inputs[-1], weight, bias), SLOPE))
        logits = linear(inputs[-1], weights[-1], biases[-1])
        slopes, by_output = weights[-1], [torch.ones_like(logits)]
        for weight, x in zip(reversed(weights[:-1]), reversed(inputs[1:]), strict=True):
            by_output.insert(0, torch.where(x > 0, slopes, SLOPE * slopes))
            slopes = by_output[0] @ weight
        return logits[:, 0], slopes.expand_as(codes).clone(), *inputs[1:], *by_output

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(inputs[0], *output[2:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_logits: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        count = len(saved) // 2
        found = list[Tensor | None]([None])
        for x, slopes in zip(saved[:count], saved[count:], strict=True):
            of_output = of_logits[:, None] * slopes
            found += [of_output.T @ x.to(of_output.dtype), of_output.sum(0)]
        return tuple(found)


class PatchCritic(nn.Module):
    """A logit of each patch of images [N, C, H, W] (PatchGAN, Isola et al. 2017): [N, patches].

    Each of `widths` is a 3x3 convolution of stride 2 to that many channels, which are normalised in
    groups from the second one on; a 3x3 convolution to one channel follows. Images of any size have
    at least one patch. With L levels a patch is seen by 2^(L + 2) - 1 pixels in each direction.
    """

    def __init__(self, event_shape: tuple[int, ...], widths: Sequence[int]) -> None:
        super().__init__()
        channels, height, width = event_shape
        layers: list[nn.Module] = []
        for level, (before, after) in enumerate(pairwise((channels, *widths))):
            height, width = (height + 1) // 2, (width + 1) // 2
            layers.append(_hidden(nn.Conv2d(before, after, 3, stride=2, padding=1)))
            layers += [group_norm(after, (height, width))] if level else []
            layers.append(Leaky())
        last = _last(nn.Conv2d((channels, *widths)[-1], 1, 3, padding=1))
        self.layers = nn.Sequential(*layers, last, nn.Flatten(1))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layers(images)
        return logits.float()
