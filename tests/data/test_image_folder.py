"""The user's own folder of images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vae_run.data.datasets.image_folder import ImageFolder
from vae_run.data.images.transparency import composited
from vae_run.data.splits import Split, Splits
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


def folder(path: Path, **options: Any) -> Splits:
    return ImageFolder(path=str(path), image_size=8, channels=1, **options).load()


def draw_classes(root: Path, names: Sequence[str], each: int = 6) -> None:
    """`each` images of every class; those of the class at place k are 20 k grey."""
    for place, name in enumerate(names):
        for number in range(each):
            draw(root / name / f"{number}.png", 20 * place)


def greys(split: Split) -> set[int]:
    """The places of the classes of the split's images, by their grey."""
    return {value // 20 for value in split.images[:, 0, 0, 0].tolist()}


@pytest.mark.parametrize(
    "names", [("Train", "TEST", "Valid"), ("training", "Testing", "validation")]
)
def test_splits_by_other_words_are_understood_and_said(names: tuple, tmp_path: Path) -> None:
    for name, count in zip(names, (5, 3, 2), strict=True):
        for number in range(count):
            draw(tmp_path / name / f"{number}.png", number)
    splits = folder(tmp_path)
    assert [len(s) for s in (splits.train, splits.val, splits.test)] == [5, 2, 3]
    said = " ".join(splits.notes)
    assert all(
        f"{name} is {split}" in said
        for name, split in zip(names, ("train", "test", "val"), strict=True)
    )
    assert splits.class_names is None


def test_two_folders_for_one_split_are_refused(tmp_path: Path) -> None:
    for name in ("train", "val", "valid"):
        draw(tmp_path / name / "0.png", 1)
    with pytest.raises(DataError, match="val and valid could both be the val images"):
        folder(tmp_path)


def test_splits_without_one_to_train_on_are_refused(tmp_path: Path) -> None:
    draw_classes(tmp_path, ["Test", "val"])
    with pytest.raises(DataError, match="folders Test, val, but none for training"):
        folder(tmp_path)
    draw_classes(tmp_path, ["cat"])
    found = folder(tmp_path)
    assert found.class_names == ("Test", "cat", "val"), "a class may be called Test"
    assert any("no folder is called train" in note and "Test, val" in note for note in found.notes)


def test_what_is_not_read_is_counted(tmp_path: Path) -> None:
    for number in range(4):
        draw(tmp_path / "train" / f"{number}.png", number)
    for name in ("a.heic", "b.HEIC", "c.txt", "README", "._0.png", ".DS_Store", "Thumbs.db"):
        (tmp_path / "train" / name).write_text("no image")
    (tmp_path / "sketches").mkdir()
    (tmp_path / "list.csv").write_text("")
    beside, counted = folder(tmp_path).notes
    assert beside.endswith("beside the splits train: list.csv, sketches")
    assert counted == f"{tmp_path}: not read: 2 .heic, 1 .txt, 1 hidden, 1 no ending"


def test_an_image_beside_class_folders_is_said_to_take_the_classes(tmp_path: Path) -> None:
    draw_classes(tmp_path, ["a", "b"])
    draw(tmp_path / "stray.png", 3)
    splits = folder(tmp_path)
    assert splits.train.labels is None
    assert "no classes, as 1 of 13 are in none of its sub-folders" in splits.notes[0]


def test_numbers_that_name_folders_are_the_labels(tmp_path: Path) -> None:
    draw_classes(tmp_path / "from_0", [str(n) for n in range(12)])
    splits = folder(tmp_path / "from_0", classes=[2, 10])
    assert greys(splits.train) == {2, 10}
    assert splits.train.labels is not None
    assert set(splits.train.labels.tolist()) == {2, 10}
    assert splits.class_names == tuple(str(n) for n in range(12))
    draw_classes(tmp_path / "from_1", ["001", "007", "010"])
    splits = folder(tmp_path / "from_1", classes=["7", 10])
    assert greys(splits.train) == {1, 2}
    assert splits.class_names is None
    assert splits.notes == ("labels of the classes are the numbers that name them",)


def test_classes_are_in_natural_order_and_chosen_by_name(tmp_path: Path) -> None:
    names = ["c1", "c2", "c10", "good"]
    draw_classes(tmp_path, names)
    splits = folder(tmp_path, classes=["good", "c10"])
    assert splits.class_names == tuple(names)
    assert greys(splits.train) == {2, 3}
    assert splits.others is not None
    assert greys(splits.others) <= {0, 1}
    assert splits.notes == ("labels of the classes: 0 c1, 1 c2, 2 c10, 3 good",)
    with pytest.raises(DataError, match=r"no class 'bad'; the classes are \['c1', 'c2', 'c10'"):
        folder(tmp_path, classes=["bad"])


def cutout(side: int, hidden: tuple[int, int, int], edge: int = 255) -> Image.Image:
    """A coloured square on a transparent ground whose stored colour is `hidden`."""
    pixels = np.zeros((side, side, 4), np.uint8)
    pixels[..., :3] = hidden
    pixels[side // 4 : -side // 4, side // 4 : -side // 4] = (200, 60, 30, edge)
    return Image.fromarray(pixels)


@pytest.mark.parametrize(("background", "grey"), [("white", 255), ("black", 0)])
def test_what_lies_below_transparent_pixels_is_never_seen(
    background: Any, grey: int, tmp_path: Path
) -> None:
    for name, hidden in (("black", (0, 0, 0)), ("white", (255,) * 3), ("green", (0, 255, 0))):
        for side in (32, 64):
            cutout(side, hidden).save(tmp_path / f"{name}{side}.png")
    cutout(32, (0, 255, 0)).quantize(16).save(tmp_path / "palette.png")
    Image.new("L", (32, 32), 77).save(tmp_path / "index.png", transparency=77)
    decoder = ImageFolder(path="", image_size=32, background=background).decoder()
    seen = {path.stem: decoder(path) for path in sorted(tmp_path.iterdir())}
    assert (seen.pop("index") == grey).all()
    palette = seen.pop("palette")
    assert palette[:, 0, 0].tolist() == [grey] * 3
    assert np.array_equal(seen["black32"], seen["white32"])
    assert np.array_equal(seen["black32"], seen["green32"])
    assert np.array_equal(seen["black64"], seen["green64"])
    assert seen["black32"][:, 16, 16].tolist() == [200, 60, 30]
    assert all(pixels[:, 0, 0].tolist() == [grey] * 3 for pixels in seen.values())


def test_half_transparent_pixels_are_mixed_with_the_background() -> None:
    pixels = np.array([[[200, 100, 0, 51]]], np.uint8)  # alpha 0.2
    assert composited(pixels, 255).tolist() == [[[244, 224, 204]]]
    floats = composited(pixels.astype(np.float32) / 255, 255) * 255
    assert floats.tolist()[0][0] == pytest.approx([244, 224, 204], abs=1e-4)
