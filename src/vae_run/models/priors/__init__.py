"""Priors p(z), and densities fitted to the codes in place of one; one class an option.

May import config, models.distributions, models.networks.
"""

from vae_run.models.priors.base import Prior
from vae_run.models.priors.fitted import Fitted, FittedGaussian, FittedMixture
from vae_run.models.priors.fitted_autoregressive import FittedAutoregressive
from vae_run.models.priors.fitted_flow import FittedFlow
from vae_run.models.priors.fitted_indices import FittedCodes, FittedIndices
from vae_run.models.priors.fixed import FlatPrior, SphericalPrior, StandardNormal
from vae_run.models.priors.layered import HierarchicalPrior
from vae_run.models.priors.learned import FlowPrior, MixturePrior, VampPrior

__all__ = [
    "Fitted",
    "FittedAutoregressive",
    "FittedCodes",
    "FittedFlow",
    "FittedGaussian",
    "FittedIndices",
    "FittedMixture",
    "FlatPrior",
    "FlowPrior",
    "HierarchicalPrior",
    "MixturePrior",
    "Prior",
    "SphericalPrior",
    "StandardNormal",
    "VampPrior",
]
