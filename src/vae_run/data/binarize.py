"""Static binarization: one fixed Bernoulli sample of every grey pixel.

Letters: N images of a split, E event shape.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from vae_run.data.memory_map import scratch
from vae_run.data.splits import Split
from vae_run.errors import DataError

_SEEDS = {
    "train": 0x5EED_B1_01,
    "val": 0x5EED_B1_02,
    "test": 0x5EED_B1_03,
    "others": 0x5EED_B1_04,
    "val_others": 0x5EED_B1_05,
}
"""One for each split; no run is likely to choose one of these numbers as its own seed."""
_CHUNK = 1024


def binarized(split: Split, name: Literal["train", "val", "test", "others", "val_others"]) -> Split:
    """`split` with every pixel replaced by one Bernoulli sample: uint8 0 or 1 of scale 1.

    The sample is the same in every run and on every machine.

    Args:
        split: images in [0, 1], on the CPU; the sample of memory-mapped images is kept in a file
            that is removed when the process ends.
        name: which split it is; each has a seed of its own.
    """
    generator = torch.Generator().manual_seed(_SEEDS[name])

    def samples() -> Iterator[Tensor]:
        for start in range(0, len(split), _CHUNK):
            grey = split.pixels(slice(start, start + _CHUNK))
            yield (torch.rand(grey.shape, generator=generator) < grey).to(torch.uint8)

    shape = (len(split), *split.event_shape)
    if split.mapped is not None:
        images = scratch(samples(), shape, split.mapped.file.parent)
        rows = torch.arange(len(split))
        mapped = replace(split.mapped, rows=rows)
        return replace(split, images=images, scale=1.0, resample=False, mapped=mapped)
    images = torch.cat([*samples(), torch.empty((0, *split.event_shape), dtype=torch.uint8)])
    return replace(split, images=images, scale=1.0, resample=False)


def refuse_not_grey(name: str, split: Split, mode: str) -> None:
    """Refuse pixel values outside [0, 1], which are no probabilities.

    Args:
        name: of the split in the message.
        split: what is to be binarized.
        mode: `static` or `dynamic`.

    Raises:
        DataError: there are some.
    """
    if not len(split):
        return
    low, high = split.extent
    if not (low >= 0 and high <= 1):
        raise DataError(
            f"dataset.binarize={mode}: {name} has values from {low:g} to {high:g}, but only data "
            "in [0, 1] can become binary pixels; set dataset.binarize=none or rescale the data"
        )
