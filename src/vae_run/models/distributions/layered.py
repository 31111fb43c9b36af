"""Codes of several layers z = [z_1, ..., z_L], drawn one layer after the other.

z_1 is the layer next to the image; the entries of all layers stand in one flat vector. Letters:
K samples, B batch, L layers, D latent dimensions of all layers together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, Normal, constraints, kl_divergence

Given = Callable[[Tensor], Normal]
"""A code of one layer, [*, D_i], to the factorised normal distribution of the next one."""


def layer_sizes(layers: Sequence[int] | None, latent_dim: int) -> tuple[int, ...]:
    """The sizes of the layers; None stands for two, with about 2/3 and 1/3 of `latent_dim`."""
    if layers is not None:
        return tuple(layers)
    upper = max(1, round(latent_dim / 3))
    return latent_dim - upper, upper


def split_layers(z: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """The layers of codes z [*, D], each [*, D_i]."""
    return [*torch.split(z, list(sizes), dim=-1)]


class LayeredNormal(Distribution):
    """A Markov chain over layers, each normal and factorised given the layer before it.

    Upward it is q(z_1) q(z_2|z_1) ... q(z_L|z_{L-1}), downward p(z_L) p(z_{L-1}|z_L) ...
    p(z_1|z_2).
    `mean` is the chain's mean path, in which each layer is the mean given the mean of the layer
    before; the expectation of the later layers has no closed form.
    """

    arg_constraints: ClassVar = {}
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self, sizes: Sequence[int], first: Normal, further: Sequence[Given], *, upward: bool
    ) -> None:
        """`first` is the distribution of the first layer to be drawn, `further` are the others."""
        self.sizes, self.first, self.further, self.upward = sizes, first, further, upward
        super().__init__(first.loc.shape[:-1], torch.Size((sum(sizes),)), validate_args=False)

    def _in_order(self, z: Tensor) -> list[Tensor]:
        """The layers of z [*, D], in the order in which they are drawn."""
        layers = split_layers(z, self.sizes)
        return layers if self.upward else layers[::-1]

    def conditionals(self, z: Tensor) -> list[Normal]:
        """The distribution of each layer given the one before it in z [*, D], in drawing order.

        In float32 even under autocast, so that samples and densities agree.
        """
        with torch.autocast(z.device.type, enabled=False):
            before = self._in_order(z)[:-1]
            pairs = zip(self.further, before, strict=True)
            return [self.first, *(given(code) for given, code in pairs)]

    def push(self, noise: Tensor) -> Tensor:
        """Samples [*K, B, D] of standard normal `noise` [*K, B, D], layer after layer."""
        own = self._in_order(noise)
        with torch.autocast(noise.device.type, enabled=False):
            drawn = [self.first.loc + self.first.scale * own[0]]
            for given, layer in zip(self.further, own[1:], strict=True):
                q = given(drawn[-1])
                drawn.append(q.loc + q.scale * layer)
        return torch.cat(drawn if self.upward else drawn[::-1], -1)

    @property
    def mean(self) -> Tensor:
        return self.push(self.first.loc.new_zeros(self.batch_shape + self.event_shape))

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        shape = torch.Size(sample_shape) + self.batch_shape + self.event_shape
        return self.push(torch.randn(shape, device=self.first.loc.device))

    def log_prob(self, value: Tensor) -> Tensor:
        """The sum of the log-densities of all layers, [*]."""
        pairs = zip(self.conditionals(value), self._in_order(value), strict=True)
        return _summed(density(q, layer) for q, layer in pairs)

    def kl(self, p: LayeredNormal, z: Tensor) -> Tensor:
        """sum_i KL(q(z_i|.) || p(z_i|.)) given samples z [*K, B, D] of this distribution, [*K, B].

        Unbiased, and of less variance than log q - log p, since each term is in closed form given
        the layer before it. Both have to be drawn in the same order.
        """
        pairs = zip(self.conditionals(z), p.conditionals(z), strict=True)
        return _summed(kl_divergence(a, b) for a, b in pairs).expand(z.shape[:-1])


def density(q: Any, z: Tensor) -> Tensor:
    """log q(z) of each entry; torch has no annotations for it."""
    found: Tensor = q.log_prob(z)
    return found


def _summed(each: Iterable[Tensor]) -> Tensor:
    """The sum [*] over layers of tensors [*, D_i]; their batches are broadcast."""
    first, *others = [entries.sum(-1) for entries in each]
    for other in others:
        first = first + other
    return first
