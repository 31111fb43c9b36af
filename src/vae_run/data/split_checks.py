"""Splits that fit together."""

from collections.abc import Mapping

from vae_run.data.splits import Split
from vae_run.errors import DataError


def refuse_inconsistent(me: str, splits: Mapping[str, Split]) -> None:
    """Refuse empty splits, and splits that disagree in shape, data type or scale.

    Args:
        me: what the dataset is called.
        splits: {name: split}, one of them `train`.

    Raises:
        DataError: they are, or they do.
    """
    train = splits["train"]
    for name, split in splits.items():
        labels = len(split) if split.labels is None else split.labels.shape[0]
        if split.images.numel() == 0:
            shape = tuple(split.images.shape)
            raise DataError(f"{me}: {name} is empty (shape {shape}): give it at least one image")
        if labels != len(split):
            raise DataError(f"{me}: {name} has {len(split)} images but {labels} labels")
        for what, found, expected in (
            ("event shape", split.event_shape, train.event_shape),
            ("data type", str(split.images.dtype)[6:], str(train.images.dtype)[6:]),
            ("scale", split.scale, train.scale),
        ):
            if found != expected:
                raise DataError(
                    f"{me}: the {what} of {name} is {found}, that of train is {expected}: "
                    "all splits need the same"
                )
