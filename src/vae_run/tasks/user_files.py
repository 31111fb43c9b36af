"""The user's own files of images and codes, which tasks on a trained model read and write."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from vae_run.errors import ConfigError, DataError
from vae_run.system.files import write_atomically, write_png

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")


def read_images(name: str, event_shape: tuple[int, ...]) -> Tensor:
    """Images [N, *E] in [0, 1] from a `.npz`, a `.npy`, a picture, or a folder of pictures.

    An archive's array is `images`, or its only one besides `labels`. uint8 is divided by 255,
    floats are taken as they are; pictures are resized to E.

    Raises:
        DataError: the file is missing or unreadable, or its images are not of shape E.
    """
    path = Path(name)
    try:
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.suffix.lower() in PICTURES)
            if not files:
                raise DataError(f"input: {path} holds no pictures ({', '.join(PICTURES)}).")
            return torch.cat([_picture(file, event_shape) for file in files])
        if path.suffix.lower() in PICTURES:
            return _picture(path, event_shape)
        return _array(path, event_shape)
    except FileNotFoundError as error:
        raise DataError(f"input: there is no file {path}.") from error
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise DataError(f"input: {path} cannot be read: {error}") from error


def read_labels(name: str, count: int) -> Tensor:
    """The array `labels` of an archive of `count` images: int64 [count].

    Raises:
        DataError: there is none, or it is not that many whole numbers.
    """
    path, remedy = Path(name), "give the class of all images with label=N"
    if path.suffix.lower() != ".npz":
        raise DataError(
            f"input: {path} has no labels, and the run's model is conditional. Use a .npz with "
            f"arrays images and labels, or {remedy}."
        )
    with np.load(path, allow_pickle=False) as archive:
        if "labels" not in archive.files:
            raise DataError(
                f"input: {path} has no array labels, and the run's model is conditional. Add it, "
                f"or {remedy}."
            )
        labels = archive["labels"]
    if labels.dtype.kind not in "biu" or labels.shape not in ((count,), (count, 1)):
        raise DataError(
            f"input: {path}: labels is {labels.dtype} {labels.shape}; expected {count} whole "
            "numbers, one an image."
        )
    return torch.from_numpy(labels.reshape(-1).astype(np.int64))


def _array(path: Path, event_shape: tuple[int, ...]) -> Tensor:
    loaded = np.load(path, allow_pickle=False)
    if isinstance(loaded, np.lib.npyio.NpzFile):
        others = [file for file in loaded.files if file != "labels"]
        names = ["images"] if "images" in others else others
        if len(names) != 1:
            held = ", ".join(names) or "nothing"
            raise DataError(f"input: {path} holds {held}; expected one array, or one named images.")
        loaded = loaded[names[0]]
    scale = 255.0 if loaded.dtype == np.uint8 else 1.0
    images = torch.from_numpy(np.ascontiguousarray(loaded, dtype=np.float32)) / scale
    found, known = tuple(images.shape), [event_shape, (math.prod(event_shape),)]
    if len(event_shape) == 3:
        channels, *size = event_shape
        known += [(*size, channels)] + ([tuple(size)] if channels == 1 else [])
    if found[1:] not in known or len(images) == 0:
        raise DataError(
            f"input: {path} has shape {list(found)}, but the run's images are "
            f"[N, {', '.join(map(str, event_shape))}]."
        )
    if len(event_shape) == 3 and found[1:] == (*event_shape[1:], event_shape[0]) != event_shape:
        images = images.permute(0, 3, 1, 2)
    if not bool(torch.isfinite(images).all()):
        raise DataError(f"input: {path} holds values that are not finite.")
    return images.reshape(-1, *event_shape)


def _picture(path: Path, event_shape: tuple[int, ...]) -> Tensor:
    from PIL import Image

    if len(event_shape) != 3 or event_shape[0] not in (1, 3):
        raise DataError(
            f"input: the run's data are {list(event_shape)}, which is no picture; use .npz."
        )
    channels, height, width = event_shape
    with Image.open(path) as file:
        picture = file.convert("L" if channels == 1 else "RGB").resize((width, height))
    pixels = torch.from_numpy(np.asarray(picture, dtype=np.float32) / 255.0)
    return pixels.reshape(height, width, channels).permute(2, 0, 1)[None]


def check_output(name: str, suffixes: tuple[str, ...]) -> Path:
    """The path `name`, whose folder is created.

    Raises:
        ConfigError: the suffix is none of `suffixes`.
    """
    path = Path(name)
    if path.suffix.lower() not in suffixes:
        raise ConfigError(
            f"output: found {name}, expected a name that ends in {' or '.join(suffixes)}."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def write_arrays(path: Path, **arrays: Tensor) -> None:
    """Write the named arrays as a compressed `.npz`."""
    buffer = io.BytesIO()
    plain: dict[str, Any] = {name: array.cpu().numpy() for name, array in arrays.items()}
    np.savez_compressed(buffer, **plain)
    write_atomically(path, buffer.getvalue())


def write_grid(path: Path, images: Tensor) -> None:
    """Write images [N, C, H, W] as a square grid in a `.png`, with a pixel between them.

    Raises:
        ConfigError: they are no pictures of one or three channels.
    """
    if images.dim() != 4 or images.shape[1] not in (1, 3):
        raise ConfigError(
            f"output: data of shape {list(images.shape[1:])} are no pictures; use .npz."
        )
    n, channels, height, width = images.shape
    columns = math.ceil(math.sqrt(n))
    rows = -(-n // columns)
    grid = torch.zeros(channels, rows * (height + 1) + 1, columns * (width + 1) + 1)
    for i, image in enumerate(images.cpu().clamp(0, 1)):
        top, left = 1 + (i // columns) * (height + 1), 1 + (i % columns) * (width + 1)
        grid[:, top : top + height, left : left + width] = image
    pixels = (grid * 255).round().byte().permute(1, 2, 0).expand(-1, -1, 3).numpy()
    scale = max(1, 512 // max(pixels.shape[:2]))
    write_png(path, pixels.repeat(scale, axis=0).repeat(scale, axis=1))
