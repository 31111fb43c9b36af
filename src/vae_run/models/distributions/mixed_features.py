"""Independent normal numbers and one-hot categories in one vector.

Letters: K samples, B batch, F features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.nn.functional import one_hot


class MixedFeatures(Distribution):
    """p(x) = prod_i N(x_i; mu_i, sigma_i^2) prod_b softmax(l_b)[x_b], over vectors of F features.

    i are the features that are numbers, b the blocks of features that are one-hot; with the
    notation of Nazabal et al. 2020, "Handling incomplete heterogeneous data using VAEs", section
    3.1. `log_prob` is in nats, a density of the numbers and a probability of the categories.
    """

    arg_constraints: ClassVar = {}

    def __init__(self, outputs: Tensor, sigma: Tensor, blocks: Sequence[tuple[int, int]]) -> None:
        """A distribution over [*K, B, F].

        Args:
            outputs: [*K, B, F], mu of the numbers and logits l of the blocks.
            sigma: standard deviations, [F] or []; those of features in blocks are not used.
            blocks: (start, stop) of each block, in rising order.
        """
        self.outputs, self.sigma, self.blocks = outputs, sigma, tuple(blocks)
        super().__init__(outputs.shape[:-1], outputs.shape[-1:], validate_args=False)

    def _joined(self, numbers: Tensor, blocks: Sequence[Tensor]) -> Tensor:
        """[*K, B, F]: `numbers` [*K, B, F] with its features in blocks replaced by `blocks`."""
        pieces, end = [], 0
        for (start, stop), block in zip(self.blocks, blocks, strict=True):
            pieces += [numbers[..., end:start], block]
            end = stop
        return torch.cat([*pieces, numbers[..., end:]], -1) if pieces else numbers

    def contributions(self, value: Tensor) -> Tensor:
        """-log p of every feature of `value` [*K, B, F], in nats, [*K, B, F]: their sum is -log p.

        What a category that does not apply contributes is 0.
        """
        value = value.expand(self.outputs.shape)
        distance = (value - self.outputs) / self.sigma
        numbers = 0.5 * distance.square() + self.sigma.log() + 0.5 * math.log(2 * math.pi)
        blocks = [
            -value[..., start:stop] * self.outputs[..., start:stop].log_softmax(-1)
            for start, stop in self.blocks
        ]
        return self._joined(numbers, blocks)

    def log_prob(self, value: Tensor) -> Tensor:
        """log p of `value` [*K, B, F] in nats, [*K, B]."""
        return -self.contributions(value).sum(-1)

    @property
    def mean(self) -> Tensor:
        """mu of numbers, and the probabilities of categories, [*K, B, F]."""
        outputs = self.outputs
        blocks = [outputs[..., start:stop].softmax(-1) for start, stop in self.blocks]
        return self._joined(outputs, blocks)

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Drawn vectors [*sample_shape, *K, B, F]; categories are one-hot."""
        outputs = self.outputs.expand(*sample_shape, *self.outputs.shape)
        numbers = outputs + self.sigma * torch.randn_like(outputs)
        blocks = []
        for start, stop in self.blocks:
            logits = outputs[..., start:stop]
            gumbel = -torch.empty_like(logits).exponential_().log()  # argmax: a draw of softmax
            blocks.append(one_hot((logits + gumbel).argmax(-1), stop - start).to(logits.dtype))
        return self._joined(numbers, blocks)
