"""The base class of datasets of image files, which are decoded once or at every start."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from vae_run.data.dataset import Dataset
from vae_run.data.images.cache import cached
from vae_run.data.images.decode_pool import decode_images
from vae_run.data.images.decoder import Decoder
from vae_run.data.images.source import Source
from vae_run.data.mapped import Mapped
from vae_run.data.splits import Split
from vae_run.errors import DataError
from vae_run.system.hardware import available_memory

FEW_IMAGES, FEW_BYTES = 10_000, 100_000_000
"""Sizes up to which `cache=auto` keeps no cache: decoding takes about a second."""

LARGEST_IMAGE = 2**28
"""Bytes of a decoded image at most: 16,384 x 16,384 grey pixels."""


@dataclass(frozen=True, kw_only=True)
class Decoded(Dataset):
    """Images stored in one file each.

    Attributes:
        cache: the folder in which decoded images are kept for later runs. `auto`: the folder
            `.vae-run-cache` beside the data, or the user's cache folder if that is read-only, and
            no cache for up to 10,000 files of up to 100 MB in total. `none`: images are decoded
            into memory at every start.
        memory: GiB of decoded images up to which they are read into memory, or onto the device, if
            they take no more than half of what is available; larger sets stay memory-mapped, and
            each batch is read from the cache.
    """

    cache: Annotated[str, Field(min_length=1)] = "auto"
    memory: Annotated[float, Field(ge=0)] = 2.0

    def keeps_in_memory(self, size: int) -> bool:
        """Whether mapped splits of `size` bytes together are read into memory.

        Half of the memory that is left is kept for the training.
        """
        return size <= min(self.memory * 2**30, available_memory() / 2)

    def decode(
        self,
        base: Path,
        parts: Mapping[str, Sequence[Path]],
        labels: Mapping[str, Tensor | None],
        decoder: Decoder,
    ) -> dict[str, Split]:
        """The splits of the image files `parts`, uint8 [N, C, H, W] of scale 255.

        Args:
            base: the folder of the dataset; the cache is kept beside it.
            parts: the files of each split.
            labels: int64 [N] of each split, or None.
            decoder: decodes a file to pixels.

        Raises:
            DataError: an image cannot be decoded or is too large, or the cache cannot be written.
        """
        source = Source(base.absolute(), parts, _accepted(decoder))
        names = {part: _names(base, paths) for part, paths in parts.items()}
        fingerprint, size = source.stat()
        few = source.images <= FEW_IMAGES and size <= FEW_BYTES
        if self.cache == "none" or (self.cache == "auto" and few):
            return {
                part: Split(
                    decode_images(paths, decoder), labels[part], scale=255.0, names=names[part]
                )
                for part, paths in parts.items()
            }
        kept = cached(source, fingerprint, None if self.cache == "auto" else self.cache)
        return {
            part: Split(
                one.images,
                labels[part],
                scale=255.0,
                mapped=Mapped(one.file, torch.arange(len(parts[part]))),
                names=names[part],
            )
            for part, one in kept.items()
        }


def _accepted(decoder: Decoder) -> Decoder:
    """`decoder`, if its images are not too large."""
    if decoder.size > LARGEST_IMAGE:
        raise DataError(
            f"dataset.image_size: {decoder.height} x {decoder.width} pixels are "
            f"{decoder.size / 2**20:,.0f} MiB an image, expected at most "
            f"{LARGEST_IMAGE // 2**20} MiB; choose a smaller size"
        )
    return decoder


def _names(base: Path, paths: Sequence[Path]) -> NDArray[np.str_]:
    """The paths below `base`, str [N]."""
    return np.array([path.relative_to(base).as_posix() for path in paths], dtype=np.str_)
