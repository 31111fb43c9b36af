"""The published fixed binarization of MNIST.

Letters: N images.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vae_run.data.checks import refuse_more_than_memory, regular
from vae_run.data.dataset import Dataset, Parts
from vae_run.data.splits import Split
from vae_run.errors import DataError

SOURCE = "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/"
"""Where its authors publish the three text files."""
_SIDE = 28
_SPLITS = {"train": ("train",), "val": ("valid", "val", "validation"), "test": ("test",)}
"""What each split is called in the names of files and arrays."""


@dataclass(frozen=True, kw_only=True)
class StaticMNIST(Dataset):
    """MNIST with every pixel binarized once (Larochelle & Murray 2011, "The neural autoregressive
    distribution estimator"; Salakhutdinov & Murray 2008): 50,000 + 10,000 + 10,000 of 28x28.

    Log-likelihoods that are published for "binarized MNIST" are often of these files, and are
    comparable with those of no other sample of the pixels. They have no labels.

    Attributes:
        root: the folder of all datasets. It, or `binarized_mnist` in it, has the text files
            binarized_mnist_{train,valid,test}.amat, or binarized_mnist.npz with the arrays
            train, valid and test.
    """

    sizes: ClassVar[dict[str, int]] = {"train": 50_000, "val": 10_000, "test": 10_000}

    root: str

    def read(self) -> Parts:
        """uint8 [N, 1, 28, 28] of scale 1. DataError names a file that is missing or damaged."""
        root = Path(os.path.expanduser(self.root))
        for folder in (root / "binarized_mnist", root):
            if (archive := folder / "binarized_mnist.npz").exists():
                train, val, test = (self._archived(archive, name) for name in _SPLITS)
                return Parts(train, val, test)
            files = {
                name: folder / f"binarized_mnist_{names[0]}.amat" for name, names in _SPLITS.items()
            }
            lacking = [file.name for file in files.values() if not file.exists()]
            if not lacking:
                train, val, test = (self._text(file, name) for name, file in files.items())
                return Parts(train, val, test)
            if len(lacking) < len(files):
                raise DataError(f"{folder} lacks {', '.join(lacking)}, published at {SOURCE}")
        raise DataError(
            f"dataset.root={self.root}: the binarized MNIST of Larochelle & Murray is not there. "
            f"Put binarized_mnist_train.amat, _valid.amat and _test.amat of {SOURCE} into "
            f"{root / 'binarized_mnist'}"
        )

    def _text(self, file: Path, name: str) -> Split:
        return self._split(str(file), read_amat(file, _SIDE * _SIDE), name)

    def _archived(self, file: Path, name: str) -> Split:
        try:
            with np.load(file, allow_pickle=False) as archive:
                found = [each for each in _SPLITS[name] if each in archive.files]
                if not found:
                    raise DataError(f"{file} has no array {' or '.join(_SPLITS[name])}")
                array = archive[found[0]]
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{file} cannot be read as .npz: {error}") from error
        if array.dtype.kind not in "biuf" or not np.isin(array, (0, 1)).all():
            raise DataError(f"{file}: array {found[0]} has values other than 0 and 1")
        return self._split(f"{file}: array {found[0]}", torch.from_numpy(array != 0), name)

    def _split(self, where: str, pixels: Tensor, name: str) -> Split:
        expected = (self.sizes[name], _SIDE * _SIDE)
        if (len(pixels), pixels[0].numel() if len(pixels) else 0) != expected:
            raise DataError(
                f"{where} holds {' x '.join(map(str, pixels.shape))} pixels; the published split "
                f"has {expected[0]:,} images of {_SIDE} x {_SIDE}"
            )
        return Split(pixels.reshape(-1, 1, _SIDE, _SIDE).to(torch.uint8), scale=1.0)


def read_amat(path: Path, width: int) -> Tensor:
    """The zeros and ones of a text file with `width` of them in each line: uint8 [N, width].

    They are read as bytes, a hundred times as fast as by a parser of numbers.

    Raises:
        DataError: the file is missing, or has other numbers, or lines of another length.
    """
    refuse_more_than_memory(regular(path, str(path)).stat().st_size, str(path))
    raw: NDArray[np.uint8] = np.fromfile(path, np.uint8)
    digit = (raw == ord("0")) | (raw == ord("1"))
    space = (raw == ord(" ")) | (raw == ord("\n")) | (raw == ord("\r")) | (raw == ord("\t"))
    if not (digit | space).all():
        place = int(np.flatnonzero(~(digit | space))[0])
        line = int((raw[:place] == ord("\n")).sum()) + 1
        raise DataError(f"{path} is no file of zeros and ones: line {line} has {chr(raw[place])!r}")
    if (digit[1:] & digit[:-1]).any():
        raise DataError(f"{path} has digits without a space between them")
    ends = np.cumsum(digit)[raw == ord("\n")]
    total = int(digit.sum())
    lengths = np.diff(np.unique(np.concatenate([[0], ends, [total]])))
    if (lengths != width).any() or not total:
        found = sorted(set(lengths.tolist()))[:5]
        raise DataError(f"{path} has lines of {found} numbers, expected {width} in each")
    return torch.from_numpy((raw[digit] - ord("0")).reshape(-1, width))
