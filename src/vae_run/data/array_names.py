"""Which array of an archive is what: the names that users give to splits and labels."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_run.data.split_names import SPLITS
from vae_run.errors import DataError

_IMAGES = ("images", "image", "imgs", "x", "data")
_LABELS = ("labels", "label", "y", "targets", "target")
_CLASS_NAMES = ("class_names", "label_names")


@dataclass(frozen=True)
class Roles:
    """The arrays that are read.

    Attributes:
        images: {split: array of its images}.
        labels: {split: array of its labels}.
        class_names: the array of the names of labels 0, 1, ..., or None.
        notes: which names were taken for what, and which arrays are not read.
    """

    images: dict[str, str]
    labels: dict[str, str]
    class_names: str | None
    notes: tuple[str, ...]


def condition_arrays(
    where: str, names: Sequence[str], conditions: Sequence[str]
) -> dict[str, dict[str, str]]:
    """{condition: {split: array}} of the arrays `names` of the archive `where`.

    The array of the condition C and the split S is `S_C` or `C_S`; a single `C` is of `train`.

    Raises:
        DataError: two arrays are of one condition and split.
    """
    found: dict[str, dict[str, str]] = {condition: {} for condition in conditions}
    for name in names:
        for condition in conditions:
            split = _split_of(name, condition)
            if split in found[condition]:
                raise DataError(
                    f"{where}: arrays `{found[condition][split]}` and `{name}` could both be "
                    f"`{split}_{condition}`; keep one of them, or rename the other"
                )
            if split is not None:
                found[condition][split] = name
    return found


def _split_of(name: str, condition: str) -> str | None:
    """The split whose values of `condition` the array `name` has."""
    if name == condition:
        return "train"
    for split, known in SPLITS.items():
        for word in known:
            if name.lower() in (f"{word}_{condition}".lower(), f"{condition}_{word}".lower()):
                return split
    return None


def roles(where: str, names: Sequence[str], conditions: Sequence[str] = ()) -> Roles:
    """The roles of the arrays `names` of the archive `where`, besides those of `conditions`.

    A split `S` is `S`, `S_images` or `x_S`, its labels are `S_labels` or `y_S`, in any case and in
    other usual words; `images` and `labels`, or a single array of any name, are one set.

    Raises:
        DataError: two arrays have one role, or labels have no images.
    """
    found: dict[str, str] = {}
    used = {name for each in condition_arrays(where, names, conditions).values()
            for name in each.values()}  # fmt: skip
    names = [name for name in names if name not in used]
    for name in names:
        role = _role(name)
        if role is None and len(names) == 1:
            role = "train"
        if role in found:
            raise DataError(
                f"{where}: arrays `{found[role]}` and `{name}` could both be `{role}`; keep one of "
                "them, or rename the other"
            )
        if role is not None:
            found[role] = name
    for split in ("val", "test"):
        if f"{split}_labels" in found and split not in found and "train" in found:
            raise DataError(
                f"{where}: array `{split}` is missing, but there is `{found[f'{split}_labels']}`"
            )
    notes = [f"{name} is read as {role}" for role, name in found.items() if name != role]
    left = [name for name in names if name not in found.values()]
    told = [f"{where}: {', '.join(notes)}"] if notes else []
    told += [f"{where}: not read: {', '.join(left)}"] if left else []
    return Roles(
        {split: found[split] for split in SPLITS if split in found},
        {split: found[f"{split}_labels"] for split in SPLITS if f"{split}_labels" in found},
        found.get("class_names"),
        tuple(told),
    )


def _role(name: str) -> str | None:
    """`train`, `train_labels`, ... or `class_names`; None for a name that means nothing here."""
    words = re.sub(r"[-. ]", "_", name.lower())
    if words in _CLASS_NAMES:
        return "class_names"
    for split, known in SPLITS.items():
        for word in known:
            rest = re.sub(f"^{word}(_|$)|_{word}$", "", words)
            if rest != words:
                return _of(split, rest)
    return _of("train", words) if words else None


def _of(split: str, rest: str) -> str | None:
    """The role of the array of `split` whose name goes on with `rest`."""
    if rest in ("", *_IMAGES):
        return split
    return f"{split}_labels" if rest in _LABELS else None


def read_labels(where: str, labels: NDArray[Any], count: int) -> NDArray[Any]:
    """`labels`, [N] or [N, 1], as int64 [N], or as text [N] if they are names of classes.

    Args:
        where: their name in messages.
        labels: whole numbers or text.
        count: N, the number of images.

    Raises:
        DataError: they have another type or shape.
    """
    hint = ""
    if labels.dtype.kind == "f":
        hint = "; convert them, with .astype(int)"
    elif labels.ndim == 2 and labels.shape[1] > 1:
        hint = "; a label in one column an image, as .argmax(1) of one-hot columns"
    if labels.dtype.kind not in "biuUS" or labels.shape not in ((count,), (count, 1)):
        raise DataError(
            f"{where} is {labels.dtype} {labels.shape}; expected whole numbers or text, one for "
            f"each of the {count} images{hint}"
        )
    flat = labels.reshape(-1)
    if flat.dtype.kind == "S":
        flat = np.char.decode(flat, "utf-8", "replace")
    if flat.dtype.kind == "U":
        return flat
    if flat.dtype.kind == "u" and int(flat.max(initial=0)) > np.iinfo(np.int64).max:
        raise DataError(f"{where} has labels of 2**63 or more; number the classes from 0")
    return flat.astype(np.int64)
