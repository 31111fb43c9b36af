"""The published binarization of MNIST, in files of its format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vae_run.data.datasets.static_mnist import StaticMNIST, read_amat
from vae_run.errors import DataError

SIZES = {"train": 5, "val": 3, "test": 2}
FILES = {"train": "train", "val": "valid", "test": "test"}


@pytest.fixture
def pixels(monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """Small splits, which the dataset takes for the published ones."""
    monkeypatch.setattr(StaticMNIST, "sizes", SIZES)
    random = np.random.default_rng(0)
    return {name: random.integers(0, 2, (size, 784)) for name, size in SIZES.items()}


def write(folder: Path, pixels: dict[str, np.ndarray]) -> None:
    folder.mkdir(exist_ok=True)
    for name, array in pixels.items():
        np.savetxt(folder / f"binarized_mnist_{FILES[name]}.amat", array, fmt="%d")


@pytest.mark.parametrize("folder", ["binarized_mnist", "."])
def test_text_files(folder: str, pixels: dict[str, np.ndarray], tmp_path: Path) -> None:
    write(tmp_path / folder, pixels)
    splits = StaticMNIST(root=str(tmp_path)).load()
    for name, array in pixels.items():
        split = getattr(splits, name)
        assert np.array_equal(split.images.numpy(), array.reshape(-1, 1, 28, 28)), name
    assert splits.levels == 2
    assert not splits.train.has_grey
    assert splits.train.labels is None


@pytest.mark.parametrize("name", ["valid", "val"])
@pytest.mark.parametrize("kind", [np.uint8, np.float32, bool])
def test_an_archive_is_the_same(
    name: str, kind: type, pixels: dict[str, np.ndarray], tmp_path: Path
) -> None:
    write(tmp_path / "text", pixels)
    arrays = {name if key == "val" else key: array.astype(kind) for key, array in pixels.items()}
    np.savez(tmp_path / "binarized_mnist.npz", **arrays)
    text = StaticMNIST(root=str(tmp_path / "text")).load()
    assert StaticMNIST(root=str(tmp_path)).load().fingerprint() == text.fingerprint()


def test_what_is_missing_is_named_with_its_source(
    pixels: dict[str, np.ndarray], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"_valid\.amat and _test\.amat of http.*binarized_mnist/"):
        StaticMNIST(root=str(tmp_path)).load()
    write(tmp_path, pixels)
    (tmp_path / "binarized_mnist_test.amat").unlink()
    with pytest.raises(DataError, match=r"lacks binarized_mnist_test\.amat, published at http"):
        StaticMNIST(root=str(tmp_path)).load()


def test_a_split_of_another_size_is_not_the_published_one(
    pixels: dict[str, np.ndarray], tmp_path: Path
) -> None:
    write(tmp_path, {**pixels, "val": pixels["val"][:2]})
    with pytest.raises(DataError, match=r"valid\.amat holds 2 x 784 .* split has 3 images"):
        StaticMNIST(root=str(tmp_path)).load()


@pytest.mark.parametrize("text", ["0 1 1\n1 0 0\n", "0 1 1 \r\n1 0 0 \r\n", "0 1 1\n\n1\t0 0"])
def test_spaces_and_ends_of_lines_of_all_kinds(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.amat").write_bytes(text.encode())
    found = read_amat(tmp_path / "a.amat", 3)
    assert torch.equal(found, torch.tensor([[0, 1, 1], [1, 0, 0]], dtype=torch.uint8))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0 1 1\n1 2 0\n", "line 2 has '2'"),
        ("0.0 1 1\n", r"line 1 has '\.'"),
        ("0 1 1\n1 0\n1 1 1\n", r"lines of \[2, 3\] numbers, expected 3"),
        ("0 1\n1 1 0 1\n", r"lines of \[2, 4\] numbers"),
        ("01 1\n", "without a space"),
        ("", "lines of"),
    ],
)
def test_damaged_files(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.amat").write_text(text)
    with pytest.raises(DataError, match=said):
        read_amat(tmp_path / "a.amat", 3)
