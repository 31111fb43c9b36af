"""Critics: networks that tell two sets of codes, or of images, apart.

A critic returns logits, positive for what it takes for the first set. None has layers whose output
depends on the other items of a batch.

Letters: N items, D latent dimensions, C channels, H and W height and width.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from vae_run.models.networks.conv import group_norm
from vae_run.models.networks.initialisation import Layer, initialise, initialise_head


class Leaky(nn.LeakyReLU):
    """Leaky ReLU of slope 0.2, which critics have in place of ReLU (Radford et al. 2016)."""

    slope = 0.2

    def __init__(self) -> None:
        super().__init__(self.slope)

    @classmethod
    def pull(cls, slopes: Tensor, output: Tensor) -> Tensor:
        """Slopes by the input, from those by the output."""
        return torch.where(output > 0, slopes, cls.slope * slopes)


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

    def with_slopes(self, codes: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """The logits [N] of codes [N, D]; the slopes of the first `count` by their codes.

        The slopes [count, D] are detached. An item's logit depends on no other item, so the pass
        that gives the logits serves for them too.
        """
        *hidden, last, _ = self.layers
        assert isinstance(last, nn.Linear)
        outputs, x = list[Tensor](), codes
        for layer in hidden:
            x = layer(x)
            outputs.append(x.detach()[:count])
        slopes = last.weight.detach()
        for layer, output in zip(reversed(hidden), reversed(outputs), strict=True):
            if isinstance(layer, nn.Linear):
                slopes = slopes @ layer.weight.detach()
            else:
                slopes = Leaky.pull(slopes, output)
        return last(x).flatten().float(), slopes.expand(count, -1).float()


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
