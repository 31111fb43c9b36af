"""Evaluation: measures the chosen metrics of a model, and draws the chosen pictures."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from vae_run.errors import ConfigError
from vae_run.evaluation.codes import evaluating
from vae_run.evaluation.quantities import TABLE
from vae_run.evaluation.quantity import Declared
from vae_run.evaluation.selection import (
    METRIC,
    PICTURE,
    Entry,
    build,
    check_name,
    is_outside,
    target,
    written,
)
from vae_run.evaluation.view import View

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vae_run.config.schema import Settings

KINDS = {"metrics": METRIC, "while_training": METRIC, "figures": PICTURE}
SKIPS = (
    "needs a decoder that sees nothing but codes, and with network.skip=true it sees images beside "
    "them. Use network.skip=false."
)
"""Why a metric `of_codes` is refused."""
SELECTING = "objective"
"""The metric by whose values the best checkpoint is chosen."""


@dataclass(kw_only=True)
class Evaluation:
    """What is measured and drawn of a model, how many images at a time, and K samples of each.

    A metric written `NAME?` is measured where it exists; one without `?` is refused where the
    model cannot have it. `while_training` are those of every evaluation on val during training.
    By default, the pictures are those that take little time.
    """

    metrics: list[Entry] = field(
        default_factory=lambda: ["objective", "mse", "pca", "active_units", "bits_per_dim?"]
    )
    while_training: list[Entry] = field(default_factory=lambda: ["objective", "mse"])
    figures: list[Entry] = field(
        default_factory=lambda: [
            *("reconstructions", "samples", "manifold", "codes", "traversals", "interpolations"),
            *("kl_per_dimension", "aggregate_posterior", "robustness"),
        ]
    )
    batch_size: Annotated[int, Field(ge=1)] = 1000
    importance_samples: Annotated[int, Field(ge=1)] = 100
    manifold_label: int | None = None

    def __post_init__(self) -> None:
        self._built: dict[str, Any] = {}
        for key in KINDS:
            for entry in getattr(self, key):
                check_name(KINDS[key], f"evaluation.{key}", entry)
        if SELECTING not in self.while_training:
            raise ConfigError(
                f"evaluation.while_training: found {self.while_training}, without {SELECTING}, by "
                f"whose values the best checkpoint is chosen. Add {SELECTING}."
            )

    def _part(self, key: str, entry: Entry, trust: Collection[str] | None = ()) -> Any:
        """The metric or picture of an entry of `key`, built once."""
        name = f"{KINDS[key].name} {json.dumps(entry)}"
        if name not in self._built:
            self._built[name] = build(KINDS[key], f"evaluation.{key}", entry, trust)
        return self._built[name]

    def parts(self, trust: Collection[str] | None = ()) -> dict[str, list[Any]]:
        """The metrics and pictures of each key, imported as far as `trust` (`check`) allows.

        Raises:
            ConfigError: one is not trusted, cannot be imported, or is given wrong keys; or a metric
                declares a quantity that is in the package's table, or two pictures share a name.
        """
        found = {
            key: [self._part(key, entry, trust) for entry in getattr(self, key)] for key in KINDS
        }
        for entry, metric in zip(self.metrics, found["metrics"], strict=True):
            for row in metric.quantities if is_outside(entry) else ():
                if row.name in TABLE.rows:
                    raise ConfigError(
                        f"evaluation.metrics: {target(entry)} declares {row.name!r}, which is a "
                        "quantity of vae-run. Give it another name."
                    )
        names = [picture.name for picture in found["figures"]]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(
                f"evaluation.figures: {twice[0]} is named twice, and would be written to one file."
            )
        return found

    def prepare(self, trust: Collection[str] | None = ()) -> None:
        """Build all metrics and pictures, and let each refuse early what would fail late.

        Raises:
            ConfigError: as of `parts`, or a library that one needs is missing.
            DataError: a file that one needs is missing.
        """
        for parts in self.parts(trust).values():
            for part in parts:
                part.prepare()

    def measure(self, view: View, entries: Sequence[Entry] | None = None) -> dict[str, float]:
        """The chosen metrics of `view`, or those of `entries`; the model's mode is kept.

        With the objective those of the posterior (`Posterior.metrics`) are measured too.
        """
        found: dict[str, float] = {}
        with evaluating(view.model):
            chosen = list(self.metrics if entries is None else entries)
            if SELECTING in map(target, chosen):
                known = [target(entry) for entry in chosen]
                chosen += [name for name in view.model.posterior.metrics if name not in known]
            for entry in chosen:
                metric = self._part("metrics", entry)
                if not (metric.of_codes and view.model.skips):
                    found |= metric(view)
        return found

    def draw(
        self, view: View, test: View | None = None, *, entries: Sequence[Entry] | None = None
    ) -> dict[str, NDArray[Any]]:
        """The chosen pictures that have a meaning for this model and data, by name.

        Those `of_test` are drawn of `test`, which is `view` where it is not given. `entries` are
        some of the chosen pictures; None: all.
        """
        drawn = {}
        with evaluating(view.model):
            for entry in self.figures if entries is None else entries:
                picture = self._part("figures", entry)
                if picture.of_codes and view.model.skips:
                    continue
                image = picture(test or view if picture.of_test else view)
                if image is not None:
                    drawn[picture.name] = image
        return drawn

    def declared(self) -> Declared:
        """What its metrics and pictures from outside the package declare; after `prepare`."""
        rows = {
            row.name: row
            for key in ("metrics", "while_training")
            for entry in getattr(self, key)
            for row in self._part(key, entry).quantities
        }
        pictures = [self._part("figures", entry) for entry in self.figures if is_outside(entry)]
        return Declared(tuple(rows.values()), {each.name: each.caption for each in pictures})

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        """Metrics asked for, without `?`, that these parts cannot have; a class without a use."""
        if settings.fixed.task == "evaluate":
            return  # typed beside the defaults' parts; the task checks it beside the run's own
        own = cls(**options)
        if own.manifold_label is not None and settings.fixed.conditions != ("label",):
            yield (
                "evaluation.manifold_label: the model is not conditional on the label alone. Use "
                "condition=label, or leave it null."
            )
        skips = settings.build("network").skips
        for key in KINDS:
            for entry in getattr(own, key):
                if settings.trust is None or not is_outside(entry):
                    part = own._part(key, entry, settings.trust)
                    if not written(entry).endswith("?"):
                        reasons = [*part.conflicts(settings)]
                        if skips and part.of_codes and key != "figures":
                            reasons.append(SKIPS)
                        yield from (f"evaluation.{key}: {target(entry)}: {r}" for r in reasons)
        if settings.trust is None:
            own.parts(None)
