"""Likelihoods p(x|z): heads on the decoder's features; one class an option.

May import models.distributions, models.networks.
"""

from vae_run.models.likelihoods.base import Likelihood
from vae_run.models.likelihoods.continuous import (
    ContinuousBernoulliLikelihood,
    GaussianLikelihood,
    GaussianPixelLikelihood,
    LaplaceLikelihood,
)
from vae_run.models.likelihoods.discrete import (
    BernoulliLikelihood,
    CategoricalLikelihood,
    DiscretizedLogisticLikelihood,
    GridLikelihood,
    LogisticMixtureLikelihood,
)
from vae_run.models.likelihoods.mixed import MixedLikelihood

__all__ = [
    "BernoulliLikelihood",
    "CategoricalLikelihood",
    "ContinuousBernoulliLikelihood",
    "DiscretizedLogisticLikelihood",
    "GaussianLikelihood",
    "GaussianPixelLikelihood",
    "GridLikelihood",
    "LaplaceLikelihood",
    "Likelihood",
    "LogisticMixtureLikelihood",
    "MixedLikelihood",
]
