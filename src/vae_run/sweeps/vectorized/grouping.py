"""Which jobs of a sweep can be trained as one model, and which cannot."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from vae_run.config.schema import Settings
from vae_run.models.likelihoods import GaussianLikelihood, LaplaceLikelihood
from vae_run.objectives import Objective
from vae_run.runs.identity import Effect, keys_with
from vae_run.training.gradient import Gradient

BUFFERS: Mapping[Any, str] = {GaussianLikelihood: "sigma", LaplaceLikelihood: "scale"}
"""The option of a likelihood that a model holds in a buffer where it is a number."""

APART = (
    *("seed", "init_from", "corruption", "schedule", "optimizer"),
    *({*keys_with(Effect.NONE, Effect.MEASURED)} - {"device"}),  # a stack lies on one device
)
"""Keys and groups of which every run of a stack has its own: nothing of a step's shape."""

SHARED = ("_target_", "batch_size", "compile", "threads")
"""Options of the trainer that have to be equal in all runs of a stack."""


@dataclass
class Groups:
    """Jobs, as indices into the sequence that was grouped.

    Attributes:
        together: groups of two or more that can be trained as one model.
        alone: each of the others, with the reason.
    """

    together: list[list[int]] = field(default_factory=list)
    alone: dict[int, str] = field(default_factory=dict)

    def reasons(self) -> list[str]:
        """A line for every reason, with the number of jobs that train alone for it."""
        counts: dict[str, int] = {}
        for _, reason in sorted(self.alone.items()):
            counts[reason] = counts.get(reason, 0) + 1
        return [
            f"{count} job{'s train' if count > 1 else ' trains'} alone: {reason}"
            for reason, count in counts.items()
        ]


def grouped(jobs: Sequence[Settings]) -> Groups:
    """Group jobs that differ only in options that a stack can batch."""
    found, alike = Groups(), dict[str, list[int]]()
    for place, settings in enumerate(jobs):
        reason = refusal(settings)
        if reason is not None:
            found.alone[place] = reason
        else:
            alike.setdefault(common(settings), []).append(place)
    for places in alike.values():
        if len(places) > 1:
            found.together.append(places)
        else:
            found.alone[places[0]] = "no other job has the same shapes and parts"
    return found


def refusal(settings: Settings) -> str | None:
    """Why a job can be in no stack, as far as its configuration shows; None if it can."""
    trainer = settings.classes["trainer"]
    if trainer is not Gradient:
        return f"{trainer.__name__} does more than gradient descent with the same step for all"
    if settings.parts["trainer"]["accumulate"] > 1:
        return "trainer.accumulate computes the gradient of a batch in parts"
    if settings.classes["dataset"].streamed:
        return "its training images are streamed, in an order of its own"
    if settings.build("network").spectral_norm:
        return "network.spectral_norm changes the weights' norms in place, at each pass"
    return None


def common(settings: Settings) -> str:
    """The part of a configuration that is equal in all jobs of a stack, as text."""
    config = {key: value for key, value in settings.raw.items() if key not in APART}
    config["objective"] = _without(
        settings.raw["objective"], batched(settings.classes["objective"])
    )
    config["trainer"] = {
        key: value for key, value in settings.raw["trainer"].items() if key in SHARED
    }
    option = BUFFERS.get(settings.classes["likelihood"])
    if option and not isinstance(settings.raw["likelihood"].get(option), str | None):
        config["likelihood"] = {**settings.raw["likelihood"], option: "a number"}
    return json.dumps(config, sort_keys=True, default=str)


def batched(objective: type[Objective]) -> tuple[str, ...]:
    """Options of an objective that may be tensors; any other has to be equal in a stack's runs.

    A subclass may use what it inherits in other ways than arithmetic, and names its own.
    """
    named: tuple[str, ...] = vars(objective).get("batched", ())
    return named


def _without(part: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    return {key: value for key, value in part.items() if key not in keys}


def varying(jobs: Sequence[Settings]) -> list[str]:
    """The options of the objective in which the jobs of a group differ."""
    objectives = [settings.build("objective", train_size=1) for settings in jobs]
    names = batched(type(objectives[0]))
    return [name for name in names if len({getattr(o, name) for o in objectives}) > 1]


def pieces(places: Sequence[int], number: int, most: int | None) -> list[list[int]]:
    """`places` cut into `number` or more pieces of about equal size, none longer than `most`."""
    least = 1 if most is None else -(-len(places) // most)
    number = min(len(places), max(1, number, least))
    cuts = [len(places) * i // number for i in range(number + 1)]
    return [list(places[start:end]) for start, end in pairwise(cuts)]
