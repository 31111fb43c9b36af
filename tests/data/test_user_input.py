"""The user's own files are read as a dataset reads its own: the same pixels, the same refusals."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from vae_run.data.datasets.arrays import Arrays
from vae_run.data.datasets.celeba import CelebA
from vae_run.data.datasets.digits import Digits
from vae_run.data.datasets.image_folder import ImageFolder
from vae_run.data.datasets.windows import Windows
from vae_run.data.user_input import UserImages, label_of, read_input
from vae_run.errors import DataError

MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16")


def picture(mode: str, seed: int, size: tuple[int, int] = (21, 13)) -> Image.Image:
    """Noise of `mode`; half of it is transparent where the mode can be."""
    rng = np.random.default_rng(seed)
    width, height = size
    if mode == "I;16":
        return Image.fromarray(rng.integers(0, 2**16, (height, width), dtype=np.uint16))
    colours = rng.integers(0, 256, (height, width, 4), dtype=np.uint8)
    colours[: height // 2, :, 3] = 255
    whole = Image.fromarray(colours)
    return whole if mode == "RGBA" else whole.convert("RGB").convert(mode)


def save(image: Image.Image, path: Path, turn: int = 0) -> None:
    exif = Image.Exif()
    if turn:
        exif[0x0112] = turn
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, exif=exif)


def ending(mode: str) -> str:
    return {"CMYK": "jpg", "YCbCr": "jpg"}.get(mode, "png")


def outcome(read: Callable[[], Tensor]) -> Tensor | str:
    """The pixels, or the message of the refusal."""
    try:
        return read()
    except DataError as error:
        return str(error)


def pixels(images: UserImages) -> Tensor:
    return images.split(0, len(images)).pixels(slice(None))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", MODES)
def test_a_picture_has_the_pixels_of_training_or_its_refusal(
    mode: str, channels: Any, tmp_path: Path
) -> None:
    for turn in (0, 3, 6, 8):
        for part in ("train", "test"):
            save(picture(mode, turn), tmp_path / str(turn) / part / f"x.{ending(mode)}", turn)
        source = ImageFolder(
            path=str(tmp_path / str(turn)), image_size=[6, 9], channels=channels, val_size=0
        )
        trained = outcome(lambda source=source: source.load().train.pixels(slice(None)))
        folder = tmp_path / str(turn) / "train"
        own = outcome(
            lambda source=source, folder=folder: pixels(
                read_input(str(folder), source, (channels, 6, 9))
            )
        )
        if isinstance(trained, str) or isinstance(own, str):
            assert own == trained
        else:
            assert torch.equal(own, trained)


def test_the_datasets_own_crop_is_used(tmp_path: Path) -> None:
    image = picture("RGB", 0, (178, 218))
    image.save(tmp_path / "face.png")
    found = pixels(
        read_input(str(tmp_path / "face.png"), CelebA(root="nowhere", image_size=8), (3, 8, 8))
    )
    left, top = 15, 35
    crop = image.crop((left, top, left + 148, top + 148)).resize((8, 8), Image.Resampling.BILINEAR)
    expected = torch.from_numpy(np.array(crop)).permute(2, 0, 1).float() * (1 / 255)
    assert torch.equal(found[0], expected)


@pytest.mark.parametrize("kind", ["uint8", "bool", "float32", "float64", "int64", "uint16"])
@pytest.mark.parametrize("shape", [(7, 5, 4), (7, 3, 5, 4), (7, 5, 4, 3), (7, 6)])
def test_arrays_have_the_pixels_of_training_or_its_refusal(
    kind: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    values = np.random.default_rng(0).integers(0, 2 if kind == "bool" else 256, shape)
    array = (values / 255 if kind.startswith("float") else values).astype(kind)
    np.savez(tmp_path / "data.npz", train=array, test=array)
    np.save(tmp_path / "own.npy", array)
    source = Arrays(path=str(tmp_path / "data.npz"), val_size=0)
    event = (3, 5, 4) if len(shape) == 4 else (1, 5, 4) if len(shape) == 3 else (6,)
    trained = outcome(lambda: source.load().train.pixels(slice(None)))
    own = outcome(lambda: pixels(read_input(str(tmp_path / "own.npy"), source, event)))
    if isinstance(trained, str) or isinstance(own, str):
        words = "is " + kind + "; expected uint8, bool, or floats"
        assert words in str(own)
        assert words in str(trained)
    else:
        assert torch.equal(own, trained)


def test_bytes_are_in_the_unit_interval_whatever_the_runs_own_scale_is(tmp_path: Path) -> None:
    array = np.arange(64, dtype=np.uint8).reshape(1, 8, 8) * 4
    np.save(tmp_path / "x.npy", array)
    images = read_input(str(tmp_path / "x.npy"), Digits(), (1, 8, 8))
    assert torch.equal(pixels(images)[0, 0], torch.from_numpy(array[0]).float() * (1 / 255))
    assert (images.levels, images.extent) == (256, (0.0, 252 / 255))


def test_axes_are_in_the_order_of_the_runs(tmp_path: Path) -> None:
    bands = np.random.default_rng(0).random((2, 4, 6, 13), dtype=np.float32)
    np.save(tmp_path / "bands.npy", bands)
    images = read_input(str(tmp_path / "bands.npy"), Digits(), (13, 4, 6))
    assert torch.equal(pixels(images), torch.from_numpy(bands.transpose(0, 3, 1, 2)))


@pytest.mark.parametrize("steps", [12, 3], ids=["more steps than channels", "as many"])
def test_windows_have_the_order_of_the_runs_data(steps: int, tmp_path: Path) -> None:
    curves = np.random.default_rng(0).random((5, steps, 3), dtype=np.float32)
    np.savez(tmp_path / "data.npz", train=curves, test=curves)
    source = Windows(path=str(tmp_path / "data.npz"), channels_last=True, val_size=0)
    np.save(tmp_path / "own.npy", curves)
    images = read_input(str(tmp_path / "own.npy"), source, (3, steps))
    assert torch.equal(pixels(images), source.load().test.images)
    if steps != 3:  # as vae-run itself writes reconstructions
        np.save(tmp_path / "own.npy", curves.transpose(0, 2, 1))
        again = read_input(str(tmp_path / "own.npy"), source, (3, steps))
        assert torch.equal(pixels(again), pixels(images))
    np.save(tmp_path / "own.npy", curves[:, :, :2])
    with pytest.raises(DataError, match=rf"has shape \[5, {steps}, 2\], but the run's"):
        read_input(str(tmp_path / "own.npy"), source, (3, steps))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures in class folders, with hidden files and others between them."""
    for place, name in enumerate(("cat/10.png", "cat/2.PNG", "dog/deep/a.png", "dog/B.png")):
        save(picture("RGB", place), tmp_path / "mine" / name)
    for name in (".hidden.png", ".thumbs/x.png", "dog/notes.txt"):
        file = tmp_path / "mine" / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"no picture")
    return tmp_path / "mine"


