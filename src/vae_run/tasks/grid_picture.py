"""A picture of many images in a grid, each in its own pixels.

Letters: N images, E event shape, C H W channels and pixels.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vae_run import plots
from vae_run.errors import ConfigError
from vae_run.system.array_archive import MARK
from vae_run.system.files import write_png

MOST_NAMED = 400
"""Images up to which names are written below them."""


def short_names(names: NDArray[np.str_] | None) -> list[str]:
    """The files `names` [N] below the folder that all share; [] where images are no files."""
    if names is None:
        return []
    files = [str(name) for name in names]
    if len({os.path.isabs(file) for file in files}) > 1:
        return files  # they share no folder
    shared = os.path.commonpath({os.path.dirname(file) for file in files})
    return [os.path.relpath(file, shared) if shared else file for file in files]


class GridPicture:
    """A square grid of n images [C, H, W] with a pixel between them, filled piece by piece.

    A single image is written as it is, so that a restored picture can be used.
    """

    def __init__(self, n: int, event_shape: Sequence[int], names: Sequence[str] = ()) -> None:
        """`names` are written below the images, where there are some and not too many.

        Raises:
            ConfigError: the images are no pictures of one or three channels.
        """
        if len(event_shape) != 3 or event_shape[0] not in (1, 3):
            raise ConfigError(
                f"output: data of shape {list(event_shape)} are no pictures; use .npz."
            )
        channels, self.height, self.width = event_shape
        self.names = list(names) if 1 < n <= MOST_NAMED else []
        self.columns, self.count = math.ceil(math.sqrt(n)), 0
        rows = -(-n // self.columns)
        self.gap = 0 if n == 1 else 1
        side = (self.height + self.gap, self.width + self.gap)
        shape = (rows * side[0] + self.gap, self.columns * side[1] + self.gap, channels)
        self.pixels = np.full(shape, 255 if self.names else 0, np.uint8)

    def add(self, images: Tensor) -> None:
        """Lay the next images [B, C, H, W] into the grid; they are clipped to [0, 1]."""
        grey = (images.cpu().clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        for place, image in enumerate(grey, self.count):
            top = self.gap + (place // self.columns) * (self.height + self.gap)
            left = self.gap + (place % self.columns) * (self.width + self.gap)
            self.pixels[top : top + self.height, left : left + self.width] = image
        self.count += len(grey)

    def write(self, path: Path) -> None:
        """Write the grid as a `.png`; a small one is enlarged by a whole factor."""
        scale = max(1, 512 // max(self.pixels.shape[:2])) if self.gap else 1
        pitch = self.width + self.gap
        scale = max(scale, -(-plots.room_for(self.names) // pitch)) if self.names else scale
        large = self.pixels.repeat(scale, axis=0).repeat(scale, axis=1)
        whole = np.broadcast_to(large, (*large.shape[:2], 3))
        write_png(path, self._named(whole, scale) if self.names else whole, MARK)

    def _named(self, whole: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
        """The enlarged grid with a line of names below each of its rows."""
        height, pitch = (self.height + self.gap) * scale, (self.width + self.gap) * scale
        parts = list[NDArray[np.uint8]]()
        for row, start in enumerate(range(0, len(self.names), self.columns)):
            some = self.names[start : start + self.columns]
            parts.append(whole[row * height : (row + 1) * height])
            parts.append(plots.name_strip(some, pitch, whole.shape[1]))
        return np.concatenate(parts)
