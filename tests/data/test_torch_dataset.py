"""Datasets that functions of users make."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from parts import composed
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from vae_run.config.check import check
from vae_run.data.datasets.torch_dataset import TorchDataset
from vae_run.errors import ConfigError, DataError

BYTES = torch.randint(0, 256, (20, 3, 4, 5), generator=torch.Generator().manual_seed(0)).byte()
LABELS = torch.arange(20) % 3


class Pictures(Dataset):
    """PIL images with labels, as torchvision's datasets have them."""

    classes = ("ant", "bee", "cow")

    def __init__(self, count: int = 20, mode: str = "RGB") -> None:
        self.count, self.mode = count, mode

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, place: int) -> tuple[Image.Image, int]:
        if place >= self.count:
            raise IndexError(place)
        picture = Image.fromarray(BYTES[place].permute(1, 2, 0).numpy())
        return picture.convert(self.mode), int(LABELS[place])


class Odd(Pictures):
    """One image is of another size, or fails."""

    def __getitem__(self, place: int) -> tuple[Image.Image, int]:
        if place == 7 and self.mode == "L":
            raise OSError("no such picture")
        picture, label = super().__getitem__(place)
        return (picture.resize((9, 9)) if place == 7 else picture), label


class Endless(IterableDataset):
    def __iter__(self) -> Any:
        return iter(BYTES)


def pictures(**keys: Any) -> Dataset:
    return Pictures(**keys)


def odd(**keys: Any) -> Dataset:
    return Odd(**keys)


def tensors() -> Dataset:
    return TensorDataset(BYTES.float() / 255, LABELS)


def unlabelled() -> Dataset:
    return TensorDataset(BYTES.float() / 255)


def pair() -> Any:
    return BYTES, LABELS


def array() -> Any:
    return BYTES.numpy()


def vectors() -> Any:
    return torch.linspace(-3, 3, 60).reshape(20, 3)


def three() -> Any:
    return {"train": (BYTES[:10], LABELS[:10]), "val": BYTES[10:14], "test": Pictures(6)}


def endless() -> Any:
    return Endless()


def loader() -> Any:
    return DataLoader(Pictures())


def two() -> Any:
    return Pictures(), Pictures()


def wrong_key() -> Any:
    return {"train": BYTES, "valid": BYTES}


def measured() -> Any:
    return TensorDataset(BYTES.float() / 255, torch.rand(20))


def text_items() -> Any:
    class Texts(Pictures):
        def __getitem__(self, place: int) -> Any:
            return "text", 0

    return Texts()


def made(name: str, **keys: Any) -> TorchDataset:
    return TorchDataset(factory=f"{__name__}.{name}", test_size=5, val_size=0, **keys)


def whole(splits: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Images and labels of train and test in the order of the source."""
    order = torch.cat([splits.train.index, splits.test.index]).argsort()
    images = torch.cat([splits.train.images, splits.test.images])[order]
    if splits.train.labels is None:
        return images, None
    return images, torch.cat([splits.train.labels, splits.test.labels])[order]


@pytest.mark.parametrize("name", ["pictures", "pair"])
def test_bytes_with_labels(name: str) -> None:
    splits = made(name).load()
    images, labels = whole(splits)
    assert torch.equal(images, BYTES)
    assert torch.equal(labels, LABELS)
    assert splits.train.scale == 255
    assert splits.class_names == (Pictures.classes if name == "pictures" else None)


@pytest.mark.parametrize(("name", "labelled"), [("tensors", True), ("unlabelled", False)])
def test_floats(name: str, labelled: bool) -> None:
    images, labels = whole(made(name).load())
    assert torch.equal(images, BYTES.float() / 255)
    assert (labels is not None) == labelled


def test_targets_that_are_no_classes_are_left_out_and_said() -> None:
    splits = made("measured").load()
    assert splits.train.labels is None
    assert len(splits.notes) == 1
    assert "(Tensor) is no whole number" in splits.notes[0]
    assert made("pictures").load().notes == made("unlabelled").load().notes == ()


def test_arrays_vectors_and_modes_of_pictures() -> None:
    assert torch.equal(whole(made("array").load())[0], BYTES)
    assert torch.equal(whole(made("vectors").load())[0], vectors())
    grey = made("pictures", arguments={"mode": "L"}).load()
    assert grey.event_shape == (1, 4, 5)
    assert made("pictures", arguments={"mode": "P", "count": 12}).load().event_shape == (3, 4, 5)


def test_splits_by_name() -> None:
    splits = made("three").load()
    assert (len(splits.train), len(splits.val), len(splits.test)) == (10, 4, 6)
    assert torch.equal(splits.test.images, BYTES[:6])
    assert torch.equal(splits.val.images, BYTES[10:14])
    assert splits.test.labels.tolist() == LABELS[:6].tolist()


@pytest.mark.parametrize(
    ("name", "keys", "said"),
    [
        ("nothing", {}, r"cannot be imported .*nothing.*PYTHONPATH"),
        ("BYTES", {}, "is Tensor; expected a function"),
        ("pictures", {"arguments": {"sizes": 3}}, r"failed with dataset.arguments=.*TypeError"),
        ("pictures", {"arguments": {"count": 0}}, "has no items"),
        ("odd", {}, r"train\[7\] is uint8 \(9, 9, 3\), but \[0\] is uint8 \(4, 5, 3\)"),
        ("odd", {"arguments": {"mode": "L"}}, r"train\[7\] failed: OSError: no such picture"),
        ("endless", {}, "is Endless; expected a map-style torch Dataset"),
        ("loader", {}, "is DataLoader; expected a map-style torch Dataset"),
        ("two", {}, "is tuple; expected a map-style torch Dataset"),
        ("wrong_key", {}, r"returned a dict of \['train', 'valid'\]"),
        ("text_items", {}, r"train\[0\] is str; expected a tensor or a PIL image"),
    ],
)
def test_what_is_no_dataset_is_refused_by_name(name: str, keys: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said) as refused:
        made(name, **keys).load()
    assert str(refused.value).startswith(f"dataset.factory={__name__}.{name}")


def test_a_foreign_run_calls_no_function_that_is_not_trusted() -> None:
    config = composed("dataset=torch", f"dataset.factory={__name__}.pair")
    package = __name__.split(".")[0]
    assert check(config)
    with pytest.raises(ConfigError, match=rf"dataset.factory: .*'trust=\[{package}\]'"):
        check(config, trust=())
    assert check(config, trust=[package])
    own = composed("dataset=torch", "dataset.factory=vae_run.system.files.write_atomically")
    with pytest.raises(ConfigError, match=r"'trust=\[vae_run\]'"):
        check(own, trust=())
    with pytest.raises(ConfigError, match=r"expected package\.module\.function"):
        check(composed("dataset=torch", "dataset.factory=pictures"))
