"""SVHN, from small MATLAB files of its format."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from vae_run.data.datasets.svhn import SVHN
from vae_run.errors import DataError


def write_mats(root: Path) -> np.ndarray:
    """Ten training and four test images; returns the training images [10, 3, 32, 32]."""
    images = np.random.default_rng(0).integers(0, 256, (14, 3, 32, 32), dtype=np.uint8)
    for name, rows in (("train", images[:10]), ("test", images[10:])):
        labels = np.arange(1, len(rows) + 1, dtype=np.uint8)[:, None]
        found = {"X": rows.transpose(2, 3, 1, 0), "y": labels}
        savemat(root / f"{name}_32x32.mat", found, do_compression=True)
    return images[:10]


def test_images_stand_upright_and_ten_means_zero(tmp_path: Path) -> None:
    images = write_mats(tmp_path)
    splits = SVHN(root=str(tmp_path), val_size=0, download=False).load()
    assert np.array_equal(splits.train.images.numpy(), images)
    assert splits.train.labels is not None
    assert splits.train.labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]
    assert len(splits.test) == 4
    assert splits.train.scale == 255.0


@pytest.mark.scale
def test_truncated_and_foreign_files_are_named(tmp_path: Path) -> None:
    write_mats(tmp_path)
    first = tmp_path / "train_32x32.mat"  # which is read before the other
    whole = first.read_bytes()
    for content in (whole[:4000], whole[:200], b"", b"<html>", whole[:5000] + b"x" * 3000):
        first.write_bytes(content)
        with pytest.raises(DataError, match=r"train_32x32\.mat is damaged"):
            SVHN(root=str(tmp_path)).load()
    savemat(first, {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.ones((3, 1))})
    with pytest.raises(DataError, match="with 3 labels"):
        SVHN(root=str(tmp_path)).load()
    savemat(first, {"Y": np.zeros(3)})
    with pytest.raises(DataError, match="KeyError: 'X'"):
        SVHN(root=str(tmp_path)).load()


def test_a_matlab_7_3_file_is_whole_but_refused(tmp_path: Path) -> None:
    write_mats(tmp_path)
    text = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, HDF5 schema 1.00 ."
    header = text.ljust(116) + bytes(8) + b"\x00\x02IM" + bytes(384) + b"\x89HDF\r\n\x1a\n"
    (tmp_path / "test_32x32.mat").write_bytes(header + bytes(2000))
    with pytest.raises(DataError, match=r"test_32x32\.mat is a MATLAB 7\.3 file.*-v7") as refused:
        SVHN(root=str(tmp_path)).load()
    assert "damaged" not in str(refused.value)
