"""Cuts that keep an image in its set when the data grow (`dataset.split_by=name`).

Letters: N images, E their event shape.
"""

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vae_run.data.splits import Split
from vae_run.errors import DataError
from vae_run.system.nouns import noun_of


def positions(split: Split, seed: int) -> NDArray[np.float64]:
    """A number in [0, 1) for each image, float64 [N], that no other image has a part in.

    It is uniform: the first 53 bits of the SHA-256 of `seed` and the image's name, or where images
    have no names, their stored bytes, those in float32 of float64. Images of the same name or
    bytes have the same number.
    """
    return np.array(
        [
            (int.from_bytes(hashlib.sha256(b"%d:" % seed + key).digest()[:8], "big") >> 11) / 2**53
            for key in _keys(split)
        ]
    )


def _keys(split: Split) -> list[bytes]:
    if split.names is not None:
        return [str(name).encode("utf-8", "surrogateescape") for name in split.names]
    return [
        image.contiguous().numpy().tobytes()
        for images in split.chunks()
        for image in (images.float() if images.dtype == torch.float64 else images).cpu()
    ]


def shares(test_size: float | int, val_size: float | int) -> tuple[float, float]:
    """Both sizes as shares.

    Raises:
        DataError: one is a number of images, which a set that grows cannot keep.
    """
    for key, size in (("test_size", test_size), ("val_size", val_size)):
        if not 0 <= size < 1:
            raise DataError(
                f"dataset.{key}={size}: with dataset.split_by=name it has to be a share in [0, 1): "
                "of a set that grows, a fixed number would not be the same ones. Give a "
                "share, or use dataset.split_by=index"
            )
    return float(test_size), float(val_size)


def cut(
    split: Split, test_size: float | int, val_size: float | int, seed: int, *, table: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """The images of train, val and test: indices int64, in rising order.

    An image is in test if its position is below `test_size`, and in val if it is below
    `test_size + val_size (1 - test_size)`. So sizes are shares in expectation, and adding images
    moves no image from one set to another.

    Args:
        split: what is cut.
        test_size: the share of test; 0: there is one already.
        val_size: the share of val of what is left; 0: there is none, or one already.
        seed: of the choice.
        table: whether the examples are rows of a table.

    Raises:
        DataError: a size is no share, or a set would be empty.
    """
    test_share, val_share = shares(test_size, val_size)
    cuts = test_share or val_share
    where = torch.from_numpy(positions(split, seed)) if cuts else torch.ones(len(split))
    in_test = where < test_share
    in_val = ~in_test & (where < test_share + val_share * (1 - test_share))
    found = (~in_test & ~in_val, in_val, in_test)
    for name, chosen, wanted in zip(
        ("train", "val", "test"), found, (1.0, val_share, test_share), strict=True
    ):
        if wanted and not chosen.any():
            noun = noun_of(split.event_shape, table=table)
            raise DataError(
                f"dataset.split_by=name: none of {len(split)} {noun} falls into {name}. Add "
                f"{noun}, make dataset.test_size or dataset.val_size greater, or choose another "
                "dataset.split_seed"
            )
    train, val, test = (chosen.nonzero()[:, 0] for chosen in found)
    return train, val, test
