"""Classes by number and by name: which label a name has, and the images of chosen classes.

Letters: N images of a split, M chosen labels.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vae_run.data.splits import Split
from vae_run.errors import DataError

_MOST_DIGITS = 18
"""Digits of a number that surely fits into int64."""


def natural(name: str) -> tuple[object, ...]:
    """A sort key by which `class2` comes before `class10`."""
    pieces = re.split(r"([0-9]+)", name)
    for place in range(1, len(pieces), 2):
        digits = pieces[place].lstrip("0")
        pieces[place] = f"{len(digits):09d}{digits}"
    return (*pieces, name)


def numbered(names: Iterable[str]) -> tuple[dict[str, int], tuple[str, ...] | None]:
    """The label of each name, and the names in the order of the labels.

    If all names are different whole numbers, these numbers are the labels, and the names are None
    unless they count from 0 without a gap. Otherwise labels number the names in natural order.
    """
    ordered = sorted(set(names), key=natural)
    numbers = [int(n) for n in ordered if re.fullmatch(f"[0-9]{{1,{_MOST_DIGITS}}}", n)]
    if ordered and len(numbers) == len(ordered) == len(set(numbers)):
        counting = numbers == list(range(len(numbers)))
        return dict(zip(ordered, numbers, strict=True)), tuple(ordered) if counting else None
    return {name: place for place, name in enumerate(ordered)}, tuple(ordered) or None


def labels_note(label: Mapping[str, int], limit: int = 12) -> tuple[str, ...]:
    """A sentence that says which label each class has; none without classes."""
    if not label:
        return ()
    if all(name.isdecimal() and int(name) == number for name, number in label.items()):
        return ("labels of the classes are the numbers that name them",)
    told = ", ".join(f"{number} {name}" for name, number in [*label.items()][:limit])
    more = len(label) - limit
    return (f"labels of the classes: {told}" + (f", and {more:,} more" if more > 0 else ""),)


def wanted_labels(
    classes: Sequence[int | str], class_names: Sequence[str] | None, present: Sequence[int]
) -> Tensor:
    """The labels that `dataset.classes` names by number or by name: int64 [M], in rising order.

    Raises:
        DataError: a name is no class.
    """
    key = f"dataset.classes={list(classes)}"
    place = {name: label for label, name in enumerate(class_names or ())}
    found = set()
    for one in classes:
        if isinstance(one, int):
            found.add(one)
        elif one in place:
            found.add(place[one])
        elif class_names is None and re.fullmatch(f"[0-9]{{1,{_MOST_DIGITS}}}", one):
            found.add(int(one))
        else:
            known = shortened(list(class_names) if class_names else list(present))
            raise DataError(f"{key}: there is no class {one!r}; the classes are {known}")
    return torch.tensor(sorted(found))


def of_classes(
    splits: Mapping[str, Split],
    classes: Sequence[int | str],
    class_names: Sequence[str] | None,
) -> tuple[dict[str, Split], Tensor]:
    """The images of `classes` in each of `splits`, and the labels of these classes, [M].

    Raises:
        DataError: a split has no labels or no image of the classes, or `train` lacks a class.
    """
    key = f"dataset.classes={list(classes)}"
    for name, split in splits.items():
        if split.labels is None:
            raise DataError(f"{key}: {name} has no labels to choose by; set dataset.classes=null")
    labels = splits["train"].labels
    assert labels is not None, "it was checked above"
    wanted = wanted_labels(classes, class_names, torch.unique(labels).tolist())
    kept = {}
    for name, split in splits.items():
        assert split.labels is not None, "it was checked above"
        present = torch.unique(split.labels)
        lacking = wanted if name == "train" else wanted[:0]
        lacking = lacking[~torch.isin(lacking, present)]
        kept[name] = split.take(torch.isin(split.labels, wanted).nonzero()[:, 0])
        if len(lacking) or not len(kept[name]):
            raise DataError(
                f"{key}: {name} has no example labelled "
                f"{(lacking if len(lacking) else wanted).tolist()}; its labels are "
                f"{shortened(present.tolist())}"
            )
    return kept, wanted


def shortened(values: Sequence[object], limit: int = 100) -> str:
    """A list as text, truncated to `limit` entries."""
    listed = list(values)
    return str(listed) if len(listed) <= limit else f"{str(listed[:limit])[:-1]}, ...]"


def one_numbering(
    names: Mapping[str, Sequence[str] | None], labels: Mapping[str, NDArray[Any]]
) -> tuple[tuple[str, ...] | None, dict[str, NDArray[Any]]]:
    """Labels that mean the same classes in all splits, where each split has names of its own.

    The numbers of the other splits become those that `train` has for the same names; classes that
    only others have follow after its own.

    Args:
        names: {split: the name of its label i at index i, or None}.
        labels: {split: whole numbers [N]}; texts stay as they are.

    Returns:
        The name of label i at index i, or None if `train` has no names; and the labels.

    Raises:
        DataError: names differ, and a split repeats one or has labels without a name, or `train`
            has no names; the lists are told.
    """
    lists = {split: tuple(own) for split, own in names.items() if own}
    first, found = lists.get("train"), dict(labels)
    if len(set(lists.values())) <= 1:
        return first, found
    known = list(dict.fromkeys([*(first or ()), *(one for own in lists.values() for one in own)]))
    for split, own in lists.items():
        numbers = found.get(split, np.zeros(0, np.int64))
        counted = numbers.dtype.kind in "biu"
        named = not counted or bool(((numbers >= 0) & (numbers < len(own))).all())
        if first is None or len(set(own)) < len(own) or not named:
            told = "; ".join(f"{split}: {shortened(one, 20)}" for split, one in lists.items())
            raise DataError(
                f"the splits name their classes differently ({told}), and their numbers cannot be "
                "matched by name; give labels as texts, or the same list of classes to each split"
            )
        if split in found and counted:
            place = np.array([known.index(name) for name in own], np.int64)
            found[split] = place[numbers.astype(np.int64)]
    return tuple(known), found
