"""The user's data in memory: of which kind they are, and how a dataset of vae-run reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vae_run.api.data_kinds import EXPECTED, Source, picture_keys, understood
from vae_run.data.class_labels import one_numbering
from vae_run.data.given import ARGUMENTS, MEMORY, Given
from vae_run.data.split_names import SPLITS
from vae_run.errors import DataError


@dataclass(frozen=True)
class GivenData:
    """Data in memory, and how they are read.

    Attributes:
        data: the data.
        keys: of the configuration, which say how; what the user says comes after them.
    """

    data: Given
    keys: Mapping[str, Any]


def given_data(
    images: Any, labels: Any, *, val: Any, test: Any, conditions: Mapping[str, Any] | None = None
) -> GivenData:
    """The data that a program gives to `vae_run.fit`, as its arguments say.

    Raises:
        DataError: they are of no known kind, of different kinds or given twice, or number their
            classes differently; the argument is named.
    """
    found = {
        split: understood(ARGUMENTS[split], *parts)
        for split, parts in _parts(images, labels, val, test, conditions).items()
    }
    first = found["train"]
    for split, source in found.items():
        _refuse_mismatch(ARGUMENTS[split], source, first)
    names, numbered = one_numbering(
        {split: source.class_names for split, source in found.items()},
        {
            split: source.labels
            for split, source in found.items()
            if source.labels is not None and source.option != "table"
        },
    )
    data = Given(
        {split: source.values for split, source in found.items()},
        numbered,
        {split: source.conditions for split, source in found.items() if source.conditions},
        names,
    )
    keys = dict(first.keys)
    if first.option == "image_folder":
        keys = picture_keys([one for source in found.values() for one in source.values])
    return GivenData(data, {"dataset": first.option, "dataset.path": MEMORY, **keys})


def _parts(
    images: Any, labels: Any, val: Any, test: Any, conditions: Mapping[str, Any] | None
) -> dict[str, tuple[Any, ...]]:
    """{split: (data,), (data, labels) or (data, labels, conditions)} of the splits that are given.

    Raises:
        DataError: there are no training data, or something is given twice.
    """
    splits = {"train": images, "val": val, "test": test}
    if isinstance(images, Mapping):
        images = {key: values for key, values in images.items() if values is not None}
        splits = _named_splits(images, splits)
    if splits["train"] is None:
        raise DataError(f"images: found None; expected {EXPECTED}.")
    found: dict[str, tuple[Any, ...]] = {}
    for split, values in splits.items():
        if values is not None:
            pair = isinstance(values, tuple) and len(values) in (2, 3)
            found[split] = values if pair else (values,)
    more = {"labels": labels, "conditions": conditions}
    own = [*found["train"], None, None]
    for place, (name, values) in enumerate(more.items(), 1):
        if values is not None and own[place] is not None:
            raise DataError(f"{name}: are given twice, in a tuple with the images and beside them.")
        own[place] = values if own[place] is None else own[place]
    return {**found, "train": tuple(own[:3])}


def _refuse_mismatch(argument: str, source: Source, first: Source) -> None:
    """Refuse a split that is not read as `first`, the training data, is."""
    if source.option != first.option:
        raise DataError(
            f"{argument}: is read by dataset={source.option}, but images by "
            f"dataset={first.option}; give data of the same kind."
        )
    if source.option == "table" and source.labels not in (None, first.labels):
        named = "none" if first.labels is None else f"the column {first.labels}"
        raise DataError(
            f"{argument}: its labels are the column {source.labels}, those of images are {named}; "
            "give each split labels in a column of the same name."
        )
    if source.option != "arrays" and source.conditions:
        raise DataError(
            f"conditions: are given with arrays, but {argument} is read by dataset="
            f"{source.option}; the conditions of a data frame are columns that `condition` names."
        )


def _named_splits(images: Mapping[Any, Any], splits: Mapping[str, Any]) -> dict[str, Any]:
    """The splits that a mapping, such as a `DatasetDict`, holds by their usual names."""
    named = {_role(key): values for key, values in images.items()}
    if "train" not in named or set(named) - set(SPLITS):
        raise DataError(
            f"images: found a mapping of {', '.join(map(str, images))}; expected train and, "
            "optionally, val and test."
        )
    twice = [split for split in SPLITS if [*map(_role, images)].count(split) > 1]
    twice += [split for split in ("val", "test") if split in named and splits[split] is not None]
    if twice:
        raise DataError(
            f"images: the mapping of {', '.join(map(str, images))} and the arguments give "
            f"{twice[0]} twice; give it once."
        )
    return {**splits, **named}


def _role(key: Any) -> str:
    """The split that a key of a mapping means, or the key itself."""
    words = {word: split for split, words in SPLITS.items() for word in words}
    return words.get(str(key).lower(), str(key))
