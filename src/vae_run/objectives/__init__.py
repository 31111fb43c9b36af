"""Objectives: what is minimised, in nats per example; one class an option."""

from vae_run.objectives.base import Bound, Objective, Terms
from vae_run.objectives.elbo import ELBO, Capacity, FreeBits
from vae_run.objectives.importance import IWAE, ReweightedWakeSleep
from vae_run.objectives.reconstruction import Reconstruction

__all__ = [
    "ELBO",
    "IWAE",
    "Bound",
    "Capacity",
    "FreeBits",
    "Objective",
    "Reconstruction",
    "ReweightedWakeSleep",
    "Terms",
]
