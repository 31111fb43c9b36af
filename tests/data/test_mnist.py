"""MNIST's kin, from small files of their format and from the real ones."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from vae_run.data.datasets.mnist import EMNIST, KMNIST, MNIST, FashionMNIST, read_idx
from vae_run.errors import DataError

IMAGES = "train-images-idx3-ubyte"
LABELS = "train-labels-idx1-ubyte"


def test_real_mnist_is_54000_6000_10000(real_root: str) -> None:
    splits = MNIST(root=real_root).load()
    assert [len(s) for s in (splits.train, splits.val, splits.test)] == [54_000, 6_000, 10_000]
    assert splits.event_shape == (1, 28, 28)
    assert splits.train.images.dtype == torch.uint8
    both = torch.cat([splits.train.images, splits.val.images])
    assert abs(both.double().mean().item() / 255 - 0.1306604762738429) < 1e-12
    assert splits.test.labels is not None
    assert splits.test.labels[:5].tolist() == [7, 2, 1, 0, 4]  # its own order is kept
    rows = {bytes(image.numpy().data) for image in splits.val.images}
    kept = {bytes(image.numpy().data) for image in splits.train.images}
    assert not rows & kept


def test_real_mnist_sampled_has_the_grey_mean(real_root: str) -> None:
    grey = MNIST(root=real_root, classes=[1]).load().test
    static = MNIST(root=real_root, classes=[1], binarize="static").load().test
    assert len(grey) == len(static) == 1135
    difference = grey.pixels(slice(None)).mean() - static.pixels(slice(None)).mean()
    assert abs(difference.item()) < 1e-3


@pytest.mark.parametrize("kind", [MNIST, FashionMNIST, KMNIST])
def test_kin_read_their_own_folder(kind: type[MNIST], idx_folder: Callable[..., Path]) -> None:
    root = idx_folder(kind.__name__)
    splits = kind(root=str(root), download=False).load()
    assert [len(s) for s in (splits.train, splits.val, splits.test)] == [18, 2, 6]
    assert splits.event_shape == (1, 28, 28)
    assert splits.train.scale == 255.0
    assert splits.class_names is not None
    assert len(splits.class_names) == 10
    again = np.random.default_rng(0).integers(0, 256, (20, 28, 28))
    first = splits.train.images[0, 0].numpy()
    assert any(np.array_equal(first, image) for image in again)


def test_compressed_files_do_as_well(idx_folder: Callable[..., Path]) -> None:
    root = idx_folder("MNIST")
    plain = MNIST(root=str(root)).load().fingerprint()
    for path in sorted((root / "MNIST" / "raw").iterdir()):
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert MNIST(root=str(root), download=False).load().fingerprint() == plain
    path = root / "MNIST" / "raw" / f"{IMAGES}.gz"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match=rf"{IMAGES}\.gz is damaged"):
        MNIST(root=str(root)).load()


def test_emnist_is_turned_upright(tmp_path: Path, write_idx: Callable[..., None]) -> None:
    upright = np.zeros((5, 28, 28), np.uint8)
    upright[:, 2, 5:20] = 9  # the bar of a T, on top
    raw = tmp_path / "EMNIST" / "raw"
    for part in ("train", "test"):
        stem = f"emnist-letters-{part}"
        write_idx(raw / f"{stem}-images-idx3-ubyte", upright.transpose(0, 2, 1))
        write_idx(raw / f"{stem}-labels-idx1-ubyte", np.array([1, 26, 20, 1, 1]))
    splits = EMNIST(root=str(tmp_path), split="letters", val_size=0).load()
    assert np.array_equal(splits.train.images[:, 0].numpy(), upright)
    assert np.array_equal(splits.test.images[:, 0].numpy(), upright)
    assert splits.class_names is not None
    assert splits.train.labels is not None
    read = [splits.class_names[label] for label in splits.train.labels]
    assert read == ["a", "z", "t", "a", "a"]


@pytest.mark.parametrize(
    ("split", "count"),
    [("balanced", 47), ("bymerge", 47), ("byclass", 62), ("digits", 10), ("letters", 27)],
)
def test_emnist_names_agree_with_torchvision(
    split: str, count: int, idx_folder: Callable[..., Path]
) -> None:
    from torchvision import datasets

    root = idx_folder("EMNIST", (f"emnist-{split}-train", f"emnist-{split}-test"))
    names = EMNIST(root=str(root), split=split).load().class_names  # type: ignore[arg-type]
    assert names is not None
    assert list(names) == datasets.EMNIST.classes_split_dict[split]
    assert len(names) == count


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        (
            IMAGES,
            lambda raw: raw[:-1],
            r"15695 bytes, but its header \[20, 28, 28\] requires 15696",
        ),
        (IMAGES, lambda raw: raw + b"x", "15697 bytes, but"),
        (IMAGES, lambda raw: b"", "does not start as an idx file of 3 dimensions"),
        (IMAGES, lambda raw: raw[:6], "does not start as an idx file"),
        (IMAGES, lambda raw: b"<html>" * 3000, "does not start as an idx file"),
        (LABELS, lambda raw: raw[:7] + bytes([19]) + raw[8:-1], "19 labels for 20 images"),
    ],
)
def test_damaged_files_are_named_and_kept(
    name: str, change: Callable[[bytes], bytes], said: str, idx_folder: Callable[..., Path]
) -> None:
    root = idx_folder("MNIST")
    path = root / "MNIST" / "raw" / name
    path.write_bytes(change(path.read_bytes()))
    before = path.read_bytes()
    with pytest.raises(DataError, match=said) as caught:
        MNIST(root=str(root)).load()
    assert f"{path} is damaged" in str(caught.value)
    assert "move it away" in str(caught.value)
    assert path.read_bytes() == before


def test_idx_bytes_match_torchvision(idx_folder: Callable[..., Path]) -> None:
    from torchvision.datasets.mnist import read_image_file

    path = idx_folder("MNIST") / "MNIST" / "raw" / IMAGES
    assert torch.equal(read_idx(path, 3), read_image_file(str(path)))


@pytest.mark.parametrize(
    ("code", "dtype", "told"), [(0x0C, ">i4", "32-bit integers"), (0x0D, ">f4", "32-bit floats")]
)
def test_an_idx_file_of_another_type_is_whole_but_refused(
    tmp_path: Path, code: int, dtype: str, told: str
) -> None:
    path = tmp_path / "labels"
    header = bytes([0, 0, code, 1]) + (5).to_bytes(4, "big")
    path.write_bytes(header + np.arange(5).astype(dtype).tobytes())
    with pytest.raises(DataError, match=f"is a whole idx file of {told}"):
        read_idx(path, 1)
