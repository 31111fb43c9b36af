"""Posteriors q(z|x): heads on the encoder's features; one class an option.

May import config, models.distributions, models.networks.
"""

from vae_run.models.posteriors.base import Posterior, Project
from vae_run.models.posteriors.finite_scalar import FiniteScalarPosterior
from vae_run.models.posteriors.flow import FlowPosterior
from vae_run.models.posteriors.layered import HierarchicalPosterior, LadderPosterior
from vae_run.models.posteriors.normal import (
    DeltaPosterior,
    FullNormalPosterior,
    NormalPosterior,
    SigmoidPosterior,
)
from vae_run.models.posteriors.quantized import QuantizedPosterior
from vae_run.models.posteriors.sparse import SparseCode, SparsePosterior
from vae_run.models.posteriors.spherical import VonMisesFisherPosterior
from vae_run.models.posteriors.units import Sparsity
from vae_run.models.posteriors.vector_quantized import VectorQuantizedPosterior

__all__ = [
    "DeltaPosterior",
    "FiniteScalarPosterior",
    "FlowPosterior",
    "FullNormalPosterior",
    "HierarchicalPosterior",
    "LadderPosterior",
    "NormalPosterior",
    "Posterior",
    "Project",
    "QuantizedPosterior",
    "SigmoidPosterior",
    "SparseCode",
    "SparsePosterior",
    "Sparsity",
    "VectorQuantizedPosterior",
    "VonMisesFisherPosterior",
]
