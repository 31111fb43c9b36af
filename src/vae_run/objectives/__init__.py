"""Objectives, the losses that are minimised, in nats per example; one class per option.

May import config, data, models, system.
"""

from vae_run.objectives.adversarial_codes import AAE, FactorVAE
from vae_run.objectives.adversarial_images import AdversarialELBO
from vae_run.objectives.aggregate_posterior import DIP, MMD, BetaTC
from vae_run.objectives.base import Bound, Objective, Terms, frozen, trained_loss
from vae_run.objectives.contractive import Contractive
from vae_run.objectives.elbo import ELBO, Capacity, FreeBits
from vae_run.objectives.importance_weighted import IWAE, ReweightedWakeSleep
from vae_run.objectives.reconstruction import Reconstruction
from vae_run.objectives.regularized import RegularizedReconstruction
from vae_run.objectives.sparse import Sparse

__all__ = [
    "AAE",
    "DIP",
    "ELBO",
    "IWAE",
    "MMD",
    "AdversarialELBO",
    "BetaTC",
    "Bound",
    "Capacity",
    "Contractive",
    "FactorVAE",
    "FreeBits",
    "Objective",
    "Reconstruction",
    "RegularizedReconstruction",
    "ReweightedWakeSleep",
    "Sparse",
    "Terms",
    "frozen",
    "trained_loss",
]
