"""The base class of posteriors whose codes are indices of codewords.

Letters: B batch, D latent dimensions, P positions of a code, C numbers of each, S stages.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor
from torch.distributions import Distribution

from vae_run.models.distributions.indices import IndexSpace, Quantized
from vae_run.models.posteriors.base import Posterior

if TYPE_CHECKING:
    from vae_run.config.schema import Settings


@dataclass(frozen=True)
class Positions:
    """How a flat code [*, D] is divided into vectors, each of which is quantised.

    A code of maps [C, h, w] has a vector of C numbers at each of P = h w places. Any other is cut
    into P = D / C vectors of `size` = C numbers next to each other.
    """

    latent_shape: tuple[int, ...]
    size: int

    @property
    def count(self) -> int:
        """P."""
        if len(self.latent_shape) > 1:
            return self.latent_shape[1] * self.latent_shape[2]
        return self.latent_shape[0] // self.size

    def split(self, z: Tensor) -> Tensor:
        """[*, D] -> [*, P, C]."""
        if len(self.latent_shape) > 1:
            return z.reshape(*z.shape[:-1], self.size, self.count).transpose(-1, -2)
        return z.reshape(*z.shape[:-1], self.count, self.size)

    def join(self, vectors: Tensor) -> Tensor:
        """[*, P, C] -> [*, D]."""
        if len(self.latent_shape) > 1:
            vectors = vectors.transpose(-1, -2)
        return vectors.flatten(-2)


class QuantizedPosterior(Posterior):
    """A deterministic code whose vectors are codewords, so that L = P S indices name it.

    The derivative of a code by the encoder's output is the identity (straight-through, Bengio et
    al. 2013), because that of the quantisation is 0 almost everywhere.
    """

    stochastic = False
    discrete = True
    metrics: ClassVar[tuple[str, ...]] = ("code_usage",)
    positions: Positions
    stages: int = 1
    """S, codewords whose sum is the vector at a position."""

    @property
    @abstractmethod
    def codes(self) -> int:
        """K, codewords of a stage."""

    @abstractmethod
    def lookup(self, indices: Tensor) -> Tensor:
        """The codes [*, D] that indices [*, L] name."""

    def sample(self, q: Distribution, noise: Tensor) -> Tensor:
        return q.mean.expand(noise.shape)

    def indices(self, q: Distribution) -> Tensor:
        """The indices of a code, int64 [B, P], or [B, P, S] where there are several stages."""
        assert isinstance(q, Quantized)
        return q.indices if self.stages > 1 else q.indices[..., 0]

    def index_space(self) -> IndexSpace:
        length = self.positions.count * self.stages
        dimensions = self.positions.count * self.positions.size
        return IndexSpace(length, self.stages, self.codes, dimensions, self.lookup)


def unless_divisible(settings: Settings, size: int, key: str, value: object) -> Iterator[str]:
    """A message if codes cannot be divided into vectors of `size`, which `key`=`value` says."""
    shape, latent_dim = settings.fixed.latent_shape, settings.fixed.latent_dim
    if shape is not None and shape[0] != size:
        yield (
            f"posterior.{key}: found {value}, for vectors of {size} numbers, but latent_shape="
            f"{shape} has {shape[0]} numbers at each place. Make the two equal."
        )
    elif shape is None and latent_dim % size:
        yield (
            f"latent_dim: found {latent_dim}, but posterior.{key}={value} cuts a code into vectors "
            f"of {size} numbers. Use a multiple of {size}."
        )


def straight_through(encoded: Tensor, quantized: Tensor) -> Tensor:
    """The value of `quantized`, exactly, with the derivative 1 by `encoded`."""
    return quantized.detach() + (encoded - encoded.detach())
