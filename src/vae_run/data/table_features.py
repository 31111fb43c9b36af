"""The rows of a table as features: numbers in their own units, and one-hot categories.

Letters: N rows, F features, K categories.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_run.data.category_texts import MISSING, as_known
from vae_run.data.columns import Column, Columns
from vae_run.data.table_columns import Reading
from vae_run.data.table_file import TableFile, kind, missing, no_numbers, numbers, texts
from vae_run.errors import DataError

_MOST_NAMED = 5


def features(file: TableFile, columns: Columns, reading: Reading) -> NDArray[np.float64]:
    """The rows of a table as float64 [N, F]: numbers in their own units, one-hot categories.

    Missing numbers are NaN.

    Raises:
        DataError: a column is lacking or of another kind, values are missing or infinite, or a
            category is unknown.
    """
    lacking = [
        column.name
        for column in columns.columns
        if column.indicates is None and column.name not in file.names
    ]
    if lacking:
        raise DataError(
            f"{file.named} has no column {', '.join(lacking)}, which the training table has"
        )
    if reading.missing == "refuse":
        _refuse_missing(file, columns)
    rows = np.zeros((len(file), len(columns.features)))
    for column, place in columns.places():
        values = file.column(column.indicates or column.name)
        if column.categories is None:
            rows[:, place.start] = _finite(file, column.name)
        elif column.indicates is not None:
            lost = np.isnan(numbers(values))
            rows[:, place.start], rows[:, place.start + 1] = ~lost, lost
        else:
            rows[:, place] = _one_hot(file, column)
    return rows


def _refuse_missing(file: TableFile, columns: Columns) -> None:
    lost = {c.name: missing(file.column(c.name)) for c in columns.columns if not c.indicates}
    said = [f"{name} ({file.cells(name, rows)})" for name, rows in lost.items() if rows.any()]
    if said:
        remedy = (
            "or use a run that was trained with dataset.missing=mean, or indicator"
            if file.named.startswith("input")
            else "leave the columns out with dataset.drop=[...], or set dataset.missing=mean, or "
            "indicator"
        )
        raise DataError(
            f"{file.named}: values are missing in {', '.join(said)}. Fill them in, {remedy}"
        )


def _finite(file: TableFile, name: str) -> NDArray[np.float64]:
    values = file.column(name)
    if kind(values) not in ("number", "empty"):
        said = (
            f"{file.named}: column {name} is {values.type}, but has numbers in the training table"
        )
        odd = no_numbers(values) if kind(values) == "category" else np.zeros(len(file), bool)
        if odd.any():
            raise DataError(
                f"{said}: {file.cells(name, odd)}. Correct these cells, or leave them empty where "
                "values are missing"
            )
        texts_alone = ": its numbers are stored as texts" * (kind(values) == "category")
        raise DataError(f"{said}{texts_alone}. Convert the column to numbers")
    found = numbers(values)
    if (infinite := np.isinf(found)).any():
        raise DataError(
            f"{file.named}: column {name} is infinite in {file.cells(name, infinite)}; replace "
            "these values, or leave the column out with dataset.drop=[...]"
        )
    return found


def _one_hot(file: TableFile, column: Column) -> NDArray[np.float64]:
    """[N, K]; a missing text is the category `MISSING`."""
    known = {name: place for place, name in enumerate(column.categories or ())}
    found = as_known(texts(file.column(column.name)), known)
    held = [MISSING if name is None else name for name in found]
    new = np.array([name not in known for name in held])
    if new.any():
        unknown = sorted({name for name in held if name not in known})
        several = f" and {len(unknown) - _MOST_NAMED:,} others" * (len(unknown) > _MOST_NAMED)
        raise DataError(
            f"{file.named}: column {column.name} has categories that the training table has not: "
            f"{', '.join(unknown[:_MOST_NAMED])}{several} ({file.cells(column.name, new)}). A "
            "model knows no probability of them: add rows with them to the training table, or "
            "leave these rows out"
        )
    rows = np.zeros((len(held), len(known)))
    rows[np.arange(len(held)), [known[name] for name in held]] = 1.0
    return rows


def labels_of(file: TableFile, name: str) -> NDArray[Any]:
    """The column `name` as classes: int64 [N] of whole numbers, else str [N].

    Raises:
        DataError: the column is lacking, or has missing values or fractions.
    """
    where = f"{file.named}: dataset.label={name}"
    values = _beside(file, "label", name)
    of = kind(values)
    if of == "number":
        found = numbers(values)
        odd = (found % 1 != 0) | (np.abs(found) >= 2**53)
        if not odd.any():
            return found.astype(np.int64)
        raise DataError(
            f"{where} is no whole number in {file.cells(name, odd)}; expected texts or whole "
            "numbers"
        )
    if of != "category":
        raise DataError(f"{where} is {values.type}; expected texts or whole numbers")
    return np.array(texts(values), dtype=str)


def keys_of(file: TableFile, name: str) -> NDArray[np.str_]:
    """The column `name` as what each row is called, str [N].

    Raises:
        DataError: the column is lacking, or has missing values, or is neither texts nor numbers.
    """
    values = _beside(file, "key", name)
    if kind(values) not in ("number", "category"):
        raise DataError(
            f"{file.named}: dataset.key={name} is {values.type}; expected texts or numbers"
        )
    return np.array(texts(values), dtype=str)


def _beside(file: TableFile, key: str, name: str) -> Any:
    """The column `name`, which `dataset.KEY` names and which every row must have."""
    where = f"{file.named}: dataset.{key}={name}"
    if name not in file.names:
        raise DataError(f"{where}: the table has no such column")
    values = file.column(name)
    if (lost := missing(values)).any():
        raise DataError(
            f"{where}: no {key} in {file.cells(name, lost)}; fill it in, or leave these rows out"
        )
    return values
