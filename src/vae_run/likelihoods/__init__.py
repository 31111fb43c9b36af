"""Likelihoods p(x|z): heads on the decoder's features; one class an option."""

from vae_run.likelihoods.base import Likelihood
from vae_run.likelihoods.densities import (
    ContinuousBernoulliLikelihood,
    GaussianLikelihood,
    GaussianPixelLikelihood,
    LaplaceLikelihood,
)
from vae_run.likelihoods.discrete import (
    BernoulliLikelihood,
    CategoricalLikelihood,
    DiscretizedLogisticLikelihood,
    GridLikelihood,
    LogisticMixtureLikelihood,
)

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
]
