"""Rows of a table in a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from vae_run import plots

if TYPE_CHECKING:
    from torch import Tensor

    from vae_run.data.columns import Columns
    from vae_run.evaluation.base import Image


def of_rows(
    table: Columns,
    shown: Mapping[str, Tensor],
    title: str,
    note: str,
    names: Sequence[str] = (),
    below: Sequence[str] = (),
) -> Image:
    """The picture of rows of features, {name: [N, F]}, with the names of the features.

    `names` are those of the N rows, and `below` what stands below each of them.
    """
    categories = [c.categories is not None for c in table.columns for _ in range(c.width)]
    return plots.rows(shown, table.features, categories, title, note, names, below)
