"""Values of conditions as entries of a vector: what a condition is, and its values as numbers.

Letters: N images, K classes of a condition.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vae_run.data.class_labels import natural, shortened
from vae_run.data.columns import Column, Columns
from vae_run.data.splits import Split
from vae_run.errors import DataError
from vae_run.system.nouns import noun_of

MOST_CLASSES = 1000
"""Classes that a condition may have."""


def column_of(name: str, held: Sequence[NDArray[Any]]) -> Column:
    """What the condition `name` is, whose values are the arrays `held`, [N] each.

    Raises:
        ValueError: the arrays are of several kinds, or of none that can be given to a model.
    """
    kinds = {_kind(values) for values in held}
    if len(kinds) > 1 or None in kinds:
        types = ", ".join(str(values.dtype) for values in held)
        raise ValueError(f"{name} is {types}; expected floats, or whole numbers, or texts")
    if kinds == {"number"}:
        return Column(name)
    texts = {text for values in held for text in np.unique(_texts(values)).tolist()}
    if len(texts) > MOST_CLASSES:
        raise ValueError(
            f"{name} has {len(texts):,} different values, which are too many classes; store "
            "numbers as floats"
        )
    return Column(name, tuple(sorted(texts, key=in_order)))


def one_each(where: str, values: NDArray[Any], split: Split) -> NDArray[Any]:
    """`values`, [N] or [N, 1] for the N images, windows or vectors of `split`, as [N].

    Raises:
        DataError: they have another shape.
    """
    count = len(split)
    if values.shape not in ((count,), (count, 1)):
        raise DataError(
            f"{where} is {values.dtype} {values.shape}; expected one value for each of the "
            f"{count} {noun_of(split.event_shape)}"
        )
    return values.reshape(-1)


def vectors(
    named: str, values: Mapping[str, Mapping[str, NDArray[Any]]]
) -> tuple[Columns | None, dict[str, torch.Tensor]]:
    """What the conditions are whose `values`, [N] of each split, are {condition: {split: values}}.

    Returns:
        The columns, None for no condition; and float64 [N, P] of each split, in their own units.

    Raises:
        DataError: values are of several kinds or not finite, or too many to be classes.
    """
    columns, blocks = [], dict[str, list[NDArray[np.float64]]]()
    for name, held in values.items():
        try:
            columns.append(column_of(name, list(held.values())))
            for split, own in held.items():
                blocks.setdefault(split, []).append(encoded(columns[-1], own))
        except ValueError as error:
            raise DataError(f"condition: {named}: {error}") from error
    found = {split: torch.from_numpy(np.concatenate(b, 1)) for split, b in blocks.items()}
    return (Columns(tuple(columns)) if columns else None), found


def encoded(column: Column, values: NDArray[Any]) -> NDArray[np.float64]:
    """`values` [N] of a condition as float64 [N, width], numbers in their own units.

    Of a condition that tells which numbers are missing, `values` are these numbers.

    Raises:
        ValueError: a class is unknown, or a number is not finite.
    """
    if column.indicates is not None:
        return np.array([[1.0, 0.0]]).repeat(len(values), 0)  # a value that is given is there
    if column.categories is None:
        if values.dtype.kind not in "fiu" or not np.isfinite(values).all():
            strange = values if values.dtype.kind not in "fiu" else values[~np.isfinite(values)]
            raise ValueError(f"{column.name}: found {strange[0]}, expected a finite number")
        return values.astype(np.float64)[:, None]
    place = {name: i for i, name in enumerate(column.categories)}
    held = _texts(values).tolist()
    if strange := sorted({name for name in held if name not in place}):
        raise ValueError(
            f"{column.name}: found {', '.join(strange[:10])}; its classes are "
            f"{shortened(column.categories)[1:-1]}"
        )
    rows = np.zeros((len(held), len(place)))
    rows[np.arange(len(held)), [place[name] for name in held]] = 1.0
    return rows


def separated(columns: Columns, names: Sequence[str], split: Split) -> tuple[Split, Columns]:
    """`split` of a table with the columns `names` as conditions in place of features, and which."""
    chosen = [(c, p) for c, p in columns.places() if (c.indicates or c.name) in names]
    entries = torch.zeros(split.images.shape[1], dtype=torch.bool)
    for _, place in chosen:
        entries[place] = True
    images, conditions = split.images[:, ~entries], split.images[:, entries]
    return replace(split, images=images, conditions=conditions), Columns(
        tuple(c for c, _ in chosen)
    )


def _kind(values: NDArray[Any]) -> str | None:
    return {"f": "number", **dict.fromkeys("biuUS", "class")}.get(values.dtype.kind)


def _texts(values: NDArray[Any]) -> NDArray[Any]:
    """Classes as text: whole numbers in decimal, booleans as `false` and `true`."""
    if values.dtype.kind == "b":
        return np.where(values, "true", "false")
    if values.dtype.kind == "S":
        return np.char.decode(values, "utf-8", "replace")
    return values.astype(str)


def in_order(name: str) -> tuple[object, ...]:
    """A sort key: whole numbers by value, other texts in natural order."""
    number = name.removeprefix("-").isdecimal()
    return (0, int(name)) if number else (1, *natural(name))
