"""What lies below transparent pixels: one background colour, whatever a file stores there.

Letters: H height, W width.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BACKGROUNDS = {"white": 255, "black": 0}
"""The grey level of each background, of 255."""


def composited(pixels: NDArray[Any], background: int) -> NDArray[Any]:
    """Colours alpha * c + (1 - alpha) * background of pixels [..., K + 1], K colours and alpha.

    Args:
        pixels: uint8 in [0, 255], or floats in [0, 1].
        background: its grey level, in [0, 255].

    Returns:
        [..., K] of the type of `pixels`; bytes are rounded to the nearest.
    """
    if pixels.dtype == np.uint8:
        colour, alpha = pixels[..., :-1].astype(np.uint16), pixels[..., -1:].astype(np.uint16)
        return ((colour * alpha + background * (255 - alpha) + 127) // 255).astype(np.uint8)
    colour, alpha = pixels[..., :-1], pixels[..., -1:]
    below = pixels.dtype.type(background / 255)
    return np.asarray(colour * alpha + below * (1 - alpha), pixels.dtype)


def opaque(image: Image.Image, background: int) -> Image.Image:
    """`image` without transparency, whether of an alpha channel or of a colour that means it.

    Palettes and single bits, which cannot be interpolated, become colours and grey levels.
    """
    if image.has_transparency_data:
        return Image.fromarray(composited(np.asarray(image.convert("RGBA")), background))
    return image.convert({"P": "RGB", "1": "L"}.get(image.mode, image.mode))
