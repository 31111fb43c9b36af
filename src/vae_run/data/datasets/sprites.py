"""White sprites on black with known generative factors, as in dSprites, or from dSprites' file.

Letters: N images, F = 5 factors, G combinations of their values, S pixels per side.
"""

import math
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from vae_run.data.checks import read_header, regular
from vae_run.data.dataset import Count, Dataset, Parts, TestSize
from vae_run.data.splits import Split
from vae_run.errors import DataError

FACTORS = {"shape": 3, "scale": 6, "rotation": 40, "x": 32, "y": 32}
"""The factors in the order of their columns, with their numbers of values."""
SHAPES = ("square", "ellipse", "heart")
SIDE = 64
"""The side in pixels of an image to which the sizes below refer."""
HALF_SIDE, HALF_AXES, HEART = 8.6, (13.5, 6.7), 9.0
"""Of the largest sprites: half side of the square, half axes of the ellipse, unit of the heart.

The sides of upright squares are all different: 8, 10, ..., 18 pixels.
"""
REACH = 14.0
"""The largest distance of a point of a sprite from its centre."""
MARGIN = 16
"""The smallest coordinate of a centre; the next ones follow at distances of one pixel."""

_CHUNK = 1024
_STREAM = 0x5B_17E5  # so that sprites and splits are chosen by different random numbers

Draw = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Sprites(Dataset):
    """Squares, ellipses and hearts in 6 sizes, 40 rotations and 32 x 32 positions (Matthey et al.
    2017, dSprites), as binary pixels. The label is the shape.

    `split_seed` chooses `images` of the 737,280 combinations, all with different pixels: a square
    rotated by a quarter turn looks the same, and must not be in both train and test. Apart from
    those repetitions the values of a factor are equally likely, and factors are independent.

    Attributes:
        path: dSprites' .npz file, to choose images from; None: images are drawn.
        images: number of images; null: all combinations, including those that look the same.
        image_size: side of drawn images in pixels.
        test_size: size of the test set: a share in (0, 1) or a number of images.
    """

    known_factors: ClassVar[bool] = True

    path: str | None = None
    images: Count | None = 20_000
    image_size: Annotated[int, Field(ge=8, le=256, strict=True)] = SIDE
    test_size: TestSize = 0.2

    def read(self) -> Parts:
        """uint8 [N, 1, S, S] of scale 1, with factors int64 [N, 5] in the order of `FACTORS`."""
        if self.path is None:
            factors = grid()
            index, images = self._choose_from(
                len(factors), lambda i: draw(factors[i], self.image_size)
            )
        else:
            file = Path(os.path.expanduser(self.path))
            factors = _read_factors(file)
            index, images = self._choose_from(len(factors), lambda i: self._read_images(file, i))
        chosen = factors[index]
        train = Split(images[:, None], chosen[:, 0].clone(), factors=chosen, unordered=(0,))
        return Parts(train, class_names=SHAPES, test_size=self.test_size)

    def _choose_from(self, total: int, look: Draw) -> tuple[Tensor, Tensor]:
        """Indices [N] of the combinations chosen out of `total`, and their images [N, S, S]."""
        if self.images is None:
            index = torch.arange(total)
            return index, look(index)
        generator = torch.Generator().manual_seed(_STREAM + self.split_seed)
        order = torch.randperm(total, generator=generator)
        count = int(1.1 * self.images) + 100
        while True:
            index = order[:count]
            images = look(index)
            first = different(images)[: self.images]
            if len(first) == self.images:
                return index[first], images[first]
            if count >= total:
                raise DataError(
                    f"dataset.images={self.images}: there are only {len(first)} different "
                    f"sprites of {images.shape[1]}x{images.shape[2]} pixels; ask for fewer, or "
                    "raise dataset.image_size"
                )
            count *= 2

    def _read_images(self, file: Path, index: Tensor) -> Tensor:
        """Images `index` [M] of dSprites' file, uint8 [M, S, S], read piece by piece."""
        try:
            images = _rows(file, "imgs", index)
        except Exception as error:  # of numpy, zipfile, zlib, or the parser of a header
            raise _foreign(file, error) from error
        if images.shape[1:] != (self.image_size, self.image_size):
            raise DataError(
                f"dataset.image_size={self.image_size}: the images of dataset.path={file} have "
                f"shape {images.shape[1:]}"
            )
        if images.dtype != np.uint8 or images.max(initial=0) > 1:
            raise _foreign(file, "`imgs` are not bytes of 0 and 1")
        return torch.from_numpy(images)


def grid() -> Tensor:
    """All combinations of the factors' values, int64 [G, 5], the last factor changing fastest."""
    return torch.cartesian_prod(*(torch.arange(count) for count in FACTORS.values()))


