"""Images in rows and columns, and nothing else: pictures that are drawn often."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vae_run.plots.canvas import Picture
from vae_run.plots.cells import events, pixels

if TYPE_CHECKING:
    from torch import Tensor

_SMALLEST, _WIDEST = 32, 1024


def mosaic(images: Tensor) -> Picture:
    """Images [R, C, *E] as uint8 [height, width, 3], each row of them a row, 1 pixel apart.

    Small ones are enlarged by whole factors; as many columns as fit 1024 pixels are kept.
    """
    cells = events(images, 2)[0]
    height, width = cells.shape[2:4]
    scale = max(1, -(-_SMALLEST // max(height, width)))
    cells = cells[:, : max(1, _WIDEST // (width * scale + 1))]
    tiles = pixels(cells, (height * scale, width * scale))
    rows, columns, tall, wide = tiles.shape[:4]
    page: Picture = np.full((rows, tall + 1, columns, wide + 1, 3), 255, dtype=np.uint8)
    page[:, :tall, :, :wide] = tiles.swapaxes(1, 2)
    return page.reshape(rows * (tall + 1), columns * (wide + 1), 3)[:-1, :-1]
