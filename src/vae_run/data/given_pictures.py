"""Image files and PIL images that a Python program gives, decoded to one size.

Letters: N images.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vae_run.data.array_names import read_labels
from vae_run.data.array_source import InMemory
from vae_run.data.class_labels import labels_note, numbered
from vae_run.data.dataset import Parts
from vae_run.data.given import ARGUMENTS, Given
from vae_run.data.images.decode_pool import decode_images
from vae_run.data.images.decoder import Decoder
from vae_run.data.splits import Split
from vae_run.errors import DataError


def given_pictures(data: Given, decoder: Decoder, test_size: float | int) -> Parts:
    """The splits of image files and PIL images, uint8 [N, C, H, W] of scale 255.

    Raises:
        DataError: an image cannot be decoded, or labels are of another number.
    """
    splits, texts = dict[str, Split](), dict[str, NDArray[Any]]()
    held = InMemory(data)
    for split, source in data.sources.items():
        images, names = _decoded(ARGUMENTS[split], source, decoder)
        splits[split] = Split(images, scale=255.0, names=names)
    for split in data.labels:
        name = f"{split}_labels"
        texts[split] = read_labels(held.where(name), held.array(name), len(splits[split]))
    own, class_names = data.class_names, data.class_names
    if any(labels.dtype.kind == "U" for labels in texts.values()):
        place, class_names = numbered(str(one) for labels in texts.values() for one in labels)
    else:
        place = {name: label for label, name in enumerate(own or ())}
    labels = {
        split: torch.tensor([place[str(one)] for one in found.tolist()])
        if found.dtype.kind == "U"
        else torch.from_numpy(found)
        for split, found in texts.items()
    }
    splits = {
        name: Split(split.images, labels.get(name), 255.0, names=split.names)
        for name, split in splits.items()
    }
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
        pixels[place] = decoder.pixels(image, f"{argument}[{place}]")
    return torch.from_numpy(pixels), None
