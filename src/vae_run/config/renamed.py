"""What saved configurations of earlier versions lack: present paths of classes, parts and keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MODULES = {
    "vae_run.closed_form": "vae_run.training.closed_form",
    "vae_run.data.arrays": "vae_run.data.datasets.arrays",
    "vae_run.data.celeba": "vae_run.data.datasets.celeba",
    "vae_run.data.cifar10": "vae_run.data.datasets.cifar10",
    "vae_run.data.digits": "vae_run.data.datasets.digits",
    "vae_run.data.image_folder": "vae_run.data.datasets.image_folder",
    "vae_run.data.mnist": "vae_run.data.datasets.mnist",
    "vae_run.data.shards": "vae_run.data.datasets.shards",
    "vae_run.data.sprites": "vae_run.data.datasets.sprites",
    "vae_run.data.svhn": "vae_run.data.datasets.svhn",
    "vae_run.evaluation": "vae_run.evaluation.evaluation",
    "vae_run.layerwise": "vae_run.training.layerwise",
    "vae_run.likelihoods": "vae_run.models.likelihoods",
    "vae_run.networks": "vae_run.models.networks",
    "vae_run.optimizers": "vae_run.training.optimizers",
    "vae_run.posteriors": "vae_run.models.posteriors",
    "vae_run.priors": "vae_run.models.priors",
    "vae_run.pruning": "vae_run.training.pruning",
    "vae_run.schedules": "vae_run.training.schedules",
    "vae_run.trainers": "vae_run.training.gradient",
}
"""Modules by the path that runs of version 0.1.0 and earlier may have saved."""
CLASSES = {
    "vae_run.samplers.FittedFlow": "vae_run.models.priors.FittedFlow",
    "vae_run.samplers.FittedMixture": "vae_run.models.priors.FittedMixture",
}
"""Classes that moved to another module than the rest of theirs, by their earlier path."""


ADDED: Mapping[str, Any] = {"tracker": {"_target_": "vae_run.tracking.tracker.NoTracker"}}
"""Parts that such runs do not have, each with the option that leaves a run as it was."""
ADDED_KEYS: Mapping[str, Mapping[str, Any]] = {
    "vae_run.models.likelihoods.GaussianLikelihood": {"speed": 1.0},
    "vae_run.models.likelihoods.LaplaceLikelihood": {"speed": 1.0},
    "vae_run.models.networks.Conv": {"init": "torch"},
    "vae_run.models.networks.ResNet": {"init": "torch"},
}
"""Keys that such runs do not have, by class, where today's default would change a run."""


def current(target: str) -> str:
    """The dotted path of a class today, given the one that a configuration names."""
    module, _, name = target.rpartition(".")
    moved = f"{MODULES[module]}.{name}" if module in MODULES else target
    return CLASSES.get(target, moved)


_FIRST = {now: before for before, now in (MODULES | CLASSES).items()}


def first(target: str) -> str:
    """The earliest path of the class `target`, by which hashes of configurations name it."""
    module, _, name = target.rpartition(".")
    moved = f"{_FIRST[module]}.{name}" if module in _FIRST else target
    return _FIRST.get(target, moved)


def updated(config: Mapping[str, Any]) -> dict[str, Any]:
    """A saved configuration with every `_target_` as it is today, and the keys added since."""
    found = {k: updated(v) if isinstance(v, Mapping) else v for k, v in config.items()}
    if isinstance(target := found.get("_target_"), str):
        now = current(target)
        found = {**ADDED_KEYS.get(now, {}), **found, "_target_": now}
    return found
