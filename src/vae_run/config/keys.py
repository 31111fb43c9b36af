"""Full keys of a configuration, and the messages for keys that do not exist."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from vae_run.config.renamed import current


def unknown_key(key: str, known: Iterable[str]) -> str:
    """The message for a key that does not exist, with the most similar one that does."""
    near = nearest(key, known)
    return f"{key}: there is no such key." + (f" Did you mean {near}?" if near else "")


def misplaced_key(key: str, having: str) -> str:
    """The message for a key that exists, but not with the chosen task and options.

    `having` says which options have it, as `those_having` does; "" where that is not known.
    """
    where = f" {having}." if having else ""
    return f"{key}: has no meaning here; it belongs to other options or to another task.{where}"


def those_having(group: str, options: Sequence[str], ending: str = " it") -> str:
    """The `options` of a `group`, and that they have something: "trainer=a, b have it"."""
    verb = "has" if len(options) == 1 else "have"
    return f"{group}={', '.join(options)} {verb}{ending}"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The entry of `known` most similar to `word`; None if all differ by more than half.

    A word without a group is compared with the last parts of keys as well: `lr` is optimizer.lr.
    """
    keys = list(known)
    if "." not in word:
        same = [key for key in keys if key.rpartition(".")[2] == word]
        if same:
            return " or ".join(same[:3])
    matches = get_close_matches(word, keys, n=1, cutoff=0.5)
    return matches[0] if matches else None


PATHS = ("run", "runs", "init_from", "input", "output")
"""Keys outside of groups whose values are paths, or lists of paths."""

DATA_PATHS = ("path", "root", "cache")
"""Keys of every dataset whose values are paths."""

SPLIT_FILES: Mapping[str, tuple[str, ...]] = {"vae_run.data.datasets.table.Table": ("val", "test")}
"""Keys of datasets, by their class, that are paths as well; of others they name splits."""

SPLIT_KEYS = frozenset(f"dataset.{name}" for names in SPLIT_FILES.values() for name in names)
"""The full keys that are paths with some datasets alone."""


def split_files(dataset: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys of the section `dataset` of a configuration that name a file for each split."""
    return SPLIT_FILES.get(current(str(dataset.get("_target_"))), ())


def is_path(key: str) -> bool:
    """Whether the value of the full `key` is a path of the user's, or a list of such paths.

    In a group or a section it is told by the last part of its name, so that parts from outside the
    package are included: `dataset.root`, `sweep.dir`, `hydra.run.dir`. It is also true for
    `dataset.val` and `dataset.test`, which only some datasets have as paths (`split_files`).
    """
    section, _, name = key.rpartition(".")
    places = ("path", "root", "cache", "dir", "directory", "folder", "file", "attributes")
    return key in PATHS or key in SPLIT_KEYS or (bool(section) and name in places)


def flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(full key, value) of every leaf of a nested mapping."""
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
