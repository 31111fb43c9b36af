"""MNIST and datasets in its format: FashionMNIST, KMNIST, EMNIST."""

import gzip
import io
import math
import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from vae_run.data.checks import refuse_more_than_memory, regular
from vae_run.data.dataset import Parts
from vae_run.data.download import Downloaded, damaged
from vae_run.data.splits import Split
from vae_run.errors import DataError

_MERGED = digits + ascii_uppercase + "abdefghnqrt"
_SIDE = 28
LARGEST_RATIO = 1032
"""The largest compression ratio of a .gz file."""


@dataclass(frozen=True, kw_only=True)
class MNIST(Downloaded):
    """Handwritten digits, 60,000 + 10,000 of 28x28 (LeCun et al. 1998).

    Its 60,000 training images become 54,000 to train on and 6,000 to validate on by default.
    """

    kin: ClassVar[str] = "MNIST"
    names: ClassVar[tuple[str, ...]] = tuple(digits)

    def stems(self) -> tuple[str, str]:
        """Prefixes of the names of the training and test files."""
        return "train", "t10k"

    def files(self) -> Sequence[str]:
        """Four idx files, each possibly compressed as `.gz`."""
        kinds = ("images-idx3-ubyte", "labels-idx1-ubyte")
        return [f"{self.kin}/raw/{stem}-{kind}" for stem in self.stems() for kind in kinds]

    def present(self, path: Path) -> bool:
        """Whether the file exists, compressed or not."""
        return os.path.exists(path) or os.path.exists(f"{path}.gz")

    def sources(self, kin: Any) -> Sequence[str]:
        """The mirrors."""
        return list(kin.mirrors)

    def fetch(self, kin: Any, folder: str) -> None:
        """Download and unpack all four files."""
        kin(folder, download=True)

    def read_files(self, root: Path) -> Parts:
        """uint8 [N, 1, 28, 28] of scale 255, with labels."""
        files = [root / name for name in self.files()]
        train, test = _read_split(files[0], files[1]), _read_split(files[2], files[3])
        return Parts(train, test=test, class_names=self.names)


@dataclass(frozen=True, kw_only=True)
class FashionMNIST(MNIST):
    """Zalando's articles of clothing, 60,000 + 10,000 of 28x28 (Xiao et al. 2017)."""

    kin = "FashionMNIST"
    names = (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
        "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class KMNIST(MNIST):
    """Cursive hiragana, 60,000 + 10,000 of 28x28 (Clanuwat et al. 2018)."""

    kin = "KMNIST"
    names = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")


@dataclass(frozen=True, kw_only=True)
class EMNIST(MNIST):
    """Handwritten letters and digits of 28x28 (Cohen et al. 2017), transposed to be upright.

    Attributes:
        split: one of its six datasets. The labels of `letters` are 1 to 26; all others start at 0.
    """

    split: Literal["balanced", "letters", "digits", "mnist", "bymerge", "byclass"] = "balanced"
    kin = "EMNIST"

    def stems(self) -> tuple[str, str]:
        """Prefixes of the names of the training and test files."""
        return f"emnist-{self.split}-train", f"emnist-{self.split}-test"

    def sources(self, kin: Any) -> Sequence[str]:
        """The archive of all six datasets."""
        return [kin.url]

    def fetch(self, kin: Any, folder: str) -> None:
        """Download and unpack all six datasets."""
        kin(folder, split=self.split, download=True)

    def read_files(self, root: Path) -> Parts:
        """uint8 [N, 1, 28, 28] of scale 255; the files are column-major, MNIST's row-major."""
        found = MNIST.read_files(self, root)
        for part in found.named().values():
            for start in range(0, len(part), 10_000):
                images = part.images[start : start + 10_000]
                images.copy_(images.transpose(2, 3).clone())
        names = {
            "balanced": tuple(_MERGED),
            "bymerge": tuple(_MERGED),
            "byclass": tuple(digits + ascii_uppercase + ascii_lowercase),
            "letters": ("N/A", *ascii_lowercase),
        }
        return Parts(found.train, test=found.test, class_names=names.get(self.split, self.names))


def _read_split(image_file: Path, label_file: Path) -> Split:
    """The images and labels of one pair of idx files."""
    images, labels = read_idx(image_file, 3), read_idx(label_file, 1)
    if len(images) != len(labels):
        raise damaged(label_file, f"{len(labels)} labels for {len(images)} images of {image_file}")
    if images.shape[1:] != (_SIDE, _SIDE) or not len(images):
        shape = " x ".join(str(size) for size in images.shape)
        raise damaged(image_file, f"it holds {shape}, expected images of {_SIDE} x {_SIDE}")
    return Split(images[:, None], labels.to(torch.int64), scale=255.0)


OTHER_TYPES = {
    0x09: "signed bytes",
    0x0B: "16-bit integers",
    0x0C: "32-bit integers",
    0x0D: "32-bit floats",
    0x0E: "64-bit floats",
}
"""Types of idx files beside unsigned bytes, by the third byte of the file."""


def read_idx(path: Path, dimensions: int) -> Tensor:
    """An idx file of unsigned bytes as a uint8 tensor with that many dimensions.

    Its header is, in big-endian 32-bit words, 0x800 + dimensions and the length of each dimension.
    If the file does not exist, `path` + ".gz" is read.

    Raises:
        DataError: the header or the length is wrong, or the numbers are of another type.
    """
    if not path.exists():
        path = path.with_name(f"{path.name}.gz")
    start = 4 * (dimensions + 1)
    try:
        with _opened(regular(path, str(path))) as file:
            words = file.read(start)
            magic, *shape = struct.unpack(f">{dimensions + 1}I", words.ljust(start, b"\0"))
            if magic >> 8 in OTHER_TYPES and magic & 0xFF == dimensions:
                raise DataError(
                    f"{path} is a whole idx file of {OTHER_TYPES[magic >> 8]}, but this dataset "
                    "has unsigned bytes. Convert it, or read its images by dataset=arrays."
                )
            if magic != 0x800 + dimensions or len(words) < start:
                raise damaged(path, f"it does not start as an idx file of {dimensions} dimensions")
            expected, held = math.prod(shape), path.stat().st_size
            if path.suffix != ".gz" and held != start + expected:
                why = f"{held} bytes, but its header {shape} requires {start + expected}"
                raise damaged(path, why)
            if expected > LARGEST_RATIO * held:
                raise damaged(path, f"{held} bytes cannot hold what its header {shape} requires")
            refuse_more_than_memory(expected, str(path))
            if path.suffix == ".gz":
                raw = np.frombuffer(bytearray(file.read(expected + 1)), np.uint8)
            else:
                raw = np.fromfile(path, np.uint8, offset=start)
    except (OSError, EOFError, MemoryError, zlib.error) as error:
        raise damaged(path, error) from error
    if len(raw) != expected:
        than = "more" if len(raw) > expected else "less"
        raise damaged(path, f"it unpacks to {than} than its header {shape} requires")
    return torch.from_numpy(raw.reshape(shape))


def _opened(path: Path) -> gzip.GzipFile | io.BufferedReader:
    return gzip.open(path) if path.suffix == ".gz" else open(path, "rb")
