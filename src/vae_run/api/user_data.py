"""The user's data in memory: of which kind they are, and how a dataset of vae-run reads them.

Letters: N images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np

from vae_run.data.datasets.torch_dataset import read_items
from vae_run.data.given import ARGUMENTS, MEMORY, Given
from vae_run.data.split_names import SPLITS
from vae_run.errors import DataError

EXPECTED = (
    "an array or tensor [N, H, W], [N, C, H, W], [N, H, W, C] or [N, F], a data frame, a list of "
    "image files or of PIL images, a map-style torch Dataset, or a Dataset of Hugging Face"
)
LABEL_COLUMNS = ("label", "labels", "fine_label", "class")
"""What a column of labels of a Hugging Face dataset is called."""
ADDED = "label"
"""What the column of labels that are given beside a data frame is called in it."""


@dataclass(frozen=True)
class GivenData:
    """Data in memory, and how they are read.

    Attributes:
        data: the data.
        keys: of the configuration, which say how; what the user says comes after them.
    """

    data: Given
    keys: Mapping[str, Any]


@dataclass
class Source:
    """One split as it was understood.

    Attributes:
        option: of `dataset`, which reads it.
        values: an array, a data frame, or a list of files or PIL images.
        labels: [N], or None; of a data frame the name of a column.
        conditions: {name: values [N]}.
        class_names: the name of label i at index i, or None.
        keys: of the configuration, which the data themselves suggest.
    """

    option: str
    values: Any
    labels: Any = None
    conditions: Mapping[str, Any] = field(default_factory=dict)
    class_names: tuple[str, ...] | None = None
    keys: dict[str, Any] = field(default_factory=dict)


def given_data(
    images: Any, labels: Any, *, val: Any, test: Any, conditions: Mapping[str, Any] | None = None
) -> GivenData:
    """The data that a program gives to `vae_run.fit`, as its arguments say.

    Raises:
        DataError: they are of no known kind, or of different kinds; the argument is named.
    """
    splits = {"train": images, "val": val, "test": test}
    if isinstance(images, Mapping):
        splits = _named_splits(images, splits)
    found: dict[str, Source] = {}
    for split, values in splits.items():
        if values is not None:
            pair = isinstance(values, tuple) and len(values) in (2, 3)
            parts = values if pair else (values,)
            if split == "train" and labels is not None:
                parts = (parts[0], labels)
            found[split] = _understood(ARGUMENTS[split], *parts)
    first = found["train"]
    if conditions is not None:
        first.conditions = conditions
    for split, source in found.items():
        if source.option != first.option:
            raise DataError(
                f"{ARGUMENTS[split]}: is read by dataset={source.option}, but images by "
                f"dataset={first.option}; give data of the same kind."
            )
    data = Given(
        {split: source.values for split, source in found.items()},
        {
            split: source.labels
            for split, source in found.items()
            if source.labels is not None and source.option != "table"
        },
        {split: source.conditions for split, source in found.items() if source.conditions},
        first.class_names,
    )
    return GivenData(data, {"dataset": first.option, "dataset.path": MEMORY, **first.keys})


def _named_splits(images: Mapping[Any, Any], splits: Mapping[str, Any]) -> dict[str, Any]:
    """The splits that a mapping, such as a `DatasetDict`, holds by their usual names."""
    role = {word: split for split, words in SPLITS.items() for word in words}
    named = {role.get(str(key).lower(), str(key)): values for key, values in images.items()}
    if "train" not in named or set(named) - set(SPLITS):
        raise DataError(
            f"images: found a mapping of {', '.join(map(str, images))}; expected train and, "
            "optionally, val and test."
        )
    return {
        split: named.get(split, splits[split] if split != "train" else None) for split in SPLITS
    }


def _understood(
    argument: str, values: Any, labels: Any = None, conditions: Mapping[str, Any] | None = None
) -> Source:
    """One split, whatever kind of data it is."""
    for fits, read in _KINDS:
        if fits(values):
            source = read(argument, values, labels)
            source.conditions = conditions or {}
            return source
    raise DataError(f"{argument}: found {type(values).__name__}; expected {EXPECTED}.")


def _array(argument: str, values: Any, labels: Any) -> Source:
    if hasattr(values, "detach"):  # a tensor
        values = values.detach().cpu().numpy()
    return Source("arrays", np.asarray(values), _plain(labels))


def _plain(labels: Any) -> Any:
    """Labels as an array, wherever they were: in a tensor, a column, or a list."""
    if labels is None or isinstance(labels, str):
        return labels
    if hasattr(labels, "detach"):
        labels = labels.detach().cpu()
    return np.asarray(labels.to_numpy() if hasattr(labels, "to_numpy") else labels)


def _frame(argument: str, values: Any, labels: Any) -> Source:
    """A data frame; labels are one of its columns, or are added to it as one."""
    keys: dict[str, Any] = {"likelihood": "mixed"}
    if isinstance(labels, str):
        return Source("table", values, labels, keys={**keys, "dataset.label": labels})
    if labels is None:
        return Source("table", values, keys=keys)
    column, own = ADDED, [str(name) for name in getattr(values, "column_names", values.columns)]
    while column in own:
        column += "_"
    added = _plain(labels)
    if len(added) != len(values):
        raise DataError(
            f"{argument}: has {len(values):,} rows, but there are {len(added):,} labels."
        )
    return Source(
        "table", _with_column(values, column, added), column, keys={**keys, "dataset.label": column}
    )


def _with_column(frame: Any, name: str, values: Any) -> Any:
    """A copy of `frame` with one more column."""
    if hasattr(frame, "assign"):  # pandas
        return frame.assign(**{name: values})
    import pyarrow

    table = frame.to_arrow() if hasattr(frame, "to_arrow") else frame
    return table.append_column(name, pyarrow.array(values.tolist()))


def _files(argument: str, values: Sequence[Any], labels: Any) -> Source:
    files = [Path(fspath(one)).expanduser() for one in values]
    return Source("image_folder", files, _plain(labels))


def _pictures(argument: str, values: Sequence[Any], labels: Any) -> Source:
    """PIL images; if all have one size, they keep it, and if none has colours, one channel."""
    keys: dict[str, Any] = {}
    sizes, modes = {one.size for one in values}, {one.mode for one in values}
    if len(sizes) == 1:
        width, height = next(iter(sizes))
        keys["dataset.image_size"] = [height, width]
    keys["dataset.channels"] = 1 if modes <= {"1", "L"} else 3
    return Source("image_folder", list(values), _plain(labels), keys=keys)


def _stacked(argument: str, values: Sequence[Any], labels: Any) -> Source:
    """A list of arrays of one shape, or of lists of numbers."""
    own = [one.detach().cpu().numpy() if hasattr(one, "detach") else one for one in values]
    try:
        stacked = np.asarray(own)
    except ValueError as error:
        raise DataError(
            f"{argument}: holds arrays of different shapes; bring them to one"
        ) from error
    return _array(argument, stacked, labels)


def _hugging_face(argument: str, values: Any, labels: Any) -> Source:
    """A `datasets.Dataset` with one column of images."""
    features = values.features
    held = [name for name, kind in features.items() if type(kind).__name__ == "Image"]
    if len(held) != 1:
        raise DataError(
            f"{argument}: has {'several columns' if held else 'no column'} of images among "
            f"{', '.join(features)}; give a Dataset with one, as by select_columns."
        )
    column = next((name for name in LABEL_COLUMNS if name in features), None)
    names = None
    if labels is None and column is not None:
        labels = values[column]
        names = getattr(features[column], "names", None)
    source = _pictures(argument, list(values[held[0]]), None if labels is None else list(labels))
    source.class_names = None if names is None else tuple(names)
    return source


def _items(argument: str, values: Any, labels: Any) -> Source:
    """A map-style torch Dataset: each item is read once."""
    if isinstance(values, (str, bytes)) or not len(values):
        raise DataError(f"{argument}: found {values!r}; expected {EXPECTED}.")
    images, own = read_items(argument, values)
    names = getattr(values, "classes", None)
    known = isinstance(names, Sequence) and all(isinstance(name, str) for name in names)
    chosen = own if labels is None else _plain(labels)
    return Source("arrays", images, chosen, class_names=tuple(names) if known and names else None)


def _is_list(values: Any) -> bool:
    return isinstance(values, (list, tuple)) and bool(values)


_KINDS: Sequence[tuple[Callable[[Any], bool], Callable[[str, Any, Any], Source]]] = (
    (lambda v: hasattr(v, "detach") or isinstance(v, np.ndarray), _array),
    (lambda v: hasattr(v, "features") and hasattr(v, "column_names"), _hugging_face),
    (lambda v: hasattr(v, "columns") and not _is_list(v), _frame),
    (lambda v: _is_list(v) and isinstance(v[0], (str, PathLike)), _files),
    (lambda v: _is_list(v) and hasattr(v[0], "convert") and hasattr(v[0], "mode"), _pictures),
    (_is_list, _stacked),
    (lambda v: hasattr(v, "__array__"), _array),
    (lambda v: hasattr(v, "__getitem__") and hasattr(v, "__len__"), _items),
)
"""What tells a kind of data, and how it is read; the first that fits counts."""
