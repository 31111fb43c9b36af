"""Codes of the images of a split, for metrics and pictures, and what is fitted to them.

There are two means of a posterior, and each metric says which one it uses. `q.mean` is the code
that `encode` returns and that reconstructions are decoded from: one that the posterior can draw.
The expected code E_q[z], `posterior.expectation(q)`, is the mean over samples. They are equal for
normal posteriors and deterministic codes. A von Mises-Fisher posterior has its mean direction, of
length 1, as `q.mean`, while E_q[z] lies inside the sphere. A flow has no closed form of E_q[z];
both are then f(0), the image of the mean of its base.

Letters: N images, D latent dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vae_run.data.batches import NOISE_CHUNK, seeded
from vae_run.evaluation.view import View
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.models.priors import Prior
from vae_run.system.memory import keep_freed_memory

if TYPE_CHECKING:
    from vae_run.evaluation.view import View

Points = NDArray[np.floating[Any]]

ACTIVE = 0.01
"""Variance over images of E_q[z_d] above which a dimension is active (Burda et al. 2015)."""


def active(means: Tensor) -> Tensor:
    """Which dimensions of the expected codes `means` [N, D] vary with the image, [D].

    Their variance over images is above `ACTIVE` (Burda et al. 2015); over one image, none varies.
    """
    return means.double().var(0, correction=min(1, len(means) - 1)) > ACTIVE


def few(view: View, most: int) -> View:
    """`view` of at most `most` of its images, a fixed random choice, in their order.

    Its batches have a fixed size: counts, ranks and votes must not depend on the last
    bit of a code.
    """
    view = replace(view, split=view.visited, limit=None, batch_size=NOISE_CHUNK)
    if view.size <= most:
        return view
    index = torch.randperm(view.size, generator=seeded("cpu", "few images"))[:most]
    return view.chosen(index.sort().values)


def expected_codes(view: View) -> Points:
    """E_q[z] of all images of `view` (`posterior.expectation`), float64 [N, D]."""
    found = []
    for batch in view.batches():
        q = view.model.given(batch.given).encode(batch.input)
        found.append(view.model.posterior.expectation(q).cpu().double().numpy())
    return np.concatenate(found)


CODES_FOR_PRIOR = 10_000
"""Training images whose codes give a threshold, or the Gaussian of a family without a prior."""


@contextmanager
def evaluating(model: LatentVariableModel) -> Iterator[None]:
    """No gradients, and the model in eval mode; its mode is restored afterwards."""
    keep_freed_memory()
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(training)


def calibrate(view: View) -> None:
    """Set what the model takes from the train split, `view`: a threshold of its codes, sigma, a
    Gaussian over its codes.

    Does nothing for a model that has none of them. A prior that is `fitted_once` is left for the
    end of training.
    """
    model = view.model
    with evaluating(model):
        if model.posterior.calibrated:
            few = replace(view, limit=CODES_FOR_PRIOR)
            model.posterior.calibrate(model.given(b.given).encode(b.input) for b in few.batches())
        if model.likelihood.calibrated:
            total = 0.0
            for batch in view.batches():
                given = model.given(batch.given).beside(batch.input)
                z = model.posterior.sample(given.encode(batch.input), batch.noise[0])
                error = given.decode(z).mean - batch.target
                total += float(error.cpu().double().square().sum())
            model.likelihood.calibrate(total / (view.size * view.split.images[0].numel()))
    if model.prior.fitted_to_codes and not model.prior.fitted_once:
        fit_prior(model.prior, replace(view, limit=CODES_FOR_PRIOR))


def fit_prior(prior: Prior, view: View) -> None:
    """Fit `prior` to the codes of the images of `view`, or to the indices that name them."""
    prior.fit(indices(view) if prior.over_indices else codes(view))


def codes(view: View) -> Tensor:
    """Codes [N, D] of the images of `view`, one sample of q(z|x) each, with fixed noise.

    They are what the decoder was trained on: of a random code a sample, not the mean.
    """
    model = view.model
    with evaluating(model):
        found = [
            model.posterior.sample(model.given(b.given).encode(b.input), b.noise[0])
            for b in view.batches()
        ]
    return torch.cat(found)  # out of inference mode, for what is fitted by gradients


def indices(view: View) -> Tensor:
    """The indices of the codes of the images of `view`, int64 [N, L], of a discrete posterior."""
    model = view.model
    with evaluating(model):
        found = [
            model.posterior.indices(model.given(b.given).encode(b.input)).flatten(1)
            for b in view.batches()
        ]
    return torch.cat(found)