SOURCE = ImageFolder(path="elsewhere", image_size=4)
NAMES = ("bird", "cat", "dog")


def test_class_folders_give_names_and_labels(folder: Path) -> None:
    images = read_input(str(folder), SOURCE, (3, 4, 4), NAMES)
    assert images.names is not None
    assert images.classes is not None
    assert images.labels is not None
    by_name = dict(zip(images.names.tolist(), images.labels.tolist(), strict=True))
    assert by_name == {"cat/10.png": 1, "cat/2.PNG": 1, "dog/deep/a.png": 2, "dog/B.png": 2}
    assert sorted(images.classes.tolist()) == ["cat", "cat", "dog", "dog"]
    unknown = read_input(str(folder), SOURCE, (3, 4, 4), ("cow", "cat"))
    assert unknown.labels is None
    assert unknown.classes is not None


def test_the_folders_of_splits_are_no_classes(folder: Path) -> None:
    folder.rename(folder.parent / "train")
    images = read_input(str(folder.parent), SOURCE, (3, 4, 4), NAMES)
    assert images.classes is not None
    assert set(images.classes.tolist()) == {"cat", "dog"}


def test_lists_and_patterns_name_pictures(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    ways = {
        "*/*.png": ["cat/10.png", "dog/B.png"],
        "dog/**/*.png": ["dog/B.png", "dog/deep/a.png"],
        "dog/*": ["dog/B.png", "dog/deep/a.png"],
        "~/dog/B.png": [f"{folder}/dog/B.png"],
    }
    for words, names in ways.items():
        images = read_input(words, SOURCE, (3, 4, 4))
        assert images.names is not None
        assert images.names.tolist() == names, words
    listed = read_input(["dog/B.png", "cat/2.PNG"], SOURCE, (3, 4, 4), NAMES)
    assert listed.names is not None
    assert listed.labels is not None
    assert listed.names.tolist() == ["dog/B.png", "cat/2.PNG"], "in the order of the list"
    assert listed.labels.tolist() == [2, 1], "their folders are classes of the run"
    assert torch.equal(pixels(listed)[1], pixels(read_input("cat/2.PNG", SOURCE, (3, 4, 4)))[0])


def test_only_the_asked_piece_is_decoded(folder: Path) -> None:
    (folder / "dog" / "zz.jpg").write_bytes(b"broken")
    images = read_input(str(folder), SOURCE, (3, 4, 4))
    assert images.split(1, 3).images.shape == (2, 3, 4, 4)
    with pytest.raises(DataError, match=r"zz\.jpg"):
        images.split(3, 5)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("absent.png", "there is no file absent.png"),
        ("absent/*.png", "no file matches"),
        ("a.png,b.png", r"""a list: 'input=\["a.png","b.png"\]'"""),
        ("a*.png,b.png", r"""no file matches .* a list: 'input=\["a\*.png","b.png"\]'"""),
        ("dog/notes.txt", r"notes\.txt ends neither as a picture"),
        (["x.npy", "dog/B.png"], "one array file alone"),
    ],
)
def test_what_is_no_input_is_named(
    words: Any, told: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    np.save("x.npy", np.zeros((2, 3, 4, 4), np.uint8))
    with pytest.raises(DataError, match=told):
        read_input(words, SOURCE, (3, 4, 4))


def test_an_archive_gives_labels_and_names(tmp_path: Path) -> None:
    x = np.zeros((3, 8, 8), np.uint8)
    path = tmp_path / "x.npz"
    np.savez(path, images=x, labels=np.array([2, 0, 1]), names=np.array(["a", "b", "c"]))
    images = read_input(str(path), Digits(), (1, 8, 8))
    assert images.labels is not None
    assert images.names is not None
    assert (images.labels.tolist(), images.names.tolist()) == ([2, 0, 1], ["a", "b", "c"])
    np.savez(path, test=x, test_labels=np.array(["dog", "dog", "bird"]))
    images = read_input(str(path), Digits(), (1, 8, 8), NAMES)
    assert images.labels is not None
    assert images.labels.tolist() == [2, 2, 0]


def test_classes_have_labels_by_name() -> None:
    assert label_of("cat", NAMES) == 1
    assert label_of("cow", NAMES) is None
    assert label_of("7", ()) == 7, "classes without names are numbers"
    assert label_of("2", ("2", "10")) == 0


def damaged(kind: str, content: bytes) -> bytes:
    """A compressed archive as a bad copy leaves it."""
    found = bytearray(content)
    start = content.index(b"images.npy") + 30
    if kind == "block":
        found[start : start + 4] = b"\xff" * 4
    elif kind == "hole":
        found[len(content) // 2 : len(content) // 2 + 64] = bytes(64)
    elif kind == "bytes":
        for place in range(200, len(content) - 300, 97):
            found[place] ^= 0xFF
    else:
        return content[: len(content) // 2]
    return bytes(found)


@pytest.mark.parametrize("kind", ["block", "hole", "bytes", "short"])
def test_a_damaged_archive_is_named(kind: str, tmp_path: Path) -> None:
    x = (np.random.default_rng(0).random((400, 8, 8)) > 0.7).astype(np.uint8) * 200
    np.savez_compressed(tmp_path / "bad.npz", images=x)
    (tmp_path / "bad.npz").write_bytes(damaged(kind, (tmp_path / "bad.npz").read_bytes()))
    with pytest.raises(DataError, match=r"input: .*bad\.npz cannot be read: "):
        read_input(str(tmp_path / "bad.npz"), Digits(), (1, 8, 8))


def test_a_header_that_claims_more_than_there_is_is_refused(tmp_path: Path) -> None:
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (99999, 8, 8), }"
    header = header.ljust(117) + b"\n"
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        body = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64)
        archive.writestr("images.npy", body)
    with pytest.raises(DataError, match=r"x\.npz cannot be read: images\.npy has 64 bytes"):
        read_input(str(tmp_path / "x.npz"), Digits(), (1, 8, 8))


def test_a_picture_of_too_many_pixels_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(picture("RGB", 0), tmp_path / "scan.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match=r"scan\.png: it has more than 200 pixels; make it smaller"):
        pixels(read_input(str(tmp_path / "scan.png"), SOURCE, (3, 4, 4)))
