"""What tells one run's configuration from another's, and which keys have only a limited effect."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from vae_run.config.keys import flat, split_files
from vae_run.config.renamed import first

if TYPE_CHECKING:
    from vae_run.config.schema import Settings


class Effect(Enum):
    """What a key of the configuration can change about a run that ends."""

    NONE = auto()
    """Nothing: neither the weights nor a metric of them. Two jobs of a sweep may differ in it."""
    MEASURED = auto()
    """Only what is measured and drawn of the weights, which stay the same."""
    LENGTH = auto()
    """Only how long training goes on, so that `task=resume` may change it."""
    LOCATION = auto()
    """Only where the data are read from: with data of the same fingerprint, nothing."""


HELD = ("dataset.root", "dataset.cache", "dataset.memory", "dataset.download")
"""Keys of where data of a known content lie, and of how they are held."""


EFFECTS: Mapping[str, Effect] = {
    **dict.fromkeys(
        ("task", "run", "runs", "trust", "sweep", "device", "tracker", "quiet"), Effect.NONE
    ),
    "figures": Effect.NONE,
    **dict.fromkeys(("input", "output", "checkpoint", "n", "label"), Effect.NONE),
    **dict.fromkeys(HELD, Effect.NONE),
    "dataset.path": Effect.LOCATION,
    "dataset.attributes": Effect.LOCATION,
    **dict.fromkeys(("trainer.log_every", "trainer.checkpoint_seconds"), Effect.NONE),
    **dict.fromkeys(("trainer.compile", "trainer.threads"), Effect.NONE),
    "evaluation": Effect.MEASURED,
    **dict.fromkeys(("trainer.epochs", "trainer.steps", "trainer.max_time"), Effect.LENGTH),
    "trainer.patience": Effect.LENGTH,
}
"""Keys and groups with a limited effect; what is not listed can change the weights."""

PLACES = ("dataset.path", "dataset.attributes", *HELD)
"""Keys that `task=resume` may change, as long as the data have the run's own fingerprint;
`place_keys` has those of the files of single splits too."""

HASHED_AS: Mapping[str, Any] = {
    "dataset.cache": "auto",
    "dataset.memory": 2.0,
    "dataset.download": True,
}
"""Keys without effect that identities once counted. They are hashed with their defaults, so that
the ledgers of earlier sweeps still know their jobs."""

ADDED_SINCE: Mapping[str, Any] = {
    "latent_shape": None,
    "dataset.split_by": "index",
    "dataset.layout": "auto",
    "dataset.background": "white",
    "dataset.scale": "none",
    "dataset.white": "auto",
    "dataset.attributes": None,
    "dataset.attributes_key": "file",
    "dataset.attributes_categorical": [],
    "dataset.key": None,
    "network.init": "torch",
    "network.norm": "none",
    "network.skip": False,
    "likelihood.speed": 1,
    "trainer.accumulate": 1,
    "trainer.ema": None,
    "objective.partial": False,
    "posterior.kind": "spline",
    "prior.kind": "spline",
    "prior.pseudo_inputs": "unit",
    "sampler.kind": "spline",
}
"""Keys that earlier configurations lack, with the value that leaves a job what it was."""


def keys_with(*effects: Effect) -> tuple[str, ...]:
    """The keys and groups of `EFFECTS` that have one of `effects`."""
    return tuple(key for key, effect in EFFECTS.items() if effect in effects)


def has_effect(key: str, *effects: Effect) -> bool:
    """Whether the full `key`, or a group that it belongs to, has one of `effects`."""
    while key:
        if EFFECTS.get(key) in effects:
            return True
        key = key.rpartition(".")[0]
    return False


def location_keys(dataset: Mapping[str, Any]) -> tuple[str, ...]:
    """The full keys of where the data are read from, of a configuration's section `dataset`."""
    files = (f"dataset.{name}" for name in split_files(dataset))
    return (*keys_with(Effect.LOCATION), *files)


def place_keys(dataset: Mapping[str, Any]) -> tuple[str, ...]:
    """`PLACES`, and the full keys of the files of single splits that the section `dataset` has."""
    return tuple(dict.fromkeys((*PLACES, *location_keys(dataset))))


def identity(config: Mapping[str, Any]) -> str:
    """What tells a job from others: a hash of its resolved configuration, in 12 characters.

    Args:
        config: plain and nested, without Hydra's own part. Keys without effect do not count.
    """
    values = telling(config)
    values |= {key: HASHED_AS[key] for key, _ in flat(config) if key in HASHED_AS}
    text = json.dumps(values, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def telling(config: Mapping[str, Any]) -> dict[str, Any]:
    """The full keys of `config`, with their values, that have an effect on a run.

    A class stands there by the earliest path that it had, so that moving it changes no identity.
    """
    return {
        key: first(value) if key.endswith("_target_") and isinstance(value, str) else value
        for key, value in flat(config)
        if not has_effect(key, Effect.NONE) and (key, value) not in ADDED_SINCE.items()
    }


def as_checked(settings: Settings) -> dict[str, Any]:
    """The configuration of `settings`, with 1.0 for 1 where a part takes any number.

    Both are one value to the part, but they have two hashes.
    """
    return {key: _as_checked(value, settings.parts.get(key)) for key, value in settings.raw.items()}


def _as_checked(value: Any, checked: Any) -> Any:
    """`value` of a configuration; a whole number that was `checked` to be a float as the float."""
    if isinstance(value, Mapping) and isinstance(checked, Mapping):
        return {key: _as_checked(own, checked.get(key)) for key, own in value.items()}
    if isinstance(value, list) and isinstance(checked, (list, tuple)):
        if len(value) == len(checked):
            return [_as_checked(*pair) for pair in zip(value, checked, strict=True)]
    elif type(value) is int and type(checked) is float and value == checked:
        return checked
    return value
