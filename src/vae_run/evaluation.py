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
from torch import Tensor

from vae_run import metrics as metrics_package
from vae_run import pictures
from vae_run.allocator import keep_freed_memory
from vae_run.corruptions import Corruption
from vae_run.data.batches import Batch, evaluation_batches
from vae_run.data.splits import Split
from vae_run.errors import ConfigError
from vae_run.model import LatentVariableModel
from vae_run.objectives import Objective

if TYPE_CHECKING:
    from vae_run.config import Settings

FIGURES = (
    *("reconstructions", "samples", "manifold", "codes", "traversals", "interpolations"),
    *("kl_per_dimension", "aggregate_posterior", "robustness"),
)
"""Pictures of the end of every training; the others take longer, or are rarely of use."""
CODES_FOR_PRIOR = 10_000
"""Training images whose codes fit the Gaussian of a family without a prior."""


@dataclass(frozen=True)
class View:
    """A model before a split, as metrics and pictures see it.

    `epoch` is the time that the objective's warm-up reads; batches carry fixed noise. `train` is
    the training split, for metrics that fit something to it, and `others` are the test images
    whose classes were left out, where this is the test split.
    """

    model: LatentVariableModel
    objective: Objective
    corruption: Corruption
    split: Split
    latent_dim: int
    batch_size: int = 1000
    epoch: float = 0.0
    limit: int | None = None
    importance_samples: int = 100
    train: Split | None = None
    others: Split | None = None
    class_names: tuple[str, ...] = ()
    manifold_label: int | None = None

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
    """What is measured and drawn of a model, how many images at a time, and K samples of each.

    A metric written `NAME?` is measured where it exists; one without `?` is refused where the
    model cannot have it. `while_training` are those of every evaluation on val during training.
    """

    metrics: list[str] = field(
        default_factory=lambda: ["objective", "mse", "pca", "active_units", "bits_per_dim?"]
    )
    while_training: list[str] = field(default_factory=lambda: ["objective", "mse"])
    figures: list[str] = field(default_factory=lambda: list(FIGURES))
    batch_size: Annotated[int, Field(ge=1)] = 1000
    importance_samples: Annotated[int, Field(ge=1)] = 100
    manifold_label: int | None = None

    def __post_init__(self) -> None:
        known = [module.name for module in iter_modules(metrics_package.__path__)]
        for key, names in (("metrics", self.metrics), ("while_training", self.while_training)):
            _named(key, [name.removesuffix("?") for name in names], known)
        if "objective" not in self.while_training:
            raise ConfigError(
                f"evaluation.while_training: found {self.while_training}, without objective, by "
                "whose figures the best checkpoint is chosen. Add objective."
            )
        _named("figures", self.figures, list(pictures.PICTURES))

    def measure(self, view: View, names: list[str] | None = None) -> dict[str, float]:
        """The chosen metrics of `view`, or those of `names`; the model's mode is left as it was."""
        found: dict[str, float] = {}
        with evaluating(view.model):
            for name in (entry.removesuffix("?") for entry in names or self.metrics):
                metric: Callable[[View], dict[str, float]] = getattr(_metric_module(name), name)
                found |= metric(view)
        return found

    def prepare(self) -> None:
        """See that the files which metrics need are there, before anything else takes time."""
        for name in (*self.metrics, *self.while_training):
            getattr(_metric_module(name.removesuffix("?")), "prepare", lambda: None)()

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        """Metrics asked for, without `?`, that these parts cannot have; a class without a use."""
        if settings.fixed.task == "evaluate":
            return  # typed beside the defaults' parts; the task checks it beside the run's own
        if options.get("manifold_label") is not None and settings.fixed.condition is None:
            yield (
                "evaluation.manifold_label: the model is not conditional. Use condition=label, or "
                "leave it null."
            )
        for key in ("metrics", "while_training"):
            for name in (entry for entry in options.get(key, []) if not entry.endswith("?")):
                why = getattr(_metric_module(name), "conflicts", lambda _: ())
                yield from (f"evaluation.{key}: {name}: {reason}" for reason in why(settings))


def _metric_module(name: str) -> ModuleType:
    return import_module(f"vae_run.metrics.{name}")


@contextmanager
def evaluating(model: LatentVariableModel) -> Iterator[None]:
    """No gradients, and the model in eval mode; its mode is restored afterwards."""
    keep_freed_memory()
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(training)


def calibrate(view: View) -> None:
    """Set what the model takes from the train split, `view`: sigma, a Gaussian over its codes.

    Does nothing for a model that has neither. A prior that is `fitted_once` is left for the end of
    training.
    """
    model = view.model
    with evaluating(model):
        if model.likelihood.calibrated:
            total = 0.0
            for batch in view.batches():
                given = model.given(batch.label)
                z = model.posterior.sample(given.encode(batch.input), batch.noise[0])
                error = given.decode(z).mean - batch.target
                total += float(error.cpu().double().square().sum())
            model.likelihood.calibrate(total / (view.size * view.split.images[0].numel()))
    if model.prior.fitted_to_codes and not model.prior.fitted_once:
        model.prior.fit(codes(replace(view, limit=CODES_FOR_PRIOR)))


def codes(view: View) -> Tensor:
    """Codes [N, D] of the images of `view`, one sample of q(z|x) each, with fixed noise.

    They are what the decoder was trained on: of a random code a sample, not the mean.
    """
    model = view.model
    with evaluating(model):
        found = [
            model.posterior.sample(model.given(b.label).encode(b.input), b.noise[0])
            for b in view.batches()
        ]
    return torch.cat(found)  # out of inference mode, for what is fitted by gradients
