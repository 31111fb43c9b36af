"""Distributions of the indices of codes, fitted after the training of a quantiser.

Letters: N codes, L indices of a code, K values of each, D latent dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent

from vae_run.errors import ConfigError
from vae_run.models.distributions.indices import Codewords, IndexSpace
from vae_run.models.priors.fitted import Fitted

if TYPE_CHECKING:
    from vae_run.config.schema import Settings


class FittedIndices(Fitted):
    """A distribution over the indices of codes; that over codes follows by `IndexSpace.lookup`."""

    over_indices = True

    def __init__(self, index_space: IndexSpace | None) -> None:
        super().__init__()
        if index_space is None:
            raise ConfigError(
                f"{type(self).__name__} is over indices, and codes of this model have none. Use "
                "posterior=vector_quantized, residual_vq or fsq, or a density such as "
                "prior=fitted_gaussian."
            )
        self.space = index_space

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        posterior = settings.classes["posterior"]
        # As a sampler it stands beside parts that are not those of the run.
        if issubclass(settings.classes["prior"], cls) and not posterior.discrete:
            yield (
                f"prior: {cls.__name__} is over indices of codes, and codes of "
                f"{posterior.__name__} have none. Use posterior=vector_quantized, residual_vq or "
                "fsq, or prior=fitted_gaussian."
            )

    def density(self) -> Distribution:
        return Codewords(self.over(), self.space)

    def over(self) -> Distribution:
        """The fitted distribution over indices, int64 [L]."""
        raise NotImplementedError


class FittedCodes(FittedIndices):
    """Independent indices, each with the frequencies of its values among the training codes.

    p_l(k) = (n_lk + 1/K) / (N + 1), so that every code has a probability (Perks 1947).
    """

    description = "the frequencies of codes at each position"
    logits: Tensor

    def __init__(self, *, index_space: IndexSpace | None) -> None:
        super().__init__(index_space)
        self.register_buffer("logits", torch.zeros(self.space.length, self.space.codes))

    def fit(self, codes: Tensor) -> None:
        """Count the values of each index in `codes`, int64 [N, L]."""
        self.logits.copy_(log_frequencies(codes, self.space.codes))
        self.fitted.fill_(True)

    def over(self) -> Distribution:
        each = Categorical(logits=self.logits, validate_args=False)
        return Independent(each, 1, validate_args=False)


def log_frequencies(indices: Tensor, codes: int) -> Tensor:
    """log p_l(k) of `indices` int64 [N, L], as of `FittedCodes`, float32 [L, K] on the CPU."""
    columns = indices.cpu().unbind(1)
    counts = torch.stack([torch.bincount(column, minlength=codes) for column in columns])
    frequencies = (counts.double() + 1 / codes) / (len(indices) + 1)
    return frequencies.log().float()
