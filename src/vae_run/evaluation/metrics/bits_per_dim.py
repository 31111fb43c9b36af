"""The ELBO as a code length, where p(x) is a probability of the data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vae_run.evaluation.base import metric
from vae_run.evaluation.metrics.code_usage import code_usage
from vae_run.evaluation.metrics.objective import objective

if TYPE_CHECKING:
    from vae_run.config.schema import Settings
    from vae_run.evaluation.view import View


def _conflicts(settings: Settings) -> Iterator[str]:
    """Why the metric cannot exist with these parts, as far as that is known without the data."""
    prior, posterior = settings.classes["prior"], settings.classes["posterior"]
    likelihood = settings.classes["likelihood"]
    if not (likelihood.discrete or likelihood.binary):
        yield (
            f"{likelihood.__name__} is a density, and bits need a probability. Use "
            "likelihood=discretized_logistic, logistic_mixture or categorical, or binarized data "
            "with likelihood=bernoulli."
        )
    if posterior.discrete:
        if not prior.over_indices:
            yield "codes that are indices need a prior over indices. Use prior=fitted_codes."
        return
    if not posterior.stochastic:
        yield "a deterministic code has no ELBO. Use posterior=normal and objective=elbo."
    if not (prior.trained_with and prior.proper):
        yield "there is no ELBO without a proper prior. Use prior=standard_normal."


@metric(conflicts=_conflicts)
def bits_per_dim(view: View) -> dict[str, float]:
    """`bits_per_dim`: -elbo / (D ln 2) of images of D pixels, colours counted apart.

    For codes that are indices i(x), elbo = log p(x|i) + log P(i) with the fitted prior P: q is a
    point mass on i, which has a probability, so this is a bound on log p(x) too.
    Nothing under a density, which is no code length, for grey pixels under a Bernoulli, whose
    figure is a cross-entropy, or without an ELBO.
    """
    likelihood = view.model.likelihood
    if not likelihood.discrete and (not likelihood.binary or view.split.has_grey):
        return {}
    terms = objective(view)
    elbo = terms.get("elbo")
    if (bits := code_usage(view).get("index_bits")) is not None:
        elbo = -(terms["reconstruction"] + bits * math.log(2))
    dimensions = math.prod(view.split.event_shape)
    return {} if elbo is None else {"bits_per_dim": -elbo / (dimensions * math.log(2))}
