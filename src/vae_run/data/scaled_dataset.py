"""The base class of datasets whose values can be brought to one scale."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import torch

from vae_run.data.dataset import BUILDING, Dataset
from vae_run.data.splits import Split

if TYPE_CHECKING:
    from vae_run.config.schema import Settings


@dataclass(frozen=True, kw_only=True)
class Scalable(Dataset):
    """Values of any unit, which may be scaled by the statistics of the training data.

    A feature of vectors, or a channel of windows and images, has statistics of its own. They are
    those of the training set after val and test were cut from it, and the run keeps them. Values
    of val and test that leave the range of train stay outside: clipping would hide anomalies,
    and could not be undone.

    Attributes:
        scale: `unit` maps the least and the greatest training value to 0 and 1; `standard` gives
            the training data mean 0 and standard deviation 1; `none`: values as they are.
    """

    scale: Literal["none", "unit", "standard"] = "none"

    @classmethod
    def conflicts(cls, settings: "Settings", options: Mapping[str, Any]) -> Iterator[str]:
        """Binary pixels, and likelihoods whose support scaled values leave."""
        scale, likelihood = options.get("scale", "none"), settings.classes["likelihood"]
        if scale == "none":
            return
        if options.get("binarize", "none") != "none":
            yield (
                f"dataset.scale={scale}: binary pixels have no scale. Use dataset.scale=none or "
                "dataset.binarize=none."
            )
        if settings.fixed.task not in BUILDING:
            return
        if likelihood.discrete:
            yield (
                f"dataset.scale={scale}: likelihood {likelihood.__name__} models grey levels, "
                "which scaled values are not. Use dataset.scale=none, or likelihood=gaussian."
            )
        elif scale == "standard" and likelihood.unit_interval:
            yield (
                f"dataset.scale=standard: likelihood {likelihood.__name__} models pixels in [0, "
                "1], which standardised values leave. Use dataset.scale=unit, or "
                "likelihood=gaussian."
            )


def of_one_type(splits: Mapping[str, Split]) -> dict[str, Split]:
    """`splits`, with those of float32 as float64 if others are, so that all have the same type."""
    kinds = {split.images.dtype for split in splits.values()}
    if kinds != {torch.float32, torch.float64}:
        return dict(splits)
    return {name: replace(each, images=each.images.double()) for name, each in splits.items()}
