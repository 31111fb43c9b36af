"""CIFAR-10."""

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from vae_run.data.checks import regular
from vae_run.data.dataset import Parts
from vae_run.data.download import Downloaded, damaged
from vae_run.data.splits import Split
from vae_run.errors import DataError

_NAMES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class CIFAR10(Downloaded):
    """Small colour photographs of ten kinds, 50,000 + 10,000 of 32x32 (Krizhevsky 2009)."""

    kin: ClassVar[str] = "CIFAR10"

    def files(self) -> Sequence[str]:
        """Five training batches and one test batch, as in `cifar-10-python.tar.gz`."""
        batches = [f"data_batch_{number}" for number in range(1, 6)]
        return [f"cifar-10-batches-py/{name}" for name in (*batches, "test_batch")]

    def sources(self, kin: Any) -> Sequence[str]:
        """The archive."""
        return [kin.url]

    def fetch(self, kin: Any, folder: str) -> None:
        """Download and unpack the archive."""
        kin(folder, download=True)

    def read_files(self, root: Path) -> Parts:
        """uint8 [N, 3, 32, 32] of scale 255, with labels 0 to 9."""
        batches = [_read_batch(root / name) for name in self.files()]
        images = torch.cat([images for images, _ in batches[:-1]])
        labels = torch.cat([labels for _, labels in batches[:-1]])
        test = Split(*batches[-1], scale=255.0)
        return Parts(Split(images, labels, scale=255.0), test=test, class_names=_NAMES)


class _ArraysOnly(pickle.Unpickler):
    """Unpickles numpy arrays and plain values; any other callable in a pickle is refused."""

    def find_class(self, module: str, name: str) -> Any:
        """The callables of a pickled array, by their names in numpy 1 and 2."""
        rebuild = np.empty(0).__reduce__()[0]
        allowed = {
            ("numpy.core.multiarray", "_reconstruct"): rebuild,
            ("numpy._core.multiarray", "_reconstruct"): rebuild,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
        }
        if (module, name) == ("_codecs", "encode"):  # how Python 3 writes bytes in protocol 2
            return lambda text, _: text.encode("latin1")
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(
                f"it refers to {module}.{name}, which a CIFAR file does not need"
            )
        return allowed[module, name]


def _read_batch(path: Path) -> tuple[Tensor, Tensor]:
    """One pickled batch: `data` uint8 [N, 3072], channel by channel, and a list of `labels`."""
    try:
        with open(regular(path, str(path)), "rb") as file:
            found = _ArraysOnly(file, encoding="latin1").load()
        data, labels = found["data"], torch.tensor(found["labels"], dtype=torch.int64)
        images = torch.from_numpy(data).reshape(-1, 3, 32, 32)
    except DataError:
        raise
    except Exception as error:  # a damaged pickle can raise any of them
        raise damaged(path, error) from error
    if images.dtype != torch.uint8 or labels.shape != images.shape[:1] or not len(images):
        raise damaged(path, f"{labels.numel()} labels for {len(images)} images, {images.dtype}")
    return images, labels
