"""Splits of a table brought to the scale of their training rows."""

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from vae_run.data.columns import Columns
from vae_run.data.splits import Split, Splits
from vae_run.errors import DataError


def standardised(splits: Splits) -> Splits:
    """`splits` of a table in its own units, standardised by the statistics of the training rows.

    Splits that are of no table are returned as they are.
    """
    if splits.table is None:
        return splits
    fitted = splits.table.fitted(splits.train.images)
    constant = [
        column.name
        for column, place in fitted.places()
        if column.categories is None
        and not bool((splits.train.images[:, place.start].diff() != 0).any())
    ]
    notes = splits.notes
    if constant:
        notes += (
            f"Columns that have one value in all training rows, and are not scaled: "
            f"{', '.join(constant)}.",
        )
    return _each(replace(splits, table=fitted, notes=notes), fitted, lambda raw: raw)


def restated(splits: Splits, run: Columns) -> Splits:
    """`splits`, standardised by their own training rows, in the statistics of a trained run.

    Raises:
        DataError: the columns or the categories are not those that the run was trained on.
    """
    own = splits.table
    if own is None or own.features != run.features:
        found = set(() if own is None else own.features)
        lacking = [name for name in run.features if name not in found]
        further = sorted(found - set(run.features))
        raise DataError(
            "dataset: its columns are not those that the run was trained on"
            + (f"; lacking: {', '.join(lacking[:10])}" if lacking else "")
            + (f"; unknown: {', '.join(further[:10])}" if further else "")
            + ("" if lacking or further else "; their order differs")
            + ". Evaluate the run on a table of the same columns and categories."
        )
    if own == run:
        return splits
    return _each(replace(splits, table=run), run, own.raw)


def _each(splits: Splits, columns: Columns, raw: Callable[[Tensor], Tensor]) -> Splits:
    """`splits` with every split standardised by `columns`, after `raw` gives its own units."""

    def changed(split: Split) -> Split:
        images = columns.standardised(raw(split.images))
        return replace(split, images=images.to(split.images.device))

    others = None if splits.others is None else changed(splits.others)
    train, val, test = changed(splits.train), changed(splits.val), changed(splits.test)
    return replace(splits, train=train, val=val, test=test, others=others)
