"""Images in arrays of users: their type, the order of their axes, their scale and transparency.

Letters: N images, C channels, H x W pixels, E event shape.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vae_run.data.images.transparency import BACKGROUNDS, composited
from vae_run.errors import DataError

Layout = Literal["auto", "channels_first", "channels_last"]
Background = Literal["white", "black", "none"]
_CHUNK = 256
"""Images that are composited together."""
_LARGEST = float(np.finfo(np.float32).max)
_OF_NUMPY = (torch.float16, torch.float32, torch.float64)


@dataclass(frozen=True)
class Stored:
    """Images as a `Split` stores them.

    Attributes:
        images: uint8 or float32 [N, *E], or float64 if the array is, and it was asked for.
        scale: the stored value that means 1.0.
        notes: sentences on how the axes and the fourth channel were understood.
    """

    images: Tensor
    scale: float
    notes: tuple[str, ...] = ()


def plain_array(where: str, values: Any) -> NDArray[Any]:
    """A tensor, a numpy array or what numpy takes for one, as an array in the CPU's memory.

    Floats that numpy does not have, such as bfloat16, become float32, which holds them exactly.

    Raises:
        DataError: it has masked entries, or is a tensor that has no array.
    """
    if isinstance(values, np.ma.MaskedArray):
        if count := int(np.ma.getmaskarray(values).sum()):
            raise DataError(
                f"{where} has {count:,} masked entries; fill them, as with .filled(0), or drop "
                "their images"
            )
        return np.asarray(values.data)
    if not isinstance(values, Tensor):
        return np.asarray(values)
    if values.is_floating_point() and values.dtype not in _OF_NUMPY:
        values = values.float()
    try:
        found: NDArray[Any] = values.numpy(force=True)
    except (TypeError, RuntimeError) as error:
        why = str(error).split(". ")[0].splitlines()[0]
        raise DataError(
            f"{where} is a tensor ({values.layout}, {values.dtype}, on {values.device}) without "
            f"an array of numbers: {why}; expected a dense tensor"
        ) from error
    return found


def stored_images(where: str, array: Any, *, exact: bool = False) -> tuple[Tensor, float]:
    """`images` and `scale` of `read_images`, which tells them from the array alone."""
    stored = read_images(where, array, exact=exact)
    return stored.images, stored.scale


def read_images(
    where: str,
    array: Any,
    *,
    layout: Layout = "auto",
    background: Background = "white",
    event_shape: Sequence[int] | None = None,
    exact: bool = False,
) -> Stored:
    """The images of `array`, with their channels before their pixels.

    Args:
        where: its name in messages.
        array: uint8, bool or floats [N, F], [N, H, W], [N, C, H, W] or [N, H, W, C].
        layout: the order of four axes; `auto` finds it by `has_channels_last`.
        background: what shows through transparent pixels of [N, H, W, 4]; `none`: the fourth
            channel is no transparency, and is kept.
        event_shape: E, if it is known, such as that of the data that a model was trained on; it
            settles what the shape alone leaves open.
        exact: whether float64 stays float64, for values that are scaled next; else it is float32.

    Raises:
        DataError: it has another type or shape, or values that are not finite.
    """
    array, scale = _typed(where, array, exact=exact)
    notes: tuple[str, ...] = ()
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4:
        last = has_channels_last(array.shape[1:], layout, event_shape)
        notes = _axes_note(where, array.shape, layout, last=last)
        if last:
            array, more = _coloured(where, array, scale, background, event_shape)
            array, notes = array.transpose(0, 3, 1, 2), notes + more
    return Stored(torch.from_numpy(np.ascontiguousarray(array)), scale, notes)


def _typed(where: str, array: Any, *, exact: bool) -> tuple[Any, float]:
    """`array` as uint8, float32 or, if `exact`, float64, after a check; and its scale."""
    if array.dtype == np.uint8 or array.dtype == np.bool_:
        scale = 255.0 if array.dtype == np.uint8 else 1.0
        array = array.astype(np.uint8, copy=False)
    elif array.dtype.kind == "f":
        scale = 1.0
        kind = np.float64 if exact and array.dtype.itemsize > 4 else np.float32
        with np.errstate(over="ignore"):
            array = array.astype(kind, copy=False)
    else:
        raise DataError(f"{where} is {array.dtype}; expected uint8, bool, or floats")
    if array.ndim not in (2, 3, 4) or array.size == 0:
        raise DataError(
            f"{where} has shape {array.shape}; expected [N, F], [N, H, W], [N, C, H, W] or "
            "[N, H, W, C] with at least one image"
        )
    if array.dtype.kind == "f" and not (array.min() >= -_LARGEST and array.max() <= _LARGEST):
        bad = int((~(np.abs(array) <= _LARGEST)).sum())
        raise DataError(
            f"{where} has {bad} values that are NaN or infinite in float32; replace them, or "
            "remove their images"
        )
    return array, scale


def has_channels_last(
    shape: Sequence[int], layout: Layout = "auto", event_shape: Sequence[int] | None = None
) -> bool:
    """Whether images of `shape` (three sizes) are [H, W, C], and not [C, H, W].

    A known `event_shape` decides if it fits one of the two orders only. Else a first axis of 1 or 3
    is that of the channels, or a last axis of 1 or 3; else the one beside two equal sizes, those
    of square pictures; else the last, if it is at most 4 and the smallest.
    """
    if layout != "auto":
        return layout == "channels_last"
    first, second, last = shape
    if event_shape is not None and len(event_shape) == 3:
        channels, *size = event_shape
        fitting = (3, 4) if channels == 3 else (channels,)
        fits_last = [first, second] == size and last in fitting
        if fits_last != (tuple(shape) == tuple(event_shape)):
            return fits_last
    if first in (1, 3) or last in (1, 3):
        return first not in (1, 3)
    if (first == second) != (second == last):
        return first == second
    return last <= 4 and last < first and last <= second


def _axes_note(where: str, shape: Sequence[int], layout: Layout, *, last: bool) -> tuple[str, ...]:
    """How four axes were read; nothing where no other reading is plausible."""
    _, a, b, c = shape
    clear = not last and (b == c if a > 4 else c > 4)
    if layout != "auto" or clear:
        return ()
    if last:
        read, other = f"its channels last: {c} channels of {a} x {b} pixels", "channels_first"
    else:
        read, other = f"its channels first: {a} channels of {b} x {c} pixels", "channels_last"
    remark = "" if last and c in (1, 3) else f"; dataset.layout={other} reads them the other way"
    return (f"{where} of shape {tuple(shape)} has {read}{remark}",)


def _coloured(
    where: str,
    array: Any,
    scale: float,
    background: Background,
    event_shape: Sequence[int] | None,
) -> tuple[Any, tuple[str, ...]]:
    """`array` [N, H, W, C], without a fourth channel that is transparency; and what was done.

    A fourth channel is transparency if at least half of its values are fully opaque or fully
    transparent, as along drawn edges, or if the data are known to have three channels.
    """
    known = None if event_shape is None else event_shape[0]
    if array.shape[3] != 4 or background == "none" or known not in (None, 3):
        return array, ()
    top, alpha = (255 if array.dtype == np.uint8 else 1), array[..., 3]
    if scale == 1.0 and not (array.dtype.kind == "f" and array.min() >= 0 and array.max() <= 1):
        return array, ()
    if array.dtype == np.float64:  # colours in [0, 1]
        array, alpha = array.astype(np.float32), alpha.astype(np.float32)
    if known is None and array.dtype == np.uint8 and array.max() == 1:  # no alpha of bytes
        return array, ()
    extreme = float(((alpha == 0) | (alpha == top)).mean())
    if (alpha == top).all():
        return array[..., :3], (f"{where}: the fourth channel is opaque everywhere, and left out",)
    if known is None and extreme < 0.5:
        return array, (
            f"{where}: the fourth channel is kept, as its values are not those of transparency; "
            "composite RGBA images on a background before you save them",
        )
    solid = np.empty((*array.shape[:3], 3), array.dtype)
    for start in range(0, len(array), _CHUNK):
        part = slice(start, start + _CHUNK)
        solid[part] = composited(array[part], BACKGROUNDS[background])
    return solid, (
        f"{where}: the fourth channel is transparency, on a {background} background now; "
        "dataset.background=none keeps it as a channel",
    )
