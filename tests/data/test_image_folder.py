"""The user's own folder of images."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vae_run.data.datasets.image_folder import ImageFolder
from vae_run.errors import DataError


def draw(path: Path, grey: int, size: tuple[int, int] = (10, 10), mode: str = "L") -> None:
    """One image of a single grey; `size` is (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, grey).convert(mode).save(path)


def test_train_val_test_folders_with_classes(tmp_path: Path) -> None:
    for part, count in (("train", 4), ("val", 2), ("test", 3)):
        for number in range(count):
            kind = "dog" if number % 2 else "cat"
            draw(tmp_path / part / kind / f"{number}.png", 10 * number)
    draw(tmp_path / "val" / "bee" / "deep" / "er" / "9.PNG", 90)
    splits = ImageFolder(path=str(tmp_path), image_size=4).load()
    assert [len(s) for s in (splits.train, splits.val, splits.test)] == [4, 3, 3]
    assert splits.class_names == ("bee", "cat", "dog")
    assert splits.event_shape == (3, 4, 4)
    assert splits.train.images[:, 0, 0, 0].tolist() == [0, 20, 10, 30]  # sorted by path
    assert splits.train.labels is not None
    assert splits.val.labels is not None
    assert splits.train.labels.tolist() == [1, 1, 2, 2]
    assert splits.val.labels.tolist() == [0, 1, 2]


def test_one_flat_folder_is_cut_and_has_no_labels(tmp_path: Path) -> None:
    for number in range(20):
        draw(tmp_path / f"{number:02d}.png", number)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / ".hidden.png").write_text("not an image")
    splits = ImageFolder(path=str(tmp_path), image_size=8, channels=1, test_size=5).load()
    assert [len(s) for s in (splits.train, splits.val, splits.test)] == [13, 2, 5]
    assert splits.train.labels is None
    assert splits.class_names is None
    assert splits.event_shape == (1, 8, 8)
    found = [s.images[:, 0, 0, 0] for s in (splits.train, splits.val, splits.test)]
    assert sorted(torch.cat(found).tolist()) == list(range(20))


def test_resize_covers_then_crops_the_centre(tmp_path: Path) -> None:
    pixels = np.zeros((20, 60), np.uint8)
    pixels[:, 20:40] = 200  # the middle third of a wide picture
    for number in range(3):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    square = ImageFolder(path=str(tmp_path), image_size=10, channels=1).load().train
    assert square.images[..., 1:-1].unique().tolist() == [200]
    wide = ImageFolder(path=str(tmp_path), image_size=[10, 30], channels=1).load().train
    assert wide.event_shape == (1, 10, 30)
    assert wide.images[0, 0, 5, [2, 15, 27]].tolist() == [0, 200, 0]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_every_8_bit_mode_is_converted(mode: str, tmp_path: Path) -> None:
    for number in range(3):
        draw(tmp_path / f"{number}.png", 255, mode=mode)
    for channels in (1, 3):
        train = ImageFolder(path=str(tmp_path), image_size=5, channels=channels).load().train
        assert train.images.shape == (1, channels, 5, 5)
        assert (train.images == 255).all()


def test_a_rotation_noted_by_the_camera_is_applied(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8), np.uint8)
    pixels[:4] = 250
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    for number in range(3):
        Image.fromarray(pixels).save(tmp_path / f"{number}.jpg", exif=exif, quality=100)
    train = ImageFolder(path=str(tmp_path), image_size=8, channels=1).load().train
    assert train.images[0, 0, 0, 0] < 10
    assert train.images[0, 0, 7, 0] > 240


def test_many_threads_keep_the_order(tmp_path: Path) -> None:
    for number in range(200):
        draw(tmp_path / f"{number:03d}.png", number)
    dataset = ImageFolder(path=str(tmp_path), image_size=4, channels=1, val_size=0, test_size=1)
    splits = dataset.load()
    values = splits.train.images[:, 0, 0, 0]
    assert torch.equal(values, values.sort().values)
    assert splits.fingerprint() == dataset.load().fingerprint()


def test_bad_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"dataset.path={tmp_path}/none: .* does not exist"):
        ImageFolder(path=str(tmp_path / "none")).load()
    with pytest.raises(DataError, match=rf"no image files below {tmp_path}"):
        ImageFolder(path=str(tmp_path)).load()
    for number in range(150):
        draw(tmp_path / "train" / f"{number:03d}.png", number, size=(64, 64))
    (tmp_path / "val").mkdir()
    with pytest.raises(DataError, match=rf"no image files below {tmp_path}/val"):
        ImageFolder(path=str(tmp_path)).load()
    (tmp_path / "val").rmdir()
    bad = tmp_path / "train" / "100.png"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(noise).save(bad)
    whole = bad.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"text", whole[:40] + b"\0" * 300):
        bad.write_bytes(content)
        with pytest.raises(DataError, match=r"cannot read the image .*100\.png"):
            ImageFolder(path=str(tmp_path)).load()
    Image.fromarray(np.full((9, 9), 40_000, np.uint16)).save(bad)
    with pytest.raises(DataError, match=r"100\.png has more than 8 bits"):
        ImageFolder(path=str(tmp_path)).load()


def test_folders_that_are_not_read_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(4):
        draw(tmp_path / "train" / f"{number}.png", number)
        draw(tmp_path / "valid" / f"{number}.png", number)
    splits = ImageFolder(path=str(tmp_path), image_size=4).load()
    assert [len(s) for s in (splits.train, splits.val, splits.test)] == [2, 1, 1]
    assert "not read, because there is a folder train: valid" in caplog.text
