"""The user's data in memory, as a dataset of vae-run reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vae_run.data.given import MEMORY, Given
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


def given_data(images: Any, labels: Any, *, val: Any, test: Any) -> GivenData:
    """The data that a program gives to `vae_run.fit`."""
    sources, beside = {"train": images}, {}
    if labels is not None:
        beside["train"] = labels
    for split, pair in (("val", val), ("test", test)):
        if pair is None:
            continue
        given = pair if isinstance(pair, tuple) else (pair,)
        sources[split] = given[0]
        if len(given) == 2:
            beside[split] = given[1]
    data = Given({k: _array(v) for k, v in sources.items()}, beside, {})
    return GivenData(data, {"dataset": "arrays", "dataset.path": MEMORY})


def _array(values: Any) -> Any:
    if hasattr(values, "detach"):
        return values.detach().cpu().numpy()
    if hasattr(values, "dtype"):
        return values
    raise DataError(f"images: found {type(values).__name__}; expected an array")
