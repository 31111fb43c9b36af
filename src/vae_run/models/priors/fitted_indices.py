"""Distributions of the indices of codes, fitted after the training of a quantiser.

Letters: N codes, L indices of a code: P positions of S stages each, K values, D latent dimensions.
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


STRENGTHS = tuple(4.0**power for power in range(-3, 9))
"""Pseudo-counts a and b of `log_frequencies`."""


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
    """Independent indices, each with about the frequencies of its values among the training codes.

    See `log_frequencies` for what keeps the probability of a value above 0.
    """

    description = "the frequencies of codes at each position"
    logits: Tensor

    def __init__(self, *, index_space: IndexSpace | None) -> None:
        super().__init__(index_space)
        self.register_buffer("logits", torch.zeros(self.space.length, self.space.codes))

    def fit(self, codes: Tensor) -> None:
        """Count the values of each index in `codes`, int64 [N, L]."""
        self.logits.copy_(log_frequencies(codes, self.space))
        self.fitted.fill_(True)

    def over(self) -> Distribution:
        each = Categorical(logits=self.logits, validate_args=False)
        return Independent(each, 1, validate_args=False)


def log_frequencies(indices: Tensor, space: IndexSpace) -> Tensor:
    """log p_l(k) of `indices` int64 [N, L], float32 [L, K] on the CPU.

    With n_lk the number of k at index l, and n_k that at all positions of its stage, M = N P,

        p_l(k) = (n_lk + a q(k)) / (N + a),   q(k) = (n_k + b / K) / (M + b):

    frequencies at a position, drawn to those of all positions, and these to equal ones. a and b are
    those of a grid under which each code, left out, is the most probable given the others.
    """
    columns = indices.cpu().unbind(1)
    counted = [torch.bincount(column, minlength=space.codes) for column in columns]
    counts = torch.stack(counted).double().reshape(-1, space.stages, space.codes)  # [P, S, K]
    scores = {(a, b): left_out(counts, a, b) for a in STRENGTHS for b in STRENGTHS}
    a, b = max(scores, key=lambda pair: scores[pair])
    return smoothed(counts, a, b).log().float().flatten(0, 1)


def smoothed(counts: Tensor, a: float, b: float) -> Tensor:
    """p_l(k) of `log_frequencies` for the counts n_lk [P, S, K]."""
    n, codes = float(counts[0, 0].sum()), counts.shape[-1]
    shared = (counts.sum(0) + b / codes) / (n * len(counts) + b)
    return (counts + a * shared) / (n + a)


def left_out(counts: Tensor, a: float, b: float) -> float:
    """Sum over all indices of log p of each by the counts [P, S, K] of the others."""
    n, codes = float(counts[0, 0].sum()), counts.shape[-1]
    seen = counts > 0
    own, pooled = counts[seen], counts.sum(0).expand_as(counts)[seen]
    shared = (pooled - 1 + b / codes) / (n * len(counts) - 1 + b)
    return float((own * ((own - 1 + a * shared) / (n - 1 + a)).log()).sum())
