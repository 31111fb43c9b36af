"""Which stored value of whole-numbered pixels means white, 1.0.

Letters: N images.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from vae_run.data.dataset import Parts
from vae_run.data.splits import Split
from vae_run.errors import DataError

log = logging.getLogger("vae_run")

BYTE = 255
"""The white of 8-bit images."""
White = Literal["auto"] | Annotated[int, Field(ge=1, le=BYTE, strict=True)]
"""`auto`: 1 where the greatest value of all splits together is 1, otherwise 255."""


def of_white(named: str, parts: Parts, white: White) -> Parts:
    """`parts` with their whole-numbered pixels on the scale that `white` says, and a note on it.

    All splits decide together, before classes are chosen and sets are cut. Of a stream, the images
    that are held in memory decide; a brighter one that is met later is refused
    (`webdataset.stream.decode`). Booleans and floats keep their scale.

    Raises:
        DataError: a value is above the `white` that was said.
    """
    splits = {name: each for name, each in parts.named().items() if _is_byte(each)}
    if not splits:
        return parts
    found = {name: greatest(each.chunks(), _past(white)) for name, each in splits.items()}
    high = max(found.values())
    if isinstance(white, int) and high > white:
        name = next(name for name, value in found.items() if value > white)
        raise DataError(
            f"dataset.white={white}: {name} of {named} has the value {found[name]}; set the "
            "greatest value that pixels can have, or dataset.white=255"
        )
    level = white if isinstance(white, int) else 1 if high == 1 else BYTE
    stream = None if parts.stream is None else replace(parts.stream, white=level)
    changed = {name: replace(each, scale=float(level)) for name, each in splits.items()}
    if high == 1:
        note = _note(named, parts, white) if white != 1 else ()
    else:
        note = tuple(
            f"{name} of {named} has no pixel above 1, and is divided by {level} as the other "
            "splits are, which makes it nearly black: if its pixels are 0 and 1, save them as bool"
            for name in nearly_black(changed)
        )
    return replace(parts, **changed, stream=stream, white=level, notes=(*parts.notes, *note))  # type: ignore[arg-type]


def nearly_black(splits: Mapping[str, Split]) -> list[str]:
    """The names of those of `splits` that have no pixel above 1, but some of 1, though white is."""
    return [
        name
        for name, each in splits.items()
        if each.images.dtype == torch.uint8 and each.scale > 1 and greatest(each.chunks(), 1) == 1
    ]


def _is_byte(split: Split) -> bool:
    return split.images.dtype == torch.uint8 and split.scale == BYTE


def _past(white: White) -> int:
    """The value beyond which no greater one tells anything more."""
    return white if isinstance(white, int) and white != BYTE else 1


def greatest(pieces: Iterable[Tensor], past: int) -> int:
    """The greatest value of uint8 `pieces`, or of the first of them that has one above `past`."""
    high = 0
    for piece in pieces:
        high = max(high, int(piece.max())) if piece.numel() else high
        if high > past:
            break
    return high


def _note(named: str, parts: Parts, white: White) -> tuple[str, ...]:
    """What is said of data whose greatest value is 1."""
    if white != "auto":
        return (
            f"{named}: no pixel is above 1, and dataset.white={white} makes that nearly black; "
            "dataset.white=auto takes such pixels as 0 and 1",
        )
    held = "no pixel"
    if parts.stream is not None and parts.stream.images > len(parts.train):
        held = "no pixel of the images in memory, which decide for all,"
    return (
        f"{named}: {held} is above 1, and they are taken as 0 and 1; dataset.white=255 divides "
        "them by 255",
    )


def white_of_input(where: str, high: int, white: int) -> int:
    """The white of images whose greatest value is `high`, for a run whose own white is `white`.

    Runs on pixels of 0 and 1 take bytes with values above 1 as 8-bit images.

    Raises:
        DataError: `high` is above another white.
    """
    if high > white and white != 1:
        raise DataError(
            f"{where} has the value {high}, but the run was trained on pixels from 0 to {white} "
            f"(dataset.white={white}): rescale them to these"
        )
    if white == BYTE and high == 1:
        log.warning(
            "%s has no pixel above 1, and is divided by 255 as the data of the run were, which "
            "makes it nearly black: if its pixels are 0 and 1, save them as bool", where,
        )  # fmt: skip
    return white if high <= white else BYTE
