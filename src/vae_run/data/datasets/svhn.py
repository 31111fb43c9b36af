"""Street View House Numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from vae_run.data.checks import regular
from vae_run.data.dataset import Parts
from vae_run.data.download import Downloaded, damaged
from vae_run.data.matlab_reader import read_arrays
from vae_run.data.splits import Split


@dataclass(frozen=True, kw_only=True)
class SVHN(Downloaded):
    """Digits cropped from house numbers, 73,257 + 26,032 of 32x32 (Netzer et al. 2011)."""

    kin: ClassVar[str] = "SVHN"

    def files(self) -> Sequence[str]:
        """The two MATLAB files of cropped digits, without the `extra` images."""
        return ["train_32x32.mat", "test_32x32.mat"]

    def sources(self, kin: Any) -> Sequence[str]:
        """The training file."""
        return [kin.split_list["train"][0]]

    def fetch(self, kin: Any, folder: str) -> None:
        """Download both files."""
        for split in ("train", "test"):
            kin(folder, split=split, download=True)

    def read_files(self, root: Path) -> Parts:
        """uint8 [N, 3, 32, 32] of scale 255, with labels 0 to 9."""
        train, test = (_read_mat(root / name) for name in self.files())
        return Parts(train, test=test, class_names=tuple("0123456789"))


def _read_mat(path: Path) -> Split:
    """`X` uint8 [32, 32, 3, N] and `y` [N, 1], where the digit 0 is labelled 10."""
    try:
        images, labels = read_arrays(regular(path, str(path)), ("X", "y"))
        labels = labels.reshape(-1).astype(np.int64) % 10
    except (ValueError, TypeError, OSError, EOFError) as error:
        raise damaged(path, error) from error
    if not images.size:
        raise damaged(path, "it has no image")
    if images.dtype != np.uint8 or images.shape != (32, 32, 3, len(labels)):
        raise damaged(path, f"X is {images.dtype} {images.shape}, with {len(labels)} labels")
    turned = np.ascontiguousarray(images.transpose(3, 2, 0, 1))
    return Split(torch.from_numpy(turned), torch.from_numpy(labels), scale=255.0)
