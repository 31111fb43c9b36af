"""Evaluation: runs the chosen metrics over a split, and fits what needs the train split."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from vae_run.errors import ConfigError
from vae_run.evaluation import metrics as metrics_package
from vae_run.evaluation.codes import evaluating
from vae_run.evaluation.pictures import images
from vae_run.evaluation.view import View

if TYPE_CHECKING:
    from vae_run.config.schema import Settings

FIGURES = (
    *("reconstructions", "samples", "manifold", "codes", "traversals", "interpolations"),
    *("kl_per_dimension", "aggregate_posterior", "robustness"),
)
"""Pictures of the end of every training; the others take longer, or are rarely of use."""


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
        _named("figures", self.figures, list(images.PICTURES))

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
    return import_module(f"vae_run.evaluation.metrics.{name}")
