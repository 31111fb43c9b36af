"""Each kind of data in memory as an array, a data frame, or a list of image files or PIL images.

Letters: N images.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike, fsdecode
from pathlib import Path
from typing import Any

import numpy as np

from vae_run.data.array_images import plain_array
from vae_run.data.datasets.torch_dataset import class_names, read_items
from vae_run.errors import DataError

EXPECTED = (
    "an array or tensor [N, H, W], [N, C, H, W], [N, H, W, C] or [N, F], a data frame, a list of "
    "image files or of PIL images, a map-style torch Dataset, or a Dataset of Hugging Face"
)
LABEL_COLUMNS = ("label", "labels", "fine_label", "class")
"""What a column of labels of a Hugging Face dataset is called."""
ADDED = "label"
"""What the column of labels that are given beside a data frame is called in it."""


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


def understood(
    argument: str, values: Any, labels: Any = None, conditions: Mapping[str, Any] | None = None
) -> Source:
    """One split, whatever kind of data it is.

    Args:
        argument: what messages call it.
        values, labels, conditions: as of `vae_run.fit`.

    Raises:
        DataError: it is of no known kind, or its elements are of several.
    """
    for fits, read in _KINDS:
        if fits(values):
            source = read(argument, values, labels)
            source.conditions = conditions or {}
            return source
    raise DataError(f"{argument}: found {type(values).__name__}; expected {EXPECTED}.")


def _array(argument: str, values: Any, labels: Any) -> Source:
    return Source("arrays", plain_array(argument, values), _plain(argument, labels))


def _plain(argument: str, labels: Any) -> Any:
    """Labels as an array, wherever they were: in a tensor, a column, or a list."""
    named = "labels" if argument == "images" else f"the labels of {argument}"
    if labels is None:
        return None
    if isinstance(labels, str):
        raise DataError(
            f"{named}: found {labels!r}, the name of a column, but {argument} has no columns; "
            "expected whole numbers or texts [N]"
        )
    if isinstance(labels, Sequence) and any(isinstance(one, str) for one in labels):
        for place, one in enumerate(labels):
            if not isinstance(one, str):  # numpy would write it as a text, NaN as "nan"
                raise DataError(
                    f"{named}[{place}] is {one!r}, while others are texts; expected whole numbers "
                    "or texts, of one kind"
                )
    return plain_array(named, labels.to_numpy() if hasattr(labels, "to_numpy") else labels)


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
    added = _plain(argument, labels)
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
    _same_kind(argument, values, _is_path, "the path of an image file")
    files = [Path(os.path.expanduser(fsdecode(one))) for one in values]
    return Source("image_folder", files, _plain(argument, labels))


def _pictures(argument: str, values: Sequence[Any], labels: Any) -> Source:
    _same_kind(argument, values, _is_picture, "a PIL image")
    return Source("image_folder", list(values), _plain(argument, labels))


def picture_keys(pictures: Sequence[Any]) -> dict[str, Any]:
    """How PIL images are read: if all have one size, they keep it, and if none has colours, one
    channel; nothing for files.
    """
    if not all(map(_is_picture, pictures)):
        return {}
    keys: dict[str, Any] = {}
    sizes, modes = {one.size for one in pictures}, {one.mode for one in pictures}
    if len(sizes) == 1:
        width, height = next(iter(sizes))
        keys["dataset.image_size"] = [height, width]
    keys["dataset.channels"] = 1 if modes <= {"1", "L"} else 3
    return keys


def _same_kind(
    argument: str, values: Sequence[Any], fits: Callable[[Any], bool], expected: str
) -> None:
    for place, one in enumerate(values):
        if not fits(one):
            raise DataError(
                f"{argument}[{place}] is {type(one).__name__}; expected {expected}, as "
                f"{argument}[0] is"
            )


def _stacked(argument: str, values: Sequence[Any], labels: Any) -> Source:
    """A list of arrays of one shape, or of lists of numbers."""
    own = [
        plain_array(f"{argument}[{place}]", one) if hasattr(one, "__array__") else one
        for place, one in enumerate(values)
    ]
    try:
        stacked = np.asarray(own)
    except (ValueError, TypeError) as error:
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
    if not hasattr(values, "__getitem__"):
        raise DataError(f"{argument}: is streamed; give a Dataset that is not (streaming=False).")
    column, names = None, None
    if isinstance(labels, str):
        column = labels
        if column not in features:
            raise DataError(
                f"{argument}: has no column {column!r} of labels among {', '.join(features)}."
            )
    elif labels is None:
        column = next((name for name in LABEL_COLUMNS if name in features), None)
    values = values.with_format(None)  # as PIL images, whatever it is set to
    if column is not None:
        labels, names = list(values[column]), getattr(features[column], "names", None)
    source = _pictures(argument, list(values[held[0]]), labels)
    source.class_names = None if names is None else tuple(names)
    return source


def _items(argument: str, values: Any, labels: Any) -> Source:
    """A map-style torch Dataset: each item is read once."""
    if isinstance(values, (str, bytes)) or not len(values):
        folder = isinstance(values, (str, bytes)) and os.path.isdir(values)
        raise DataError(
            f"{argument}: found {values!r}; expected {EXPECTED}."
            + " For a folder of images: vae_run.train('dataset=image_folder', 'dataset.path=...')."
            * folder
        )
    images, own = read_items(argument, values)
    chosen = own if labels is None else _plain(argument, labels)
    # The names are those of its own labels, and of texts, which name the classes themselves.
    given: Any = chosen
    meant = chosen is own or given.dtype.kind == "U" or np.array_equal(given, np.asarray(own))
    return Source("arrays", images, chosen, class_names=class_names(values) if meant else None)


def _is_path(value: Any) -> bool:
    return isinstance(value, (str, PathLike))


def _is_picture(value: Any) -> bool:
    return hasattr(value, "convert") and hasattr(value, "mode")


def _is_list(values: Any) -> bool:
    return isinstance(values, (list, tuple)) and bool(values)


_KINDS: Sequence[tuple[Callable[[Any], bool], Callable[[str, Any, Any], Source]]] = (
    (lambda v: hasattr(v, "detach") or isinstance(v, np.ndarray), _array),
    (lambda v: hasattr(v, "features") and hasattr(v, "column_names"), _hugging_face),
    (lambda v: hasattr(v, "columns") and not _is_list(v), _frame),
    (lambda v: _is_list(v) and _is_path(v[0]), _files),
    (lambda v: _is_list(v) and _is_picture(v[0]), _pictures),
    (_is_list, _stacked),
    (lambda v: hasattr(v, "__array__"), _array),
    (lambda v: hasattr(v, "__getitem__") and hasattr(v, "__len__"), _items),
)
"""What tells a kind of data, and how it is read; the first that fits counts."""
