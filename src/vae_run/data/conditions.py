"""What a model with several conditions is given: numbers and classes, as one vector an image.

Conditions are `Columns`, as those of a table: a number is one entry, (x - mean) / standard
deviation of the training rows; a class is one-hot.

Letters: N images, M examples of conditions, P entries of the vector, K classes of a condition.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae_run.data.batches import seeded
from vae_run.data.category_texts import as_known
from vae_run.data.class_labels import shortened
from vae_run.data.columns import Columns
from vae_run.data.condition_columns import column_of, encoded, in_order
from vae_run.data.splits import Splits
from vae_run.errors import DataError

LABEL = "label"
"""The condition that is the label of the dataset."""
EXAMPLES = 1024
"""Training rows whose conditions are kept with a model at most, M."""


@dataclass(frozen=True)
class Conditions:
    """The conditions of a model.

    Attributes:
        columns: their names, classes, means and standard deviations.
        examples: those of training rows in a random order, float32 [M, P]; samples are given them
            in turn.
    """

    columns: Columns
    examples: Tensor

    @classmethod
    def of_training(cls, splits: Splits) -> "Conditions | None":
        """Those of the training rows of `splits`, which are not `conditioned` yet; None: none."""
        if splits.conditions is None or splits.train.conditions is None:
            return None
        raw = _as_read(splits.train.conditions)
        columns = _fitted(splits.conditions, raw)
        order = torch.randperm(len(raw), generator=seeded("cpu", "examples of conditions"))
        some, _ = _restated(raw[order[:EXAMPLES]], splits.conditions, columns)
        return cls(columns, columns.scaled(some))

    @property
    def names(self) -> tuple[str, ...]:
        """What the conditions are called."""
        return tuple(column.name for column in self.columns.columns if column.indicates is None)

    @property
    def classes(self) -> dict[str, tuple[str, ...]]:
        """{condition: its classes}, none of a number."""
        return {c.name: c.categories or () for c in self.columns.columns if c.indicates is None}

    def state(self) -> dict[str, Any]:
        """Plain values and a tensor for a checkpoint, from which `of_state` makes them again."""
        return {"columns": self.columns.state(), "examples": self.examples.cpu()}

    @classmethod
    def of_state(cls, state: Mapping[str, Any] | None) -> "Conditions | None":
        """The conditions that `state` describes; None where there are none."""
        if state is None:
            return None
        return cls(Columns.of_state(state["columns"]), state["examples"].float().cpu())

    def vector(self, values: Mapping[str, Any]) -> Tensor:
        """`values`, one for all or N of each condition, as float32 [P] or [N, P].

        Raises:
            ValueError: a condition is lacking or unknown, or has a value that it cannot have.
        """
        if strange := sorted(values.keys() - set(self.names)):
            raise ValueError(f"{strange[0]} is no condition of the model: {', '.join(self.names)}")
        if lacking := [name for name in self.names if name not in values]:
            raise ValueError(f"a value of {', '.join(lacking)} is lacking")
        found = []
        for column, _ in self.columns.places():
            held = np.asarray(values[column.indicates or column.name])
            found.append(torch.from_numpy(encoded(column, held.reshape(-1))))
            found[-1] = found[-1][0] if held.ndim == 0 else found[-1]
        count = max((len(each) for each in found if each.dim() == 2), default=None)
        if count is not None:
            found = [each.expand(count, -1) if each.dim() == 1 else each for each in found]
        return self.columns.scaled(torch.cat(found, -1))


def with_labels(splits: Splits, conditions: Sequence[str]) -> Splits:
    """`splits` with their labels as the first condition, if `conditions` name them.

    Raises:
        DataError: a split has no labels.
    """
    if LABEL not in conditions:
        return splits
    parts = {"train": splits.train, "val": splits.val, "test": splits.test}
    for name, split in parts.items():
        if split.labels is None and len(split):
            raise DataError(
                f"condition: the {name} images have no labels. Use a dataset that has them, or "
                "leave label out."
            )
    held = {
        name: np.zeros(0, np.int64) if split.labels is None else split.labels.numpy()
        for name, split in parts.items()
    }
    column = column_of(LABEL, list(held.values()))
    for name, split in parts.items():
        one_hot = torch.from_numpy(encoded(column, held[name]))
        beside = [] if split.conditions is None else [split.conditions]
        parts[name] = replace(split, conditions=torch.cat([one_hot, *beside], 1))
    others = () if splits.conditions is None else splits.conditions.columns
    columns = Columns((column, *others))
    return replace(splits, **parts, conditions=columns)  # type: ignore[arg-type]


def conditioned(splits: Splits, conditions: Conditions | None) -> Splits:
    """`splits` as they were loaded, with float32 conditions in the terms of `conditions`.

    Training rows of classes that `conditions` do not know are of no class.

    Raises:
        DataError: val or test has rows of such classes, or conditions of another kind.
    """
    if conditions is None or splits.conditions is None:
        return splits
    own, columns = splits.conditions, conditions.columns
    _refuse_other_kinds(own, columns)
    found = {}
    for name, split in (("train", splits.train), ("val", splits.val), ("test", splits.test)):
        assert split.conditions is not None, "all splits have the same conditions"
        raw, unknown = _restated(_as_read(split.conditions), own, columns)
        if unknown and name != "train":
            condition, classes = next(iter(unknown.items()))
            raise DataError(
                f"condition: {name} has images whose {condition} is "
                f"{shortened(classes, 10)[1:-1]}, which no training image has. Leave them out, or "
                "cut the sets otherwise with dataset.split_seed."
            )
        found[name] = replace(split, conditions=columns.scaled(raw))
    for name in ("others", "val_others"):
        left = getattr(splits, name)
        found[name] = left and replace(left, conditions=None)
    return replace(splits, **found, conditions=columns)  # type: ignore[arg-type]


def as_loaded(splits: Splits, loaded: Splits) -> Splits:
    """`splits`, on whatever device, with the conditions that `loaded` had before `conditioned`."""
    parts = {
        name: replace(split, conditions=getattr(loaded, name).conditions)
        for name in ("train", "val", "test", "others", "val_others")
        if (split := getattr(splits, name)) is not None
    }
    return replace(splits, **parts, conditions=loaded.conditions)


def _as_read(values: Tensor) -> Tensor:
    """`values` [N, P] in the units that were read, and not `conditioned` before."""
    assert values.dtype == torch.float64, "conditions are expressed in a model's terms only once"
    return values


def _fitted(columns: Columns, raw: Tensor) -> Columns:
    """`columns` with the statistics, and only the classes, of the training rows `raw` [N, P]."""
    found = []
    for column, (_, place) in zip(columns.fitted(raw).columns, columns.places(), strict=True):
        if column.categories is not None and column.indicates is None:
            held = (raw[:, place] != 0).any(0).tolist()
            kept = zip(column.categories, held, strict=True)
            column = replace(column, categories=tuple(name for name, any_row in kept if any_row))
        found.append(column)
    return Columns(tuple(found))


def _restated(
    raw: Tensor, own: Columns, target: Columns
) -> tuple[Tensor, dict[str, tuple[str, ...]]]:
    """`raw` [N, P] of the columns `own` with the classes of `target`; and other classes it has."""
    wanted = dict(zip((c.name for c in own.columns), own.places(), strict=True))
    found, unknown = [], {}
    for column in target.columns:
        mine, place = wanted[column.name]
        values = raw[:, place]
        if column.categories is not None and mine.categories is not None:
            names = as_known(np.array(mine.categories, dtype=object), column.categories).tolist()
            position = {name: i for i, name in enumerate(names)}
            picked = torch.zeros(len(raw), len(column.categories), dtype=raw.dtype)
            for i, name in enumerate(column.categories):
                if name in position:
                    picked[:, i] = values[:, position[name]]
            lost = set(names) - set(column.categories)
            held = [name for name in lost if bool(values[:, position[name]].any())]
            if held:
                unknown[column.name] = tuple(sorted(held, key=in_order))
            values = picked
        found.append(values)
    return torch.cat(found, 1), unknown


def _refuse_other_kinds(own: Columns, target: Columns) -> None:
    """Refuse data whose conditions are not those of a trained model."""
    kinds = {column.name: column.categories is None for column in own.columns}
    for column in target.columns:
        if kinds.get(column.name) is not (column.categories is None):
            kind = "numbers" if column.categories is None else "classes"
            raise DataError(
                f"condition: the run was trained on {column.name} as {kind}, which the dataset "
                "does not have. Evaluate it on data with the same conditions, of the same type."
            )
