"""The user's own tables, for a run that was trained on one: rows in, columns of a table out.

Letters: N rows, F features.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vae_run.data.category_texts import as_known
from vae_run.data.columns import Columns
from vae_run.data.conditions import LABEL
from vae_run.data.datasets.table import Table
from vae_run.data.user_input import UserImages
from vae_run.errors import ConfigError, DataError
from vae_run.evaluation.view import View
from vae_run.models.distributions.mixed_features import MixedFeatures
from vae_run.tasks.trained_model import Trained
from vae_run.tasks.user_files import TABLES

MOST_COLUMNS = 3
"""Columns whose contributions are written."""


def own_rows(run: Trained, words: str | Sequence[str], typed: Collection[str] = ()) -> UserImages:
    """The rows of a table file, standardised as those that the run was trained on.

    Their conditions are read too, except those that `typed` names.

    Raises:
        DataError: the file is missing or unreadable, or its columns are not those of the run.
    """
    given = [words] if isinstance(words, str) else list(words)
    dataset = run.settings.build("dataset")
    assert run.table is not None
    if len(given) != 1 or not isinstance(dataset, Table):
        raise DataError("input: the run was trained on a table; name one CSV or Parquet file.")
    file = Path(given[0]).expanduser()
    columns = () if run.model.conditions is None else run.model.conditions.columns.columns
    asked = Columns(tuple(c for c in columns if c.name != LABEL and c.name not in typed))
    split, classes = dataset.rows(f"input={file}", file, run.table, asked, run.class_names)
    images = UserImages.of_split(split, str(file))
    if split.conditions is not None:
        entries = {c.name: split.conditions[:, place] for c, place in asked.places()}
        images = replace(images, given=entries)
    if classes is None:
        return images
    if run.class_names:
        classes = as_known(classes.astype(str).astype(object), run.class_names).astype(str)
    labels = _labels(classes, run.class_names)
    return replace(images, classes=classes.astype(str), labels=labels)


def _labels(classes: NDArray[Any], class_names: Sequence[str]) -> Tensor | None:
    """The label of every class, if the run knows all of them."""
    if classes.dtype.kind == "i" and not class_names:
        return torch.from_numpy(classes)
    number = {name: label for label, name in enumerate(class_names)}
    texts = classes.astype(str).tolist()
    if set(texts) - number.keys():
        return None
    return torch.tensor([number[name] for name in texts])


def largest_contributions(
    views: Iterable[View], table: Columns | None, width: int
) -> dict[str, NDArray[Any]]:
    """`column_1`, `contribution_1` and so on: what a row is strange by, the largest first.

    Under `likelihood=mixed` the contribution of a column is its part of -log p(x | z) in nats, z
    the mean of the code; over all columns they sum to it. Else it is the squared error divided by
    the number of features, and they sum to the mse. Of a column of categories the features are
    summed.

    Args:
        views: of vectors [B, F].
        table: the columns of the features; None: they are numbered.
        width: F.
    """
    names = [str(place) for place in range(width)]
    of = torch.arange(width)
    if table is not None:
        names = [column.name for column in table.columns]
        of = torch.tensor(
            [i for i, column in enumerate(table.columns) for _ in range(column.width)]
        )
    values, places = list[Tensor](), list[Tensor]()
    for parts in _parts(views):
        summed = torch.zeros(len(parts), len(names), dtype=torch.double)
        summed.index_add_(1, of, parts)
        top = summed.topk(min(MOST_COLUMNS, len(names)), dim=1)
        values.append(top.values)
        places.append(top.indices)
    each, where = torch.cat(values).numpy(), torch.cat(places).numpy()
    found: dict[str, NDArray[Any]] = {}
    for rank in range(each.shape[1]):
        found[f"column_{rank + 1}"] = np.array(names)[where[:, rank]]
        found[f"contribution_{rank + 1}"] = each[:, rank]
    return found


def _parts(views: Iterable[View]) -> Iterator[Tensor]:
    """What every feature contributes, float64 [B, F] of each batch; see above."""
    for view in views:
        for batch in view.batches():
            model = view.model.given(batch.given).beside(batch.input)
            p = model.decode(model.encode(batch.input).mean)
            if isinstance(p, MixedFeatures):
                yield p.contributions(batch.target).cpu().double()
            else:
                error = (p.mean - batch.target).cpu().double()
                yield error.square() / error.shape[1]


def in_units(run: Trained, features: Tensor, reserved: Iterable[str] = ()) -> dict[str, Any]:
    """Rows of features [N, F] as columns of the table that the run was trained on, in its units.

    Raises:
        ConfigError: a column is called as one of `reserved`, which stand beside them.
    """
    assert run.table is not None
    found = run.table.table(features)
    if taken := sorted(set(reserved) & found.keys()):
        raise ConfigError(
            f"output: the table has a column {taken[0]}, which the file would have twice. Rename "
            "it in the table that the run is trained on."
        )
    return found


def refuse_ending(path: Path, run: Trained) -> None:
    """Refuse tables of images, and pictures of rows.

    Raises:
        ConfigError: the ending of `output` is of the other kind.
    """
    known = TABLES if run.table is not None else (".png", ".npz")
    if path.suffix.lower() not in known:
        raise ConfigError(
            f"output: {path}: {run.noun} are written to a file that ends in {' or '.join(known)}."
        )
