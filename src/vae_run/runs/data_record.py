"""What `environment.json` tells of the data of a run, and how other data differ from that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from vae_run.data.splits import Splits

MOST_CLASSES = 100
"""Classes whose numbers of images are kept; of more classes none is."""
MOST_TOLD = 5


def record_of(splits: Splits) -> dict[str, Any]:
    """The sizes of the splits, their shape E, and how many images each class has in all."""
    sizes = {"train": splits.train_size, "val": len(splits.val), "test": len(splits.test)}
    about: dict[str, Any] = {"images": sizes, "event_shape": list(splits.event_shape)}
    counts = dict[str, int]()
    for split in (splits.train, splits.val, splits.test):
        if split.labels is not None and splits.stream is None:
            for label, count in zip(*torch.unique(split.labels, return_counts=True), strict=True):
                name = _called(int(label), splits.class_names or ())
                counts[name] = counts.get(name, 0) + int(count)
    return {**about, "classes": counts} if 0 < len(counts) <= MOST_CLASSES else about


def _called(label: int, names: tuple[str, ...]) -> str:
    return names[label] if 0 <= label < len(names) else str(label)


def changes(before: Mapping[str, Any], splits: Splits) -> str:
    """How `splits` differ from the data that `environment.json`, `before`, tells of, in words."""
    found = [*_changes(before, record_of(splits), splits.noun)]
    same = f"as many {splits.noun} of the same shape and classes as then, but with other values"
    return "; ".join(found) or same


def _changes(before: Mapping[str, Any], now: Mapping[str, Any], noun: str) -> Iterator[str]:
    sizes = before.get("images") or {}
    for split, count in now["images"].items():
        if split in sizes and sizes[split] != count:
            yield f"{split}: {sizes[split]:,} {noun} then, {count:,} now"
    then, shape = before.get("event_shape"), now["event_shape"]
    if then is not None and list(then) != shape:
        yield f"shape: {'x'.join(map(str, then))} then, {'x'.join(map(str, shape))} now"
    if "classes" not in before or "classes" not in now:
        return
    old, new = before["classes"], now["classes"]
    told = [
        f"class {name}: {old.get(name, 0):,} then, {new.get(name, 0):,} now"
        for name in dict.fromkeys([*old, *new])
        if old.get(name, 0) != new.get(name, 0)
    ]
    yield from told[:MOST_TOLD]
    if more := told[MOST_TOLD:]:
        yield f"{len(more):,} more classes have other sizes"
