"""The columns of a table that are features: which there are, and how each column was read.

Letters: N rows.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vae_run.data.category_texts import MISSING, called, in_other_notation
from vae_run.data.columns import Column, Columns
from vae_run.data.table_file import (
    TableFile,
    in_order,
    is_parquet,
    kind,
    missing,
    no_numbers,
    numbers,
    texts,
    whole,
)
from vae_run.errors import DataError

MOST_CATEGORIES = 1000
"""Different texts that a column may have; one with more holds names or prose, not categories."""
FEW = 10
"""Different values up to which a column of whole numbers may be meant as categories."""
INDEXES = ("", "__index_level_0__")
"""What an index that pandas wrote is called in a CSV file, and in a Parquet file."""
_MOST_TOLD = 8
"""Categories that are told with their counts."""


@dataclass(frozen=True)
class Reading:
    """How columns are taken; see `datasets.table.Table`."""

    label: str | None = None
    key: str | None = None
    drop: Sequence[str] = ()
    categorical: Sequence[str] = ()
    missing: Literal["refuse", "mean", "indicator"] = "refuse"

    def no_feature(self, name: str) -> str:
        """Why the column `name` is no feature; "" if it may be one."""
        if name in INDEXES:
            return "left out: an index that pandas wrote"
        if name in self.drop:
            return "left out: dataset.drop"
        uses = {self.label: "the label: dataset.label", self.key: "the key: dataset.key"}
        return f"{uses[name]}, no feature" if name in uses else ""


def understood(file: TableFile, reading: Reading) -> tuple[Columns, tuple[str, ...]]:
    """What the features of a table are, and notes on what was left out or may be meant otherwise.

    Raises:
        DataError: a key names a column that does not exist, or columns are neither numbers nor
            categories, or none is left.
    """
    _check_names(file, reading)
    found, told = list[Column](), list[tuple[str, str]]()
    said = {
        what: list[str]()
        for what in ("other", "prose", "empty", "constant", "few", "mixed", "notation")
    }
    for name in file.names:
        own, how = list[Column](), reading.no_feature(name)
        if not how:
            own, how = _read(file, name, reading, said)
        found += own
        told.append((name or "(unnamed)", how))
    _refuse(file.named, said, found)
    return Columns(tuple(found), tuple(told)), _notes(file, reading, said)


def _read(
    file: TableFile, name: str, reading: Reading, said: Mapping[str, list[str]]
) -> tuple[list[Column], str]:
    """The column `name` as features, and how it was read; `said` gets what is worth a note."""
    values = file.column(name)
    of, lost = kind(values) or "other", missing(values).any()
    if of in ("other", "empty"):
        said[of].append(f"{name} ({values.type})" if of == "other" else name)
        return [], "left out: it has no values"
    different = len(values.unique().drop_null())
    if different == 1 and not lost:
        said["constant"].append(name)
        return [], f"left out: all rows have {texts(values)[0]!r}"
    if of == "category" or name in reading.categorical:
        found, odd = texts(values), ("", "")
        if name in reading.categorical:
            found = found if is_parquet(file.path) else called(found)
        else:
            odd = meant_as_numbers(file, name)
            if odd[0]:
                said[odd[0]].append(odd[1])
        if different > MOST_CATEGORIES:
            said["prose"].append(f"{name} ({different:,}{odd[1] and ': ' + odd[1]})")
            return [], ""
        known = in_order(found)
        known += (MISSING,) if lost and MISSING not in known else ()
        return [Column(name, known)], _of_categories(found)
    few = different if different <= FEW and whole(values) else 0
    said["few"] += [name] if few else []
    own = [Column(name)]
    if lost and reading.missing == "indicator":
        own.append(Column(f"{name} missing", ("no", "yes"), indicates=name))
    return own, _of_numbers(values, few)


def meant_as_numbers(file: TableFile, name: str) -> tuple[str, str]:
    """Which cells keep a column of texts from being one of numbers, that it seems to be.

    Returns:
        `notation` where all its texts are numbers, of which some are in another notation, or
        `mixed` where most texts are numbers, and a clause on these cells. "" and "" elsewhere.
    """
    values = file.column(name)
    if kind(values) != "category" or str(values.type) == "bool":
        return "", ""
    odd, held = no_numbers(values), ~missing(values)
    if not odd.any():
        return "", ""
    if all(in_other_notation(text) for text in texts(values)[odd]):
        return "notation", f"{name} has numbers in another notation in {file.cells(name, odd)}"
    if int(odd.sum()) < 0.5 * int(held.sum()):
        return "mixed", f"{name} is no number in {file.cells(name, odd)}"
    return "", ""


def _of_numbers(values: Any, few: int) -> str:
    """How a column of numbers was read; `few` are its values where they may be categories."""
    found, lost = numbers(values), missing(values)
    held = found[~lost]
    text = f"a number from {held.min():.6g} to {held.max():.6g}, mean {held.mean():.4g}"
    if few:
        text += f"; {few} whole values (as categories: dataset.categorical)"
    return text + (f"; {int(lost.sum()):,} missing" if lost.any() else "")


def _of_categories(found: NDArray[np.object_]) -> str:
    """How a column of categories, str [N], was read, the most frequent first."""
    counts = Counter(MISSING if text is None else text for text in found)
    most = counts.most_common(_MOST_TOLD)
    text = ", ".join(f"{name} {count:,}" for name, count in most)
    more = len(counts) - len(most)
    return f"{len(counts)} categories: {text}" + (f" and {more:,} more" if more else "")


def _check_names(file: TableFile, reading: Reading) -> None:
    label, key = ([] if name is None else [name] for name in (reading.label, reading.key))
    for what, names in (
        ("label", label), ("key", key), ("drop", reading.drop), ("categorical", reading.categorical)
    ):  # fmt: skip
        unknown = [name for name in names if name not in file.names]
        if unknown:
            raise DataError(
                f"dataset.{what}: {file.named} has no column {', '.join(unknown)}; its columns are "
                f"{', '.join(file.names)}"
            )


def _refuse(named: str, said: dict[str, list[str]], found: list[Column]) -> None:
    drop = "leave them out with dataset.drop=[...]"
    if said["other"]:
        raise DataError(
            f"{named}: neither numbers nor categories: {', '.join(said['other'])}; write them as "
            f"numbers or texts, or {drop}"
        )
    if said["prose"]:
        raise DataError(
            f"{named}: columns of more than {MOST_CATEGORIES:,} different values are no "
            f"categories: {', '.join(said['prose'])}; {drop}"
        )
    if not found:
        raise DataError(
            f"{named} has no column to learn from: columns with one value, the label, the key and "
            "those in dataset.drop do not count. If its values are not separated by commas, set "
            "dataset.delimiter"
        )


def _notes(file: TableFile, reading: Reading, said: dict[str, list[str]]) -> tuple[str, ...]:
    index = [name or "the unnamed one" for name in file.names if name in INDEXES]
    left = {
        "Columns of an index are left out": index,
        "Columns that have one value in all rows are left out": said["constant"],
        "Columns without any value are left out": said["empty"],
        "Columns of dataset.drop are left out": list(reading.drop),
        f"Whole numbers of at most {FEW} different values are taken as numbers; name them in "
        "dataset.categorical if they are categories": said["few"],
    }
    notes = [f"{what}: {', '.join(names)}." for what, names in left.items() if names]
    remedy = "correct these cells or leave them empty, if they are numbers"
    notes += [
        f"Column {odd}, so that it is taken as categories; write numbers as 1000.5, with a decimal "
        "point and without separators of thousands, or name the column in dataset.categorical."
        for odd in said["notation"]
    ]
    notes += [
        f"Column {mixed}, so that it is taken as categories; {remedy}." for mixed in said["mixed"]
    ]
    return tuple(notes)
