"""How much of its codebook a quantiser uses, and how many bits its codes take.

Letters: N images, L indices of a code: P positions of S stages each, K codes of a stage.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vae_run.evaluation.base import metric
from vae_run.models.distributions.indices import Codewords, IndexSpace, Quantized

if TYPE_CHECKING:
    from vae_run.config.schema import Settings
    from vae_run.evaluation.view import View


def _conflicts(settings: Settings) -> Iterator[str]:
    """Why the metric cannot exist with these parts."""
    if not settings.classes["posterior"].discrete:
        yield "codes are no indices. Use posterior=vector_quantized, residual_vq or fsq."


@metric(conflicts=_conflicts)
def code_usage(view: View) -> dict[str, float]:
    """`codes_used`, `perplexity`, `code_bits`, `entropy_bits`, `index_bits`, `quantization_error`.

    They are of the whole split, not means over batches: of fewer indices than codes, as in a batch,
    the entropy is too small. With p_s(k) the share of code k among the N P indices of stage s:

    `codes_used`: codes with p > 0, over all stages.
    `perplexity`: exp(-sum_k p_s(k) log p_s(k)), the geometric mean over stages: K if all codes are
        used equally.
    `code_bits`: L log2 K, the length of an image's indices at a fixed rate.
    `entropy_bits`: L log2 perplexity, their length by a code for the frequencies of this split.
    `index_bits`: -log2 of their probability under the prior, mean over images, where it has been
        fitted to indices of the train split: the length by a code that is known beforehand.
    `quantization_error`: squared distance of the encoder's output from its code, summed over
        positions, mean over images.
    """
    space = view.model.posterior.index_space()
    if space is None:
        return {}
    counts, error, nats = totals(view, space)
    shares = counts.double() / counts.sum(1, keepdim=True)
    entropy = float(torch.special.entr(shares).sum(1).mean())
    found = {
        "codes_used": float((counts > 0).sum()),
        "perplexity": math.exp(entropy),
        "code_bits": space.length * math.log2(space.codes),
        "entropy_bits": space.length * entropy / math.log(2),
        "quantization_error": error / view.size,
    }
    if nats is not None:
        found["index_bits"] = nats / view.size / math.log(2)
    return found


def totals(view: View, space: IndexSpace) -> tuple[Tensor, float, float | None]:
    """How often each code occurs, int64 [S, K]; error and -log p of the indices, of all images.

    The last is None where the prior has not been fitted to indices.
    """
    prior = view.model.latent_prior() if view.model.prior.ready else None
    counts = torch.zeros(space.stages, space.codes, dtype=torch.long)
    error = nats = 0.0
    for batch in view.batches():
        q = view.model.given(batch.given).encode(batch.input)
        assert isinstance(q, Quantized)
        error += float(q.error.double().sum())
        counts += histogram(q.indices, space.codes)
        if isinstance(prior, Codewords):
            nats -= float(prior.indices.log_prob(q.indices.flatten(1)).double().sum())
    return counts, error, nats if isinstance(prior, Codewords) else None


def histogram(indices: Tensor, codes: int) -> Tensor:
    """How often each code occurs in each stage of `indices` [B, P, S], int64 [S, K] on the CPU."""
    stages = indices.cpu().flatten(0, 1).unbind(1)
    return torch.stack([torch.bincount(stage, minlength=codes) for stage in stages])
