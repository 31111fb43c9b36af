"""Image files and PIL images that a Python program gives, decoded to one size.

Letters: N images.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vae_run.data.array_labels import numbered_labels
from vae_run.data.array_source import InMemory
from vae_run.data.class_labels import labels_note
from vae_run.data.dataset import Parts
from vae_run.data.given import ARGUMENTS, Given
from vae_run.data.images.decode_pool import decode_images
from vae_run.data.images.decoder import Decoder
from vae_run.data.splits import Split
from vae_run.errors import DataError


def given_pictures(data: Given, decoder: Decoder, test_size: float | int) -> Parts:
    """The splits of image files and PIL images, uint8 [N, C, H, W] of scale 255.

    Raises:
        DataError: an image cannot be decoded, or labels are of another number, or texts in one
            split and numbers in another.
    """
    splits, held = dict[str, Split](), InMemory(data)
    for split, source in data.sources.items():
        images, names = _decoded(ARGUMENTS[split], source, decoder)
        splits[split] = Split(images, scale=255.0, names=names)
    labels, class_names, place = numbered_labels(
        held,
        {split: f"{split}_labels" for split in data.labels},
        None if data.class_names is None else "class_names",
        splits,
    )
    splits = {name: replace(split, labels=labels.get(name)) for name, split in splits.items()}
    return Parts.of(splits, class_names=class_names, test_size=test_size, notes=labels_note(place))


def _decoded(
    argument: str, source: Sequence[Any], decoder: Decoder
) -> tuple[torch.Tensor, NDArray[np.str_] | None]:
    """The pixels of `source`, and the paths of files."""
    if not len(source):
        raise DataError(f"{argument} is empty; expected at least one image")
    if all(isinstance(one, Path) for one in source):
        missing = [one for one in source if not one.exists()]
        if missing:
            raise DataError(
                f"{argument}: there is no file {missing[0]} ({len(missing):,} of {len(source):,} "
                "are missing). A relative path is relative to the working directory"
            )
        return decode_images(source, decoder), np.array([str(one) for one in source], np.str_)
    pixels = np.empty((len(source), *decoder.shape), np.uint8)
    for place, image in enumerate(source):
        pixels[place] = decoder.picture(image, f"{argument}[{place}]")
    return torch.from_numpy(pixels), None
