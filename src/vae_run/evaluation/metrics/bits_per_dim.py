"""The ELBO as a code length, where p(x) is a probability of the data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vae_run.evaluation.base import metric
from vae_run.evaluation.metrics.objective import objective

if TYPE_CHECKING:
    from vae_run.config.schema import Settings
    from vae_run.evaluation.view import View


def _conflicts(settings: Settings) -> Iterator[str]:
    """Why the metric cannot exist with these parts, as far as that is known without the data."""
    prior = settings.classes["prior"]
    likelihood = settings.classes["likelihood"]
    if not (likelihood.discrete or likelihood.binary):
        yield (
            f"{likelihood.__name__} is a density, and bits need a probability. Use "
            "likelihood=discretized_logistic, logistic_mixture or categorical, or binarized data "
            "with likelihood=bernoulli."
        )
    if not settings.classes["posterior"].stochastic:
        yield "a deterministic code has no ELBO. Use posterior=normal and objective=elbo."
    if not (prior.trained_with and prior.proper):
        yield "there is no ELBO without a proper prior. Use prior=standard_normal."


@metric(conflicts=_conflicts)
def bits_per_dim(view: View) -> dict[str, float]:
    """`bits_per_dim`: -elbo / (D ln 2) of images of D pixels, colours counted apart.

    Nothing under a density, which is no code length, for grey pixels under a Bernoulli, whose
    figure is a cross-entropy, or without an ELBO.
    """
    likelihood = view.model.likelihood
    if not likelihood.discrete and (not likelihood.binary or view.split.has_grey):
        return {}
    elbo = objective(view).get("elbo")
    dimensions = math.prod(view.split.event_shape)
    return {} if elbo is None else {"bits_per_dim": -elbo / (dimensions * math.log(2))}
