"""Splits brought to one scale by the statistics of their training images, or of those of a run."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from vae_run.data.category_texts import as_known
from vae_run.data.columns import Columns
from vae_run.data.scaling import Kind, Scaling, statistics
from vae_run.data.splits import Split, Splits
from vae_run.errors import DataError

_MOST_NAMED = 20
"""Features or channels that a note lists at most."""
_MISSING = WeakTensorKeyDictionary()
"""Which values [N, F] of a table were missing, by its features: these have 0 there."""
_CHANNELS = ("feature", "channel", "channel")
"""What has statistics of its own, in data whose events have 1, 2 or 3 axes."""


def scaled_by_train(splits: Splits, kind: Literal["none"] | Kind) -> Splits:
    """`splits` in their own units, scaled by the statistics of the training images.

    The numbers of a table are standardised whatever `kind` is; other data are scaled as it says.
    """
    if splits.table is not None:
        found = statistics(lambda: values(splits.train))
        fitted = splits.table.fitted(splits.train.images)
        constant = [
            column.name
            for column, place in fitted.places()
            if column.categories is None and found.constant[place.start]
        ]
        notes = splits.notes + _constant_note("Columns", constant)
        table = replace(splits, table=fitted, notes=notes)
        return table.each(lambda split: _rows(split.images, split, fitted))
    if kind == "none":
        return splits
    found = statistics(lambda: values(splits.train))
    double = splits.train.images.dtype == torch.float64
    exact = double and found.exact
    if double and not exact:
        found = statistics(lambda: (x.float() for x in values(splits.train)))
    scaling = Scaling.of(kind, found, len(splits.event_shape) - 1, exact=exact)
    what = _CHANNELS[scaling.axes]
    constant = [str(place) for place, same in enumerate(found.constant) if same]
    scaled = _each(
        replace(splits, scaling=scaling), lambda x: scaling.scaled(x if exact else x.float())
    )
    notes = splits.notes + _scaling_note(scaled, scaling, what)
    return replace(scaled, notes=notes + _constant_note(f"{what.capitalize()}s", constant))


def values(split: Split) -> Iterator[Tensor]:
    """All images in pieces, 8-bit data as float32 in [0, 1], floats in the type they have."""
    for piece in split.chunks():
        yield piece if split.scale == 1.0 else piece.to(torch.float32) * (1.0 / split.scale)


def scaled_split(split: Split, scaled: Callable[[Tensor], Tensor]) -> Split:
    """`split` as float32, `scaled` from its values, in which 8-bit data lie in [0, 1]."""
    images = torch.empty((len(split), *split.event_shape))
    start = 0
    for piece in values(split):
        images[start : start + len(piece)] = scaled(piece)
        start += len(piece)
    return replace(split, images=images.to(split.device), scale=1.0, mapped=None)


def restated(
    splits: Splits, table: Columns | None = None, scaling: Scaling | None = None
) -> Splits:
    """`splits`, whatever they are scaled by, in the scale of a trained run.

    Args:
        splits: of the same event shape as the run's.
        table: the columns of the run, if it was trained on a table.
        scaling: of the run, if its data were scaled.

    Raises:
        DataError: the columns or the categories are not those that the run was trained on; or
            `splits` are scaled, and the run's data were not.
    """
    if table is not None and splits.table is not None:
        splits = replace(splits, table=_named_as(splits.table, table))
    own = splits.table or splits.scaling
    if table is not None and (splits.table is None or splits.table.features != table.features):
        raise _other_columns(splits.table, table)
    if own == (table or scaling):
        return splits
    if table is None and scaling is None:
        if splits.scaling is None:
            return splits
        raise DataError(
            f"dataset.scale={splits.scaling.kind}: the run was trained on values as they are. "
            "Evaluate it with dataset.scale=none."
        )
    if table is not None:
        assert splits.table is not None
        return replace(splits, table=table).each(partial(_rows_restated, splits.table, table))
    assert scaling is not None

    def changed(x: Tensor) -> Tensor:
        return scaling.scaled(x if splits.scaling is None else splits.scaling.raw(x))

    return _each(replace(splits, scaling=scaling), changed)


def _rows(raw: Tensor, split: Split, columns: Columns) -> Split:
    """`split` with features of the rows `raw` [N, F], in which missing values are NaN."""
    images, missing = columns.scaled(raw).to(split.device), raw.isnan()
    if bool(missing.any()):
        _MISSING[images] = missing
    return replace(split, images=images, scale=1.0, mapped=None)


def _rows_restated(own: Columns, run: Columns, split: Split) -> Split:
    """`split`, whose rows are in the scale of `own`, in that of `run`; missing values stay 0."""
    raw = own.raw(split.images)
    if split.images in _MISSING:
        raw = raw.masked_fill(_MISSING[split.images], torch.nan)
    return _rows(raw, split, run)


def _named_as(own: Columns, run: Columns) -> Columns:
    """`own`, whose categories are those of `run` in another notation, with the names of `run`.

    Runs of earlier versions know the category of a cell `007` of a column of numbers as `7`.
    """
    known, columns = {column.name: column.categories for column in run.columns}, []
    for column in own.columns:
        theirs = known.get(column.name)
        if column.categories is not None and theirs is not None:
            named = as_known(np.array(column.categories, dtype=object), theirs)
            if tuple(named) == theirs:
                column = replace(column, categories=theirs)
        columns.append(column)
    return Columns(tuple(columns), own.told)


def _other_columns(own: Columns | None, run: Columns) -> DataError:
    """What is said of columns that are not those of the run."""
    found = set(() if own is None else own.features)
    lacking = [name for name in run.features if name not in found]
    further = sorted(found - set(run.features))
    return DataError(
        "dataset: its columns are not those that the run was trained on"
        + (f"; lacking: {', '.join(lacking[:10])}" if lacking else "")
        + (f"; unknown: {', '.join(further[:10])}" if further else "")
        + ("" if lacking or further else "; their order differs")
        + ". Evaluate the run on a table of the same columns and categories."
    )


def _each(splits: Splits, scaled: Callable[[Tensor], Tensor]) -> Splits:
    """`splits` with the images of every split `scaled`."""
    return splits.each(lambda split: scaled_split(split, scaled))


def _scaling_note(splits: Splits, scaling: Scaling, what: str) -> tuple[str, ...]:
    """What was done, and how many values of val and test leave the range of train."""
    assert scaling.extent is not None
    low, high = scaling.extent
    said = (
        f"dataset.scale={scaling.kind}: by the training {splits.noun}, in [{low:.4g}, {high:.4g}], "
    )
    if scaling.kind == "standard":
        return (f"{said}every {what} has mean 0 and standard deviation 1.",)
    said += f"the least value of every {what} is 0 and the greatest 1"
    total = outside = 0
    for split in (splits.val, splits.test):
        for piece in values(split):
            total, outside = total + piece.numel(), outside + int(((piece < 0) | (piece > 1)).sum())
    if not outside:
        return (f"{said}.",)
    return (
        f"{said}; {outside / total:.2g} of the values of val and test lie outside, and are kept.",
    )


def _constant_note(what: str, names: Sequence[str]) -> tuple[str, ...]:
    """A sentence on what has one value in all training images."""
    if not names:
        return ()
    more = "" if len(names) <= _MOST_NAMED else f" and {len(names) - _MOST_NAMED} more"
    listed = ", ".join(names[:_MOST_NAMED])
    return (
        f"{what} that have one value in all training data, and are not scaled: {listed}{more}.",
    )