def draw(factors: Tensor, size: int = SIDE) -> Tensor:
    """The sprites of `factors` [N, 5], uint8 [N, S, S] of 0 and 1.

    A pixel is white where its centre lies in the sprite. Scales are from 0.5 to 1, rotations are
    counterclockwise over the full circle, x is to the right and y downwards.
    """
    images = torch.zeros(len(factors), size, size, dtype=torch.uint8)
    pixel = SIDE / size
    window = torch.arange(math.ceil(2 * REACH / pixel) + 1)  # covers every sprite
    for shape in range(len(SHAPES)):
        for rows in torch.split((factors[:, 0] == shape).nonzero(), _CHUNK):
            _, scale, rotation, x, y = (column[:, None, None] for column in factors[rows[:, 0]].T)
            first = size - len(window)
            left = ((MARGIN + x - REACH) / pixel).long().clamp(max=first) + window
            top = ((MARGIN + y - REACH) / pixel).long().clamp(max=first) + window[:, None]
            right = (left + 0.5) * pixel - (MARGIN + x)  # [n, 1, W]
            up = (MARGIN + y) - (top + 0.5) * pixel  # [n, W, 1]
            angle = rotation.double() * (2 * math.pi / FACTORS["rotation"])
            unit = 1 / (0.5 + 0.1 * scale.double())
            cos, sin = (unit * angle.cos()).float(), (unit * angle.sin()).float()
            inside = _inside(shape, cos * right + sin * up, cos * up - sin * right)
            images[rows[:, :, None], top, left] = inside.to(torch.uint8)
    return images


def _inside(shape: int, u: Tensor, v: Tensor) -> Tensor:
    """Whether the points (u, v), in pixels from the centre, lie in the largest sprite of a shape.

    The heart is (u^2 + v^2 - 1)^3 < u^2 v^3 in units of `HEART` pixels.
    """
    if shape == 0:
        return torch.maximum(u.abs(), v.abs()) < HALF_SIDE
    if shape == 1:
        return (u / HALF_AXES[0]).square() + (v / HALF_AXES[1]).square() < 1
    u2, v = (u / HEART).square(), v / HEART
    v2 = v.square()
    return (u2 + v2 - 1).pow(3) < u2 * v2 * v


def different(images: Tensor) -> Tensor:
    """Rising indices of the first of each group of equal images, of binary images [N, S, S]."""
    bits = np.packbits(images.flatten(1).numpy(), axis=1)
    rows = np.ascontiguousarray(bits).view(np.dtype((np.void, bits.shape[1])))[:, 0]
    _, first = np.unique(rows, return_index=True)
    return torch.from_numpy(np.sort(first))


def _foreign(file: Path, why: object) -> DataError:
    return DataError(
        f"dataset.path={file} cannot be read as dSprites' file: {why}. Expected "
        "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz of "
        "https://github.com/google-deepmind/dsprites-dataset; set dataset.path=null to draw sprites"
    )


def _read_factors(file: Path) -> Tensor:
    """The factors in dSprites' file, int64 [G, 5], without colour, which is constant."""
    try:
        with zipfile.ZipFile(regular(file, "it")) as archive:
            info = archive.getinfo("latents_classes.npy")
            with archive.open(info) as member:
                read_header(member, info)
            with archive.open(info) as member:
                classes = np.lib.format.read_array(member, allow_pickle=False)
    except Exception as error:  # of numpy, zipfile, zlib, or the parser of a header
        raise _foreign(file, error) from error
    if classes.ndim != 2 or classes.shape[1] != 1 + len(FACTORS) or classes.dtype.kind not in "iu":
        raise _foreign(file, f"`latents_classes` is {classes.dtype} {classes.shape}")
    return torch.from_numpy(classes[:, 1:].astype(np.int64))


def _rows(file: Path, name: str, index: Tensor) -> NDArray[Any]:
    """Rows `index` [M] of the array `name` of an .npz file, read piece by piece."""
    with zipfile.ZipFile(file) as archive, archive.open(f"{name}.npy") as member:
        shape, columns_first, dtype = read_header(member, archive.getinfo(f"{name}.npy"))
        plain = not (columns_first or dtype.hasobject) and len(shape) == 3 and 0 not in shape
        if not plain or int(index.max()) >= shape[0]:
            raise ValueError(f"`{name}` is {dtype} {shape}")
        width, order = math.prod(shape[1:]), index.argsort()
        wanted, found = index[order].numpy(), np.empty((len(index), *shape[1:]), dtype)
        for start in range(0, shape[0], _CHUNK):
            count = min(_CHUNK, shape[0] - start)
            piece = member.read(count * width * dtype.itemsize)
            rows = np.frombuffer(piece, dtype).reshape(count, *shape[1:])
            low, high = np.searchsorted(wanted, (start, start + count))
            found[order[low:high].numpy()] = rows[wanted[low:high] - start]
    return found
