"""The handwritten digits that come with scikit-learn: no download, no network."""

import gzip
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from vae_run.data.dataset import Dataset, Parts, TestSize
from vae_run.data.splits import Split


@dataclass(frozen=True, kw_only=True)
class Digits(Dataset):
    """1,797 digits of 8x8 pixels in 17 grey levels (UCI optical recognition, Alpaydin 1998).

    Attributes:
        test_size: size of the test set: a share in (0, 1) or a number of images.
    """

    test_size: TestSize = 0.2

    def read(self) -> Parts:
        """uint8 [1797, 1, 8, 8] of scale 16, with labels 0 to 9."""
        # The file of `sklearn.datasets.load_digits`, read without a second of imports.
        package = find_spec("sklearn")
        assert package is not None
        assert package.origin is not None
        file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
        with gzip.open(file, "rt") as lines:
            rows = torch.from_numpy(np.loadtxt(lines, delimiter=",", dtype=np.int64))
        images, labels = rows[:, :-1].to(torch.uint8).reshape(-1, 1, 8, 8), rows[:, -1]
        names = tuple(str(digit) for digit in range(10))
        train = Split(images, labels, scale=16.0)
        return Parts(train, class_names=names, test_size=self.test_size)
