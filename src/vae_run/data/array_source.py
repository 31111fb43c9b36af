"""Where the arrays of `dataset=arrays` come from: an .npz archive, or the memory of a program."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from vae_run.data.array_images import plain_array
from vae_run.data.checks import read_header, refuse_more_than_memory
from vae_run.data.given import ARGUMENTS, Given


class ArraySource(Protocol):
    """Arrays by their names.

    Attributes:
        named: the whole in messages.
        names: of the arrays.
    """

    named: str
    names: list[str]

    def where(self, name: str) -> str:
        """The array `name` in messages."""
        ...

    def title(self, name: str) -> str:
        """The array `name` in messages that name the whole."""
        ...

    def array(self, name: str) -> Any:
        """The array `name`."""
        ...


class Archive:
    """The arrays of an open .npz archive."""

    def __init__(self, named: str, found: Any) -> None:
        self.named, self.names, self._found = named, list(found.files), found

    def where(self, name: str) -> str:
        return f"{self.named}: array {self.title(name)}"

    def title(self, name: str) -> str:
        return f"`{name}`"

    def array(self, name: str) -> Any:
        """The array `name`, after a check of the size that its header claims."""
        info = self._found.zip.getinfo(f"{name}.npy")
        refuse_more_than_memory(info.file_size, self.where(name))
        with self._found.zip.open(info) as member:
            read_header(member, info)
        return self._found[name]


@dataclass(frozen=True)
class _Entry:
    """An array in memory, and the argument that gave it."""

    argument: str
    values: Any


class InMemory:
    """The arrays that a program has given, by the names that an archive would have for them."""

    def __init__(self, data: Given) -> None:
        self.named = "the data in memory"
        self._held: Mapping[str, _Entry] = dict(_entries(data))
        self.names = list(self._held)

    def where(self, name: str) -> str:
        return self.title(name)

    def title(self, name: str) -> str:
        return self._held[name].argument

    def array(self, name: str) -> Any:
        """The array `name`; labels that are Python's texts are arrays of text."""
        values = plain_array(self.where(name), self._held[name].values)
        texts = values.dtype == object and all(isinstance(one, str) for one in values.flat)
        return values.astype(np.str_) if texts else values


def _entries(data: Given) -> list[tuple[str, _Entry]]:
    found = []
    for split, values in data.sources.items():
        found.append((split, _Entry(ARGUMENTS[split], values)))
    for split, values in data.labels.items():
        argument = "labels" if split == "train" else f"the labels of {split}"
        found.append((f"{split}_labels", _Entry(argument, values)))
    for split, named in data.conditions.items():
        for name, values in named.items():
            argument = f"conditions[{name!r}]" + ("" if split == "train" else f" of {split}")
            found.append((f"{split}_{name}", _Entry(argument, values)))
    if data.class_names is not None:
        found.append(("class_names", _Entry("the names of classes", np.array(data.class_names))))
    return found
