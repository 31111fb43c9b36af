"""Labels in arrays of users, numbers or texts, as numbers that count for every split.

Letters: N images of a split.
"""

from collections.abc import Mapping, Sized
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from vae_run.data.array_names import read_labels
from vae_run.data.array_source import ArraySource
from vae_run.data.class_labels import numbered
from vae_run.errors import DataError


def numbered_labels(
    source: ArraySource,
    arrays: Mapping[str, str],
    class_names: str | None,
    splits: Mapping[str, Sized],
) -> tuple[dict[str, Tensor], tuple[str, ...] | None, dict[str, int]]:
    """The labels of each split as numbers, which mean the same classes in all of them.

    Args:
        source: has the arrays.
        arrays: {split: its array of labels}, whole numbers or texts.
        class_names: the array of the names of labels 0, 1, ..., or None.
        splits: {split: its N images}.

    Returns:
        The labels int64 [N] of each split that has some, the names of labels 0, 1, ..., and the
        label of each class that has a name.

    Raises:
        DataError: labels are of another type or number or of two types, or have no name.
    """
    read: dict[str, NDArray[Any]] = {}
    for split, name in arrays.items():
        read[split] = read_labels(source.where(name), source.array(name), len(splits[split]))
    texts = _all_texts(source, arrays, read)
    names = None if class_names is None else _given_names(source, class_names)
    named_so = {name: label for label, name in enumerate(names or ())}
    if not texts:
        for split, own in read.items() if names is not None else ():
            _refuse_unnamed(source.where(arrays[split]), own, f"`{class_names}`", len(named_so))
        return {split: torch.from_numpy(own) for split, own in read.items()}, names, named_so
    place, found = numbered(name for labels in read.values() for name in labels.tolist())
    if names is not None:
        if unknown := sorted(set(place) - set(names)):
            raise DataError(
                f"{source.named}: `{class_names}` does not name {unknown[:10]}, which are labels"
            )
        place, found = named_so, names
    numbers = {key: torch.tensor([place[name] for name in read[key].tolist()]) for key in read}
    return numbers, found, place


def _all_texts(
    source: ArraySource, arrays: Mapping[str, str], read: Mapping[str, NDArray[Any]]
) -> bool:
    """Whether the labels of all splits are texts, and not those of all of them numbers."""
    texts = [own for own in read.values() if own.dtype.kind == "U"]
    if texts and len(texts) < len(read):
        kinds = ", ".join(f"{source.title(arrays[one])} {read[one].dtype}" for one in read)
        raise DataError(
            f"{source.named}: labels are text in one split and numbers in another ({kinds})"
        )
    return bool(texts)


def _refuse_unnamed(where: str, labels: NDArray[Any], names: str, count: int) -> None:
    """Refuse labels, called `where`, that are not below the `count` of `names`."""
    if not 0 <= labels.min() <= labels.max() < count:
        raise DataError(
            f"{where} has labels from {labels.min()} to {labels.max()}, but {names} names {count} "
            "classes"
        )


def _given_names(source: ArraySource, name: str) -> tuple[str, ...]:
    """The array of the names of labels 0, 1, ..."""
    names = source.array(name)
    if names.dtype.kind != "U" or names.ndim != 1 or len(set(names.tolist())) < len(names):
        raise DataError(
            f"{source.where(name)} is {names.dtype} {names.shape}; expected different texts "
            "[classes]"
        )
    return tuple(names.tolist())
