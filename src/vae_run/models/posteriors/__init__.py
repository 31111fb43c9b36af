"""Posteriors q(z|x): heads on the encoder's features; one class an option.

May import config, models.distributions, models.networks.
"""

from vae_run.models.posteriors.base import Posterior, Project
from vae_run.models.posteriors.flow import FlowPosterior
from vae_run.models.posteriors.layered import HierarchicalPosterior, LadderPosterior
from vae_run.models.posteriors.normal import DeltaPosterior, FullNormalPosterior, NormalPosterior
from vae_run.models.posteriors.spherical import VonMisesFisherPosterior

__all__ = [
    "DeltaPosterior",
    "FlowPosterior",
    "FullNormalPosterior",
    "HierarchicalPosterior",
    "LadderPosterior",
    "NormalPosterior",
    "Posterior",
    "Project",
    "VonMisesFisherPosterior",
]
