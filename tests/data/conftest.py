"""Small files in the formats of the real datasets."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

Write = Callable[[Path, np.ndarray], None]


@pytest.fixture
def write_idx() -> Write:
    """Writes an array of unsigned bytes as an idx file, with the folders above it."""

    def write(path: Path, array: np.ndarray) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        header = np.array([0x800 + array.ndim, *array.shape], dtype=">u4")
        path.write_bytes(header.tobytes() + array.astype(np.uint8).tobytes())

    return write


@pytest.fixture
def idx_folder(tmp_path: Path, write_idx: Write) -> Callable[..., Path]:
    """Fills `root/NAME/raw` with 20 training and 6 test images of random pixels."""

    def fill(name: str, stems: tuple[str, str] = ("train", "t10k")) -> Path:
        numbers = np.random.default_rng(0)
        for stem, count in zip(stems, (20, 6), strict=True):
            raw = tmp_path / name / "raw"
            images = numbers.integers(0, 256, (count, 28, 28))
            write_idx(raw / f"{stem}-images-idx3-ubyte", images)
            write_idx(raw / f"{stem}-labels-idx1-ubyte", np.arange(count) % 10)
        return tmp_path

    return fill


@pytest.fixture(scope="session")
def real_root() -> str:
    """The folder of the real MNIST files, or a skip that says why there is none."""
    beside = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    root = os.environ.get("VAE_RUN_DATA", str(beside))
    if not os.path.exists(os.path.join(root, "MNIST", "raw", "train-images-idx3-ubyte")):
        pytest.skip(f"no MNIST files in {root}: set VAE_RUN_DATA to the folder that has them")
    return root
