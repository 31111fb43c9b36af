"""MedMNIST's files: three splits, labels of two axes, grey and colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vae_run.data.datasets.medmnist import CLASSES, MedMNIST
from vae_run.errors import DataError


def write(path: Path, shape: tuple[int, ...] = (28, 28), labels: int = 1) -> dict[str, np.ndarray]:
    """A file in the format of MedMNIST, and its arrays."""
    random = np.random.default_rng(0)
    arrays = {}
    for split, size in (("train", 6), ("val", 3), ("test", 4)):
        arrays[f"{split}_images"] = random.integers(0, 256, (size, *shape), np.uint8)
        arrays[f"{split}_labels"] = random.integers(0, 2, (size, labels), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    return arrays


@pytest.mark.parametrize("folder", [".", "medmnist"])
@pytest.mark.parametrize(("name", "channels"), [("pathmnist", 3), ("pneumoniamnist", 1)])
def test_its_own_splits(folder: str, name: str, channels: int, tmp_path: Path) -> None:
    shape = (28, 28, 3) if channels == 3 else (28, 28)
    arrays = write(tmp_path / folder / f"{name}.npz", shape)
    splits = MedMNIST(root=str(tmp_path), name=name).load()
    for part in ("train", "val", "test"):
        split, pixels = getattr(splits, part), arrays[f"{part}_images"]
        expected = pixels.reshape(len(pixels), 28, 28, channels).transpose(0, 3, 1, 2)
        assert np.array_equal(split.images.numpy(), expected), part
        assert split.labels.tolist() == arrays[f"{part}_labels"][:, 0].tolist()
    assert splits.class_names == CLASSES[name]
    assert splits.train.scale == 255


def test_larger_images_have_a_file_of_their_own(tmp_path: Path) -> None:
    write(tmp_path / "octmnist_64.npz", (64, 64))
    assert MedMNIST(root=str(tmp_path), name="octmnist", size=64).load().event_shape == (1, 64, 64)
    write(tmp_path / "octmnist.npz", (64, 64))
    with pytest.raises(DataError, match=r"octmnist\.npz is damaged: train_images is uint8 .6, 64"):
        MedMNIST(root=str(tmp_path), name="octmnist").load()


def test_many_labels_of_an_image_are_left_out_and_said(tmp_path: Path) -> None:
    write(tmp_path / "chestmnist.npz", labels=14)
    splits = MedMNIST(root=str(tmp_path), name="chestmnist").load()
    assert splits.train.labels is None
    assert splits.notes == ("An image has many labels at once; they are left out.",)


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "medmnist", None)
    with pytest.raises(DataError, match=r"bloodmnist\.npz does not.*pip install .*medmnist"):
        MedMNIST(root=str(tmp_path), name="bloodmnist").load()
    with pytest.raises(DataError, match=r"dataset\.download=false; put bloodmnist\.npz of https"):
        MedMNIST(root=str(tmp_path), name="bloodmnist", download=False).load()
    assert list(tmp_path.iterdir()) == []


def test_damaged_files(tmp_path: Path) -> None:
    (tmp_path / "pathmnist.npz").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(DataError, match=r"pathmnist\.npz is damaged"):
        MedMNIST(root=str(tmp_path)).load()
    np.savez(tmp_path / "pathmnist.npz", train_images=np.zeros((2, 28, 28, 3), np.uint8))
    with pytest.raises(DataError, match="train_labels"):
        MedMNIST(root=str(tmp_path)).load()
