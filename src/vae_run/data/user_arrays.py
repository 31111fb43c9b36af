"""Arrays in the user's own .npz and .npy files, brought to the event shape of a run.

Letters: N images, E event shape, (C, H, W) images.
"""

import logging
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray

from vae_run.data.array_images import read_images
from vae_run.data.checks import read_header, refuse_more_than_memory, regular
from vae_run.data.condition_columns import one_each
from vae_run.data.splits import Split
from vae_run.data.white import BYTE, white_of_input
from vae_run.errors import DataError

log = logging.getLogger(__name__)

ARRAYS = (".npz", ".npy")
"""Endings of array files."""
_BESIDE = ("labels", "names", "index", "split", "classes", "z")
"""Arrays of an archive that are not images."""
_REMEDY = "write it again with numpy, or name another file"


@dataclass(frozen=True)
class ArrayFile:
    """What an array file holds.

    Attributes:
        split: the images with their labels, if these are numbers.
        names: str [N], what the images are called, or None.
        classes: str [N], the names of their classes, or None.
        given: {condition: its values [N]}.
    """

    split: Split
    names: NDArray[np.str_] | None = None
    classes: NDArray[np.str_] | None = None
    given: Mapping[str, NDArray[Any]] = field(default_factory=dict)


def read_array_file(
    path: Path, event_shape: Sequence[int], conditions: Sequence[str], white: int, **reading: Any
) -> ArrayFile:
    """The images in `path`, what they are called, their classes and `conditions`.

    An archive's images are its array `images`, or its only array besides `labels`, `NAME_labels`
    and `names`. Labels are whole numbers, or names of classes.

    Args:
        path: of the file.
        event_shape: E of the run's images.
        conditions: arrays `NAME`, or beside images called `x` also `x_NAME`, that are read if the
            archive has them.
        white: the stored value of whole-numbered pixels that meant 1.0 in training.
        reading: `exact` of `read_images`; and its `layout` and `background`, and `channels_last`
            of windows, where the run's dataset has them.

    Raises:
        DataError: the file is missing or damaged, or its images are of another type or shape.
    """
    name, arrays = _loaded(path, conditions)
    where = f"input: {path}" + (f": array `{name}`" if name else "")
    split = _images(where, arrays[name], tuple(event_shape), white, reading)
    found = arrays.get("labels", arrays.get(f"{name}_labels"))
    names = arrays.get("names")
    if names is not None and (names.dtype.kind != "U" or names.shape != (len(split),)):
        names = None
    beside = {each: arrays.get(each, arrays.get(f"{name}_{each}")) for each in conditions}
    given = {
        each: one_each(f"input: {path}: array `{each}`", values, split)
        for each, values in beside.items()
        if values is not None
    }
    if found is None:
        return ArrayFile(split, names, None, given)
    labels = _checked_labels(path, found, len(split))
    if labels.dtype.kind == "U":
        return ArrayFile(split, names, labels, given)
    numbered = Split(split.images, torch.from_numpy(labels.astype(np.int64)), split.scale)
    return ArrayFile(numbered, names, None, given)


def _loaded(path: Path, conditions: Sequence[str]) -> tuple[str, Mapping[str, Any]]:
    """The name of the array of images, "" in a .npy file; and this array and those beside it."""
    named = f"input: {path}"
    with open(regular(path, named), "rb") as file:
        try:
            if file.read(6) == b"\x93NUMPY":
                return "", {"": _array(file, path.stat().st_size, named)}
            if not zipfile.is_zipfile(file):
                raise ValueError("it is neither .npy nor a complete .npz archive")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                beside = (*_BESIDE, *conditions)
                name = _images_name(path, archive.files, beside)
                wanted = {name, "names"}
                wanted |= {
                    word for each in ("labels", *conditions) for word in (each, f"{name}_{each}")
                }
                held = [each for each in archive.files if each in wanted]
                return name, {each: _member(archive, each, named) for each in held}
        except DataError:
            raise
        except Exception as error:  # of numpy, zipfile, zlib, or the parser of a header
            raise DataError(f"{named} cannot be read: {error}; {_REMEDY}.") from error


def _array(file: IO[bytes], size: int, named: str) -> Any:
    refuse_more_than_memory(size, named)
    file.seek(0)
    return np.load(file, allow_pickle=False)


def _member(archive: Any, name: str, named: str) -> Any:
    info = archive.zip.getinfo(f"{name}.npy")
    refuse_more_than_memory(info.file_size, f"{named}: array `{name}`")
    with archive.zip.open(info) as member:
        read_header(member, info)
    return archive[name]


def _images_name(path: Path, held: Sequence[str], beside: Sequence[str]) -> str:
    """The name of the array of images, which is none of those called as `beside`."""
    endings = ("_labels", *(f"_{name}" for name in beside if name not in _BESIDE))
    others = [n for n in held if n not in beside and not n.endswith(endings)]
    names = ["images"] if "images" in others else others
    if len(names) != 1:
        told = ", ".join(names) or "nothing"
        raise DataError(f"input: {path} holds {told}; expected one array, or one named images.")
    return names[0]


def _images(
    where: str, given: Any, expected: tuple[int, ...], white: int, reading: Mapping[str, Any]
) -> Split:
    """`given` as training stores it, with its axes in the order of the run's, `expected`."""
    reading = dict(reading)
    exact = bool(reading.get("exact", False))
    array = _channels_first(given, expected) if reading.pop("channels_last", False) else given
    stored = read_images(where, array, event_shape=expected, **reading)
    for note in stored.notes:
        log.info("%s", note)
    if stored.images.shape[1:] != expected:
        found = tuple(array.shape)
        known = [expected, (math.prod(expected),)]
        if len(expected) == 3:
            channels, *size = expected
            known += [(*size, channels)] + ([tuple(size)] if channels == 1 else [])
        if found[1:] not in known:
            raise DataError(
                f"{where} has shape {list(given.shape)}, but the run's images are "
                f"[N, {', '.join(map(str, expected))}]."
            )
        if len(expected) == 3 and found[1:] == (*expected[1:], expected[0]) != expected:
            array = np.moveaxis(array, -1, 1)
        stored = read_images(where, array.reshape(len(array), -1), exact=exact)
    images, scale = stored.images.reshape(-1, *expected), stored.scale
    if scale == BYTE:
        scale = float(white_of_input(where, int(images.max()), white))
    return Split(images, scale=scale)


def _channels_first(array: Any, expected: tuple[int, ...]) -> Any:
    """Windows [N, L, C] as [N, C, L]; those that fit `expected`, (C, L), only as they are, stay."""
    steps_first = tuple(reversed(expected))
    if array.ndim != 3 or (array.shape[1:] == expected != steps_first):
        return array
    return np.moveaxis(array, -1, 1)


def _checked_labels(path: Path, labels: Any, count: int) -> Any:
    """`labels` as [N], whole numbers or text."""
    if labels.dtype.kind not in "biuU" or labels.shape not in ((count,), (count, 1)):
        raise DataError(
            f"input: {path}: labels is {labels.dtype} {labels.shape}; expected {count} whole "
            "numbers or names of classes, one an image."
        )
    return labels.reshape(-1)
