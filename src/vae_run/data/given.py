"""Data that a Python program holds in memory and gives to a dataset in place of a file.

The configuration says `dataset.path=memory:` for them. A run keeps their fingerprint, not the data,
so that another process has to be given the same data again.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from vae_run.errors import DataError

MEMORY = "memory:"
"""The path that stands for data in memory."""


@dataclass(frozen=True)
class Given:
    """What a program gives, by the names that messages have for it.

    Attributes:
        sources: the data by split: `train` and, optionally, `val` and `test`. For `dataset=arrays`
            and `windows` arrays, for `table` data frames, for `image_folder` lists of files or of
            PIL images.
        labels: whole numbers or texts [N] by split.
        conditions: {name: values [N]} by split.
        class_names: the name of label i at index i, or None.
    """

    sources: Mapping[str, Any]
    labels: Mapping[str, Any]
    conditions: Mapping[str, Mapping[str, Any]]
    class_names: tuple[str, ...] | None = None


ARGUMENTS: Mapping[str, str] = {"train": "images", "val": "val", "test": "test"}
"""The argument that each split is given by."""

_given: ContextVar[Given | None] = ContextVar("given", default=None)


@contextmanager
def giving(data: Given | None) -> Iterator[None]:
    """Let datasets whose path is `memory:` have `data` inside, in this thread."""
    before = _given.set(data)
    try:
        yield
    finally:
        _given.reset(before)


def given() -> Given:
    """The data in memory.

    Raises:
        DataError: there are none, because the process is another than that which held them.
    """
    data = _given.get()
    if data is None:
        raise DataError(
            f"dataset.path={MEMORY} stands for data that a Python program held in memory, and this "
            "command has none. In Python, give the same data again: "
            "vae_run.Run(path).resume(images), or vae_run.evaluate(run, images). In a shell, name "
            "a file with the same data: dataset.path=FILE"
        )
    return data


def is_lacking(dataset: object) -> bool:
    """Whether `dataset` reads data in memory, and this process has none."""
    return getattr(dataset, "path", None) == MEMORY and _given.get() is None


def called(dataset: object) -> str:
    """What messages call `dataset`: its class, and where its files are, or the argument `images`.

    Args:
        dataset: a `data.dataset.Dataset`.
    """
    places = {key: getattr(dataset, key, None) for key in ("path", "root")}
    if places["path"] == MEMORY:
        return f"the argument {ARGUMENTS['train']}"
    where = [f"dataset.{key}={place}" for key, place in places.items() if place is not None]
    return type(dataset).__name__ + (f" ({where[0]})" if where else "")
