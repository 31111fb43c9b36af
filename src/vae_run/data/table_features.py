"""The columns of a table as features: which there are, and the rows of a file as numbers.

Letters: N rows, F features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vae_run.data.columns import Column, Columns
from vae_run.data.table_file import in_order, kind, missing, numbers, texts, whole
from vae_run.errors import DataError

MISSING = "missing"
"""The category of a text that is missing, where missing values are allowed."""
MOST_CATEGORIES = 1000
"""Different texts that a column may have; one with more holds names or prose, not categories."""
FEW = 10
"""Different values up to which a column of whole numbers may be meant as categories."""
INDEXES = ("", "__index_level_0__")
"""What an index that pandas wrote is called in a CSV file, and in a Parquet file."""
_MOST_NAMED = 5


@dataclass(frozen=True)
class Reading:
    """How columns are taken; see `datasets.table.Table`."""

    label: str | None = None
    drop: Sequence[str] = ()
    categorical: Sequence[str] = ()
    missing: Literal["refuse", "mean", "indicator"] = "refuse"


def understood(named: str, table: Any, reading: Reading) -> tuple[Columns, tuple[str, ...]]:
    """What the features of `table` are, and notes on what was left out or may be meant otherwise.

    Raises:
        DataError: a key names a column that does not exist, or columns are neither numbers nor
            categories, or none is left.
    """
    _check_names(named, table, reading)
    found: list[Column] = []
    said: dict[str, list[str]] = {"other": [], "prose": [], "empty": [], "constant": [], "few": []}
    for name in table.column_names:
        if name in INDEXES or name == reading.label or name in reading.drop:
            continue
        values = table.column(name)
        of = "category" if name in reading.categorical and kind(values) == "number" else None
        of = of or kind(values) or "other"
        different = 0 if of in ("other", "empty") else len(values.unique().drop_null())
        if of in ("other", "empty"):
            said[of].append(f"{name} ({values.type})" if of == "other" else name)
        elif different == 1 and not missing(values):
            said["constant"].append(name)
        elif of == "category" and different > MOST_CATEGORIES:
            said["prose"].append(f"{name} ({different:,})")
        elif of == "category":
            lost = (MISSING,) if missing(values) else ()
            known = in_order(texts(values))
            found.append(Column(name, known + tuple(set(lost) - set(known))))
        else:
            found.append(Column(name))
            if missing(values) and reading.missing == "indicator":
                found.append(Column(f"{name} missing", ("no", "yes"), indicates=name))
            if different <= FEW and whole(values):
                said["few"].append(name)
    _refuse(named, said, found)
    return Columns(tuple(found)), _notes(table, reading, said)


def _check_names(named: str, table: Any, reading: Reading) -> None:
    label = [] if reading.label is None else [reading.label]
    for key, names in (
        ("label", label), ("drop", reading.drop), ("categorical", reading.categorical)
    ):  # fmt: skip
        unknown = [name for name in names if name not in table.column_names]
        if unknown:
            raise DataError(
                f"dataset.{key}: {named} has no column {', '.join(unknown)}; its columns are "
                f"{', '.join(table.column_names)}"
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
            f"{named} has no column to learn from: columns with one value, the label and those in "
            "dataset.drop do not count. If its values are not separated by commas, set "
            "dataset.delimiter"
        )


def _notes(table: Any, reading: Reading, said: dict[str, list[str]]) -> tuple[str, ...]:
    index = [name or "the unnamed one" for name in table.column_names if name in INDEXES]
    left = {
        "Columns of an index are left out": index,
        "Columns that have one value in all rows are left out": said["constant"],
        "Columns without any value are left out": said["empty"],
        "Columns of dataset.drop are left out": list(reading.drop),
        f"Whole numbers of at most {FEW} different values are taken as numbers; name them in "
        "dataset.categorical if they are categories": said["few"],
    }
    return tuple(f"{what}: {', '.join(names)}." for what, names in left.items() if names)


def features(named: str, table: Any, columns: Columns, reading: Reading) -> NDArray[np.float64]:
    """The rows of `table` as float64 [N, F]: numbers in their own units, one-hot categories.

    Missing numbers are NaN.

    Raises:
        DataError: a column is lacking or of another kind, values are missing or infinite, or a
            category is unknown.
    """
    lacking = [
        column.name
        for column in columns.columns
        if column.indicates is None and column.name not in table.column_names
    ]
    if lacking:
        raise DataError(f"{named} has no column {', '.join(lacking)}, which the training table has")
    if reading.missing == "refuse":
        _refuse_missing(named, table, columns)
    rows = np.zeros((table.num_rows, len(columns.features)))
    for column, place in columns.places():
        values = table.column(column.indicates or column.name)
        if column.categories is None:
            rows[:, place.start] = _finite(named, column.name, values)
        elif column.indicates is not None:
            lost = np.isnan(numbers(values))
            rows[:, place.start], rows[:, place.start + 1] = ~lost, lost
        else:
            rows[:, place] = _one_hot(named, column, texts(values))
    return rows


def _refuse_missing(named: str, table: Any, columns: Columns) -> None:
    counts = {c.name: missing(table.column(c.name)) for c in columns.columns if not c.indicates}
    said = [f"{name} ({count:,})" for name, count in counts.items() if count]
    if said:
        remedy = (
            "or use a run that was trained with dataset.missing=mean, or indicator"
            if named.startswith("input")
            else "leave the columns out with dataset.drop=[...], or set dataset.missing=mean, or "
            "indicator"
        )
        raise DataError(f"{named}: values are missing in {', '.join(said)}. Fill them in, {remedy}")


def _finite(named: str, name: str, values: Any) -> NDArray[np.float64]:
    if kind(values) not in ("number", "empty"):
        raise DataError(
            f"{named}: column {name} is {values.type}, but has numbers in the training table"
        )
    found = numbers(values)
    if infinite := int(np.isinf(found).sum()):
        raise DataError(
            f"{named}: column {name} has {infinite:,} infinite values; replace them, or leave the "
            "column out with dataset.drop=[...]"
        )
    return found


def _one_hot(named: str, column: Column, found: NDArray[np.object_]) -> NDArray[np.float64]:
    """[N, K]; a missing text is the category `MISSING`."""
    known = {name: place for place, name in enumerate(column.categories or ())}
    held = [MISSING if name is None else name for name in found]
    unknown = sorted({name for name in held if name not in known})
    if unknown:
        several = f" and {len(unknown) - _MOST_NAMED:,} others" * (len(unknown) > _MOST_NAMED)
        raise DataError(
            f"{named}: column {column.name} has categories that the training table has not: "
            f"{', '.join(unknown[:_MOST_NAMED])}{several}. A model knows no probability of them: "
            "add rows with them to the training table, or leave these rows out"
        )
    rows = np.zeros((len(held), len(known)))
    rows[np.arange(len(held)), [known[name] for name in held]] = 1.0
    return rows


def labels_of(named: str, table: Any, name: str) -> NDArray[Any]:
    """The column `name` as classes: int64 [N] of whole numbers, else str [N].

    Raises:
        DataError: the column is lacking, or has missing values or fractions.
    """
    where = f"{named}: dataset.label={name}"
    if name not in table.column_names:
        raise DataError(f"{where}: the table has no such column")
    values = table.column(name)
    if lost := missing(values):
        raise DataError(f"{where}: {lost:,} rows have no label; fill them in, or leave them out")
    of = kind(values)
    if of == "number":
        found = numbers(values)
        if (found % 1 == 0).all() and (np.abs(found) < 2**53).all():
            return found.astype(np.int64)
    if of != "category":
        raise DataError(f"{where} is {values.type}; expected texts or whole numbers")
    return np.array(texts(values), dtype=str)
