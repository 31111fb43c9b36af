"""Images in arrays of users: their type, the order of their axes, and their scale."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae_run.errors import DataError


def stored_images(where: str, array: Any) -> tuple[Tensor, float]:
    """The images of `array` as uint8 or float32 [N, *E], and their scale (see `Split.scale`).

    Args:
        where: its name in messages.
        array: uint8, bool or floats [N, F], [N, H, W], [N, C, H, W] or [N, H, W, C].

    Raises:
        DataError: it has another type or shape, or values that are not finite.
    """
    if array.dtype == np.uint8 or array.dtype == np.bool_:
        scale = 255.0 if array.dtype == np.uint8 else 1.0
        array = array.astype(np.uint8, copy=False)
    elif array.dtype.kind == "f":
        scale = 1.0
        with np.errstate(over="ignore"):
            array = array.astype(np.float32, copy=False)
    else:
        raise DataError(f"{where} is {array.dtype}; expected uint8, bool, or floats")
    if array.ndim not in (2, 3, 4) or array.size == 0:
        raise DataError(
            f"{where} has shape {array.shape}; expected [N, F], [N, H, W], [N, C, H, W] or "
            "[N, H, W, C] with at least one image"
        )
    if array.dtype == np.float32 and not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise DataError(
            f"{where} has {bad} values that are NaN or infinite in float32; replace them, or "
            "remove their images"
        )
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[3] in (1, 3) and array.shape[1] not in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(array)), scale
