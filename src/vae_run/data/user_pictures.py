"""How the user's own pictures are read for a run: their decoder, white and classes.

Letters: N images, E event shape.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vae_run.data.dataset import Dataset
from vae_run.data.images.decode_pool import decode_images
from vae_run.data.images.decoder import Decoder
from vae_run.data.images.folder import classes_below
from vae_run.data.split_names import SPLITS
from vae_run.data.white import BYTE, greatest, white_of_input
from vae_run.errors import DataError

_PIECE = 64
"""Pictures that are decoded at a time where the first is not bright."""
_KEPT = 2**27
"""Bytes of decoded pictures that are kept at most, so that none is decoded twice."""
_SPLIT_FOLDERS = {word for words in SPLITS.values() for word in words}
"""Folders that image_folder takes for splits, in lower case."""


@runtime_checkable
class DecodesFiles(Protocol):
    """A dataset of image files, which says how one of them becomes pixels."""

    def decoder(self) -> Decoder:
        """Decodes a file to the pixels that the splits have."""
        ...


def decoder_of(dataset: Dataset, event_shape: Sequence[int]) -> Decoder:
    """What decodes pictures to the shape of the run's images, as `dataset` does."""
    if isinstance(dataset, DecodesFiles):
        return dataset.decoder()
    if len(event_shape) != 3 or event_shape[0] not in (1, 3):
        raise DataError(
            f"input: the run's data are {list(event_shape)}, which is no picture; use .npz."
        )
    return Decoder(*event_shape)


def white_of_pictures(
    source: str, paths: Sequence[Path], decoder: Decoder, white: int
) -> tuple[int, Tensor | None]:
    """The white of the pictures `paths`, for a run whose own is `white`.

    They are decoded until one is brighter than the run's white, or than 1, as photographs are.

    Returns:
        The white; and all pictures, uint8 [N, C, H, W], if all had to be decoded and are small
        enough to be kept, otherwise None.
    """
    keep = len(paths) * decoder.size <= _KEPT
    bounds = [0, *range(1, len(paths), _PIECE), len(paths)]
    decoded = list[Tensor]()

    def pieces() -> Iterator[Tensor]:
        for start, stop in pairwise(bounds):
            piece = decode_images(paths[start:stop], decoder)
            if keep:
                decoded.append(piece)
            yield piece

    high = greatest(pieces(), 1 if white == BYTE else white)
    whole = keep and sum(map(len, decoded)) == len(paths)
    return white_of_input(f"input: {source}", high, white), torch.cat(decoded) if whole else None


def classes_of(
    paths: Sequence[Path], base: Path | None, class_names: Sequence[str]
) -> NDArray[np.str_] | None:
    """The class of each picture, by its folder; None if any of them has none.

    Below one given folder it is the sub-folder, below the folders `train`, `val` and `test` if
    there are any. Of pictures that were named otherwise it is their folder, if all of these are
    classes of the run.
    """
    if base is None or base in {path.parent for path in paths}:
        folders = [path.absolute().parent.name for path in paths]
        return np.array(folders) if set(folders) <= set(class_names) else None
    children = {path.name.lower() for path in base.iterdir() if path.is_dir()}
    if not children & set(SPLITS["train"]):
        found = classes_below(base, list(paths))
        return None if found is None else np.array(found)
    below = [path.relative_to(base).parts for path in paths]
    below = [parts[1:] if parts[0].lower() in _SPLIT_FOLDERS else parts for parts in below]
    return np.array([p[0] for p in below]) if all(len(parts) > 1 for parts in below) else None
