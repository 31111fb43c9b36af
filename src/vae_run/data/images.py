"""Image files decoded into one tensor, with threads."""

import logging
import os
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vae_run.errors import DataError

log = logging.getLogger(__name__)

_CHUNK = 64
_UNREADABLE = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, struct.error,
    Image.DecompressionBombError,
)  # fmt: skip


def decode_images(
    paths: Sequence[Path],
    channels: int,
    size: tuple[int, int],
    fit: Callable[[Image.Image], Image.Image],
) -> Tensor:
    """The image files as uint8 [N, C, H, W], in the order of `paths`.

    Args:
        paths: the N files.
        channels: C, 1 for grey or 3 for colour; files of the other kind are converted.
        size: (H, W), which `fit` must produce.
        fit: crops and resizes one image.

    Raises:
        DataError: a file cannot be decoded, or has more than 8 bits a channel.
    """
    images = np.empty((len(paths), channels, *size), dtype=np.uint8)

    def decode(start: int) -> None:
        for place in range(start, min(start + _CHUNK, len(paths))):
            images[place] = _decode(paths[place], channels, fit)

    threads = min(32, os.cpu_count() or 1)
    if len(paths) > 20_000:
        log.info("decoding %d images in %d threads", len(paths), threads)
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(decode, range(0, len(paths), _CHUNK)):
            pass  # an error of the first damaged file is raised here, and cancels what waits
    return torch.from_numpy(images)


def _decode(
    path: Path, channels: int, fit: Callable[[Image.Image], Image.Image]
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """One file as [C, H, W]."""
    try:
        with Image.open(path) as image:
            if image.mode.startswith(("I", "F")):
                raise DataError(
                    f"{path} has more than 8 bits a channel (mode {image.mode}): convert it to 8"
                )
            ready = fit(image).convert("L" if channels == 1 else "RGB")
    except _UNREADABLE as error:
        raise DataError(f"cannot read the image {path}: {error}; replace or remove it") from error
    pixels = np.asarray(ready)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
