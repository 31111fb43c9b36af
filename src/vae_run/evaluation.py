"""Evaluation: runs the chosen metrics over a split, and fits what needs the train split."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import Field

from vae_run import metrics as metrics_package
from vae_run import pictures
from vae_run.corruptions import Corruption
from vae_run.data.batches import Batch, evaluation_batches
from vae_run.data.splits import Split
from vae_run.errors import ConfigError
from vae_run.model import LatentVariableModel
from vae_run.objectives import Objective

if TYPE_CHECKING:
    from vae_run.config import Settings

CODES_FOR_PRIOR = 10_000
"""Training images whose codes fit the Gaussian of a family without a prior."""


@dataclass(frozen=True)
class View:
    """A model before a split, as metrics and pictures see it.

    `epoch` is the time that the objective's warm-up reads; batches carry fixed noise.
    """

    model: LatentVariableModel
    objective: Objective
    corruption: Corruption
    split: Split
    latent_dim: int
    batch_size: int = 1000
    epoch: float = 0.0
    limit: int | None = None

    @property
    def size(self) -> int:
        """Images that `batches` visits."""
        return len(self.split) if self.limit is None else min(self.limit, len(self.split))

    def batches(self) -> Iterator[Batch]:
        return evaluation_batches(
            self.split,
            self.corruption,
            batch_size=self.batch_size,
            noise=(self.objective.samples, self.latent_dim),
            limit=self.limit,
        )


def _named(kind: str, names: list[str], known: list[str]) -> None:
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise ConfigError(
                f"evaluation.{kind}: there is no {name!r}; did you mean {near!r}? "
                f"Known: {', '.join(sorted(known))}."
            )


@dataclass(kw_only=True)
class Evaluation:
    """What is measured and drawn of a model, and how many images at a time.

    A metric written `NAME?` is measured where it exists; one without `?` is refused where the
    model cannot have it.
    """

    metrics: list[str] = field(
        default_factory=lambda: ["objective", "mse", "active_units", "bits_per_dim?"]
    )
    figures: list[str] = field(default_factory=lambda: list(pictures.PICTURES))
    batch_size: Annotated[int, Field(ge=1)] = 1000

    def __post_init__(self) -> None:
        known = [module.name for module in iter_modules(metrics_package.__path__)]
        _named("metrics", [name.removesuffix("?") for name in self.metrics], known)
        _named("figures", self.figures, list(pictures.PICTURES))

    def measure(self, view: View) -> dict[str, float]:
        """All chosen metrics of `view`; evaluation leaves the model in the mode it was in."""
        found: dict[str, float] = {}
        with evaluating(view.model):
            for name in (entry.removesuffix("?") for entry in self.metrics):
                metric: Callable[[View], dict[str, float]] = getattr(_metric_module(name), name)
                found |= metric(view)
        return found

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        """Metrics asked for, without `?`, that these parts cannot have."""
        for name in options.get("metrics", []):
            if not name.endswith("?"):
                why = getattr(_metric_module(name), "conflicts", lambda _: ())
                yield from (f"evaluation.metrics: {name}: {reason}" for reason in why(settings))


def _metric_module(name: str) -> ModuleType:
    return import_module(f"vae_run.metrics.{name}")


@contextmanager
def evaluating(model: LatentVariableModel) -> Iterator[None]:
    """No gradients, and the model in eval mode; its mode is restored afterwards."""
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(training)


def calibrate(view: View) -> None:
    """Set what the model takes from the train split, `view`: sigma, a Gaussian over its codes.

    Does nothing for a model that has neither.
    """
    model = view.model
    with evaluating(model):
        if model.likelihood.calibrated:
            total = 0.0
            for batch in view.batches():
                z = model.posterior.sample(model.encode(batch.input), batch.noise[0])
                error = model.decode(z).mean - batch.target
                total += float(error.cpu().double().square().sum())
            model.likelihood.calibrate(total / (view.size * view.split.images[0].numel()))
        if model.prior.fitted_to_codes:
            few = replace(view, limit=CODES_FOR_PRIOR)
            codes = [model.encode(batch.input).mean for batch in few.batches()]
            model.prior.fit(torch.cat(codes))
