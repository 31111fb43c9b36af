"""`dataset.split_by=name`: a set that grows keeps its test images."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vae_run.data.datasets.arrays import Arrays
from vae_run.data.datasets.image_folder import ImageFolder
from vae_run.data.splits import Split
from vae_run.data.stable_cuts import positions
from vae_run.errors import DataError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (600, 3, 3), dtype=np.uint8)
LABELS = RNG.integers(0, 3, 600)


def sets(tmp_path: Path, images: np.ndarray, **keys: object) -> dict[str, set[bytes]]:
    """The images of each set, as bytes."""
    np.savez(tmp_path / "d.npz", train=images, train_labels=LABELS[: len(images)])
    splits = Arrays(path=str(tmp_path / "d.npz"), **keys).load()  # type: ignore[arg-type]
    return {
        name: {image.numpy().tobytes() for image in getattr(splits, name).images}
        for name in ("train", "val", "test")
    }


def test_a_position_is_the_hash_of_seed_and_name() -> None:
    split = Split(torch.zeros(2, 1, 1, 1), names=np.array(["a.png", "b/ü.png"]))
    expected = [
        int(hashlib.sha256(f"5:{name}".encode()).hexdigest()[:16], 16) / 2**64
        for name in ("a.png", "b/ü.png")
    ]
    assert positions(split, 5) == pytest.approx(expected, abs=1e-15)


def test_a_set_that_grows_keeps_its_test_images(tmp_path: Path) -> None:
    order = np.random.default_rng(1).permutation(600)  # new images come between the old ones
    before = sets(tmp_path, IMAGES[:500], split_by="name")
    after = sets(tmp_path, IMAGES[order], split_by="name")
    for name, images in before.items():
        assert images <= after[name], "no image changes its set"
    assert after["test"] > before["test"]
    assert len(after["test"]) == pytest.approx(120, abs=4 * (600 * 0.2 * 0.8) ** 0.5)
    assert len(after["val"]) == pytest.approx(48, abs=4 * (600 * 0.08 * 0.92) ** 0.5)
    old, new = (sets(tmp_path, images) for images in (IMAGES[:500], IMAGES[order]))
    assert old["train"] & new["test"], "by index, images that were trained on are tested on"


def test_chosen_classes_change_no_set(tmp_path: Path) -> None:
    whole = sets(tmp_path, IMAGES, split_by="name")
    chosen = sets(tmp_path, IMAGES, split_by="name", classes=[0, 2])
    assert all(chosen[name] < whole[name] for name in whole)
    splits = Arrays(path=str(tmp_path / "d.npz"), split_by="name", classes=[0, 2]).load()
    assert splits.others is not None
    left = {image.numpy().tobytes() for image in splits.others.images}
    assert left == whole["test"] - chosen["test"]


def test_pictures_go_by_their_file_names(tmp_path: Path) -> None:
    for number in range(60):
        Image.fromarray(IMAGES[number]).save(tmp_path / f"{number:02d}.png")

    def test_files() -> set[str]:
        folder = ImageFolder(path=str(tmp_path), image_size=3, split_by="name", test_size=0.5)
        names = folder.load().test.names
        assert names is not None
        return set(names.tolist())

    before = test_files()
    for number in range(60):  # other pictures in the same files, and some before the first
        Image.fromarray(IMAGES[-1 - number]).save(tmp_path / f"{number:02d}.png")
        Image.fromarray(IMAGES[number]).save(tmp_path / f"+{number:02d}.png")
    assert {name for name in test_files() if not name.startswith("+")} == before


def test_own_sets_stay_and_numbers_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", train=IMAGES[:9], test=IMAGES[9:12], val=IMAGES[12:14])
    splits = Arrays(path=str(tmp_path / "own.npz"), split_by="name").load()
    assert [len(s) for s in (splits.train, splits.val, splits.test)] == [9, 2, 3]
    with pytest.raises(DataError, match=r"dataset\.test_size=100: with dataset\.split_by=name"):
        sets(tmp_path, IMAGES, split_by="name", test_size=100)
    with pytest.raises(DataError, match="none of 3 images falls into"):
        sets(tmp_path, IMAGES[:3], split_by="name")
