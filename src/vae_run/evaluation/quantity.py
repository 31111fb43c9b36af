"""What a quantity is, how a table of them is searched, and what a run declares besides.

A metric from outside the package declares rows of its own (`Metric.quantities`); a run directory
keeps them in `quantities.json`, so that readers which lack the metric's class know them too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from vae_run.errors import CheckpointError
from vae_run.system.files import write_json
from vae_run.system.nouns import speaking_of

NATS = "nats per image"
FILE = "quantities.json"
"""In a run directory: what metrics and pictures from outside declare, and the noun of the data."""
LARGEST = 10_000_000
"""Bytes of that file that are read at most."""

DERIVED = {
    "_stderr": "standard error of {} over images",
    "pca_": "{} of PCA at the same latent_dim, from the input that the encoder sees",
    "tsne_": "{} of t-SNE, fitted to these images",
    "input_": "{} of the corrupted input",
    "clean_": "{} where the encoder sees the clean image",
}
"""Suffixes and prefixes of quantities that stand beside another and have its unit."""


class Section(StrEnum):
    """The sections of a report, in its order."""

    LIKELIHOOD = "Likelihood"
    RECONSTRUCTION = "Reconstruction"
    CODES = "Codes"
    USEFULNESS = "Usefulness"
    ANOMALIES = "Anomalies"
    GENERATION = "Generation"
    OTHER = "Other metrics"
    TRAINING = "Training"


class Place(StrEnum):
    """Where a quantity is shown besides the full tables, which show all of them."""

    HEADLINE = "headline"  # a tile of a run's report; of bounds on log p(x), the first one
    COMPARISON = "comparison"  # pictures and test columns of a comparison, beside its metric
    SWEEP = "sweep"  # a panel of sweep.png
    TABLES = "tables"  # a sweep's tables, and the line of a completed job
    CHART = "chart"  # TensorBoard's custom chart of train beside val
    RANKING = "ranking"  # ranks runs where no metric is named: the first one that all have


@dataclass(frozen=True)
class Quantity:
    """A number that a run records.

    Attributes:
        name: as in `metrics.json`; a `*` stands for any text, which `{}` in `text` repeats.
        unit: "" for a plain number.
        text: one sentence that says what it is.
        section: of the report.
        better: +1 where higher is better, -1 where lower is, 0 where neither.
        cost: a search for good runs lowers it, although neither direction is better in itself.
        of_likelihood: it depends on the likelihood, so values under two likelihoods cannot be
            compared.
        log: it varies by factors, so that pictures draw it on a logarithmic axis.
        shown: where it is shown.
    """

    name: str
    unit: str = ""
    text: str = ""
    _: KW_ONLY
    section: Section = Section.OTHER
    better: Literal[-1, 0, 1] = 0
    cost: bool = False
    of_likelihood: bool = False
    log: bool = False
    shown: tuple[Place, ...] = ()

    @property
    def nats(self) -> bool:
        """Whether it is in nats per image, or per row, vector or window."""
        return self.unit.startswith("nats per ")

    @property
    def bound(self) -> bool:
        """Whether it is the training loss, or a bound on log p(x)."""
        return self.nats and self.of_likelihood and self.better != 0


class Quantities:
    """Quantities by name; the order of the rows is that of every list and picture.

    Rows speak of images. What `find` and `of` return speaks of the `noun` of the data.
    """

    def __init__(self, rows: Iterable[Quantity], noun: str = "images") -> None:
        self.rows, self.noun = {row.name: row for row in rows}, noun

    def with_declared(
        self, rows: Iterable[Quantity], nouns: Iterable[str] = ("images",)
    ) -> Quantities:
        """These and `rows`; a name that is in the table already keeps its row.

        `nouns` are what the examples of each run are called; where they differ, "examples".
        """
        more = [row for row in rows if row.name not in self.rows]
        found = set(nouns)
        noun = found.pop() if len(found) == 1 else "examples" if found else self.noun
        return Quantities([*self.rows.values(), *more], noun)

    def find(self, name: str) -> Quantity | None:
        """The row of `name`: its own, that of a pattern, or one derived by prefix or suffix."""
        row = self._found(name)
        if row is None or self.noun == "images":
            return row
        unit, text = (speaking_of(each, self.noun) for each in (row.unit, row.text))
        return replace(row, unit=unit, text=text)

    def _found(self, name: str) -> Quantity | None:
        if name in self.rows:
            return self.rows[name]
        for row in self.rows.values():
            if "*" in row.name and (match := _pattern(row.name).fullmatch(name)):
                parts = (group.replace("_", " ") for group in match.groups())
                return replace(row, name=name, text=row.text.format(*parts))
        for fix, text in DERIVED.items():
            rest = name.removeprefix(fix).removesuffix(fix)
            if rest != name and (base := self._found(rest)):
                text = text.format(rest.replace("_", " "))
                return Quantity(name, base.unit, text, section=base.section)
        return None

    def of(self, name: str) -> Quantity:
        """The row of `name`; one without unit and text where nothing declares it."""
        return self.find(name) or Quantity(name)

    def shown(self, place: Place) -> list[str]:
        """The names of what is shown at `place`, in order."""
        return [row.name for row in self.rows.values() if place in row.shown]

    def ordered(self, names: Iterable[str]) -> list[str]:
        """`names` in the order of the table, then those that it has no row of their own for."""
        order = {name: place for place, name in enumerate(self.rows)}
        return sorted(dict.fromkeys(names), key=lambda name: order.get(name, len(order)))

    def units(self, names: Iterable[str]) -> dict[str, str]:
        """The unit of each of `names`."""
        return {name: self.of(name).unit for name in names}


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile("(.+)".join(re.escape(part) for part in name.split("*")))


@dataclass(frozen=True)
class Declared:
    """What the metrics and pictures of a run declare besides the package's own table.

    Attributes:
        quantities: rows of metrics.
        captions: of pictures, by name.
        noun: what the examples of the run's data are called (`Splits.noun`).
    """

    quantities: tuple[Quantity, ...] = ()
    captions: Mapping[str, str] | None = None
    noun: str = "images"

    def write(self, directory: Path) -> None:
        """Write `quantities.json` into `directory`, keeping what it declares already."""
        before = declared(directory)
        rows = {row.name: row for row in (*before.quantities, *self.quantities)}
        captions = {**(before.captions or {}), **(self.captions or {})}
        if rows or captions or self.noun != before.noun:
            entries = [asdict(row) for row in rows.values()]
            about = {"quantities": entries, "captions": captions, "noun": self.noun}
            write_json(directory / FILE, about)


_DECLARED = TypeAdapter(Declared)


def declared(directory: Path) -> Declared:
    """What `quantities.json` in `directory` declares; nothing where there is none.

    Raises:
        CheckpointError: the file is no such table.
    """
    try:
        with (directory / FILE).open("rb") as file:
            return _DECLARED.validate_json(file.read(LARGEST))  # a part of a larger one is no JSON
    except FileNotFoundError:
        return Declared()
    except (OSError, ValidationError) as error:
        told = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise CheckpointError(f"{directory / FILE}: is no table of quantities: {told}") from error
