"""The marginal likelihood of images by importance sampling.

Letters: K samples, B images of a chunk, D latent dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vae_run.data.batches import NOISE_CHUNK, Batch, seeded
from vae_run.evaluation.base import metric

if TYPE_CHECKING:
    from vae_run.config.schema import Settings
    from vae_run.evaluation.view import View

DRAWN = 16
"""Samples an image drawn from the generator at once; fixed, so that more samples add to fewer."""


def _conflicts(settings: Settings) -> Iterator[str]:
    """Why the metric cannot exist with these parts."""
    prior = settings.classes["prior"]
    if not settings.classes["posterior"].stochastic:
        yield "a deterministic code has no importance weights. Use posterior=normal."
    elif not (prior.trained_with and prior.proper):
        yield "there is no p(x) without a proper prior. Use prior=standard_normal."


@metric(conflicts=_conflicts)
def log_likelihood(view: View) -> dict[str, float]:
    """`log_likelihood`: log 1/K sum_k p(x, z_k) / q(z_k|x), in nats, mean over the images.

    K is `evaluation.importance_samples` (Burda et al. 2015, eq. 8). In expectation it is a lower
    bound on log p(x) that rises to it with K. `log_likelihood_stderr` is the standard error of
    that mean over images; `effective_sample_size`, (sum w)^2 / sum w^2 in [1, K], also a mean
    over images, says how far few samples decide: near 1, the bound is still loose.
    `importance_samples` is K, without which bounds cannot be compared.

    Nothing for a family without a bound. Memory does not grow with K.
    """
    if not (view.model.posterior.stochastic and view.model.prior.generative):
        return {}
    values, sizes = each_image(view)
    spread = values.std().item() if len(values) > 1 else math.nan
    return {
        "log_likelihood": values.mean().item(),
        "log_likelihood_stderr": spread / math.sqrt(len(values)),
        "effective_sample_size": sizes.mean().item(),
        "importance_samples": view.importance_samples,
    }


def each_image(view: View) -> tuple[Tensor, Tensor]:
    """The bound in nats and the effective sample size of every image, float64 [N] each."""
    values, sizes = [], []
    if view.first % NOISE_CHUNK:
        raise ValueError(f"pieces begin at multiples of {NOISE_CHUNK}, not at {view.first}")
    chunks = replace(view, batch_size=NOISE_CHUNK).batches()
    for chunk, batch in enumerate(chunks, view.first // NOISE_CHUNK):
        sums = _Weights()
        for log_w in _log_weights(view, batch, chunk):
            sums.add(log_w)
        values.append(sums.log_mean())
        sizes.append(sums.effective())
    return torch.cat(values), torch.cat(sizes)


def _log_weights(view: View, batch: Batch, chunk: int) -> Iterator[Tensor]:
    """log w [k, B] in pieces of k samples, K together; about `view.batch_size` codes at a time."""
    model, device = view.model.given(batch.given), batch.target.device
    q, prior = model.encode(batch.input), model.latent_prior()
    log_prob = model.likelihood.log_prob_of(batch.target)
    generator = seeded(device, "importance noise", chunk)
    left = view.importance_samples
    while left > 0:
        shape = (DRAWN, NOISE_CHUNK, view.latent_dim)
        noise = torch.randn(shape, generator=generator, device=device)
        noise = noise[: min(left, DRAWN), : len(batch)]
        for piece in torch.split(noise, max(1, view.batch_size // len(batch))):
            z = model.posterior.sample(q, piece)
            likelihood = log_prob(model.decoder_features(z), z.shape[:-1])
            yield likelihood + prior.log_prob(z) - q.log_prob(z)
        left -= DRAWN


class _Weights:
    """Running sums of w and w^2 for B images, kept relative to the largest weight so far."""

    def __init__(self) -> None:
        self.count = 0
        self.largest = torch.tensor(-math.inf)
        self.first = self.second = torch.zeros(())

    def add(self, log_w: Tensor) -> None:
        """Take in log w [k, B]."""
        log_w = log_w.double() if log_w.device.type != "mps" else log_w
        largest = torch.maximum(self.largest.to(log_w), log_w.amax(0))
        shrink = (self.largest.to(log_w) - largest).exp()  # of the sums so far
        w = (log_w - largest).exp()
        self.first = self.first.to(log_w) * shrink + w.sum(0)
        self.second = self.second.to(log_w) * shrink.square() + w.square().sum(0)
        self.largest, self.count = largest, self.count + len(log_w)

    def log_mean(self) -> Tensor:
        """log of the mean weight, [B], on the CPU."""
        return (self.largest + self.first.log() - math.log(self.count)).cpu().double()

    def effective(self) -> Tensor:
        """(sum w)^2 / sum w^2, [B], on the CPU."""
        return (self.first.square() / self.second).cpu().double()
