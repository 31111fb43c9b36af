"""Pixels stored as 0 and 1 are black and white, wherever they come from; others are of 255."""

from __future__ import annotations

import io
import logging
import tarfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

from vae_run.api.user_data import given_data
from vae_run.corruptions import NoCorruption
from vae_run.data.datasets.arrays import Arrays
from vae_run.data.datasets.huggingface import HuggingFace
from vae_run.data.datasets.image_folder import ImageFolder
from vae_run.data.datasets.shards import Shards
from vae_run.data.datasets.torch_dataset import TorchDataset
from vae_run.data.datasets.windows import Windows
from vae_run.data.given import giving
from vae_run.data.images.decoder import Decoder
from vae_run.data.splits import Splits
from vae_run.data.streamed_batches import StreamedBatches
from vae_run.data.user_input import read_input
from vae_run.data.white import White
from vae_run.errors import DataError
from vae_run.sklearn.rows import Rows

MASKS = (np.random.default_rng(0).random((20, 6, 6)) < 0.4).astype(np.uint8)
MASKS[0] = 0
BRIGHT = MASKS.copy()
BRIGHT[19, 0, 0] = 2
"""Masks but for one pixel of 2, so that white is 255."""


def png(pixels: np.ndarray, mode: str = "L") -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(pixels if mode == "L" else pixels * 255)
    image.convert(mode).save(file, "png")
    return file.getvalue()


def archive(folder: Path, pixels: np.ndarray, white: White) -> Any:
    np.savez(folder / "x.npz", train=pixels[:12], val=pixels[12:15], test=pixels[15:])
    return Arrays(path=str(folder / "x.npz"), white=white)


def one_array(folder: Path, pixels: np.ndarray, white: White) -> Any:
    np.savez(folder / "x.npz", images=pixels.reshape(20, 36))
    return Arrays(path=str(folder / "x.npz"), white=white)


def windows(folder: Path, pixels: np.ndarray, white: White) -> Any:
    np.savez(folder / "x.npz", train=pixels)
    return Windows(path=str(folder / "x.npz"), white=white)


def files(folder: Path, pixels: np.ndarray, white: White, **more: Any) -> Any:
    (folder / "masks").mkdir()
    for number, image in enumerate(pixels):
        (folder / "masks" / f"{number:02}.png").write_bytes(png(image))
    return ImageFolder(path=str(folder / "masks"), image_size=6, channels=1, white=white, **more)


def mapped(folder: Path, pixels: np.ndarray, white: White) -> Any:
    return files(folder, pixels, white, cache=str(folder / "cache"), memory=0)


def parquet(folder: Path, pixels: np.ndarray, white: White) -> Any:
    import pyarrow as pa
    from pyarrow import parquet as tables

    tables.write_table(pa.table({"image": [png(each) for each in pixels]}), folder / "x.parquet")
    return HuggingFace(path=str(folder / "x.parquet"), image_size=6, channels=1, white=white)


def made(name: str) -> dict[str, Any]:
    pixels = torch.from_numpy({"MASKS": MASKS, "BRIGHT": BRIGHT}[name])
    return {"train": TensorDataset(pixels[:12]), "test": pixels[12:]}


def of_torch(folder: Path, pixels: np.ndarray, white: White) -> Any:
    name = "MASKS" if pixels is MASKS else "BRIGHT"
    return TorchDataset(factory=f"{__name__}.made", arguments={"name": name}, white=white)


def shards(folder: Path, pixels: np.ndarray, white: White, **more: Any) -> Any:
    for part, chosen in (("train", pixels[:12]), ("test", pixels[12:])):
        with tarfile.open(folder / f"{part}.tar", "w") as tar:
            for number, image in enumerate(chosen):
                about = tarfile.TarInfo(f"{number:02}.png")
                about.size = len(held := png(image))
                tar.addfile(about, io.BytesIO(held))
    given = {"image_size": 6, "channels": 1, "white": white}
    return Shards(path=str(folder), train="train.tar", test="test.tar", **given, **more)


Source = Callable[[Path, np.ndarray, White], Any]
SOURCES = [archive, one_array, windows, files, mapped, parquet, of_torch, shards]


@pytest.mark.parametrize("source", SOURCES, ids=lambda each: each.__name__)
def test_all_splits_together_decide(source: Source, tmp_path: Path) -> None:
    if source is shards:
        pytest.importorskip("webdataset")
    cases: list[Any] = [
        (MASKS, "auto", 1),
        (BRIGHT, "auto", 255),
        (MASKS, 255, 255),
        (BRIGHT, 2, 2),
    ]
    for number, (pixels, white, one) in enumerate(cases[: 1 if source is mapped else None]):
        (folder := tmp_path / str(number)).mkdir()
        splits: Splits = source(folder, pixels, white).load()
        every = [splits.train, splits.val, splits.test]
        values = torch.cat([each.pixels(slice(None)).flatten() for each in every])
        assert values.sum().item() == pytest.approx(pixels.sum() / one, rel=1e-6)
        assert values.max().item() == pytest.approx(pixels.max() / one)
        assert (splits.levels, splits.white) == (one + 1, one)
        said = [note for note in splits.notes if "dataset.white" in note]
        told = "taken as 0 and 1" if white == "auto" else "nearly black"
        assert [told in note for note in said] == [True] * (pixels is MASKS)


def test_a_value_above_white_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"dataset\.white=1: test of .*x\.npz has the value 2"):
        archive(tmp_path, BRIGHT, 1).load()


def test_truth_values_and_numbers_of_0_and_1_fit_together(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", train=MASKS[:9] > 0, val=MASKS[9:12], test=MASKS[12:])
    splits = Arrays(path=str(tmp_path / "x.npz"), white="auto").load()
    assert [each.scale for each in (splits.train, splits.val, splits.test)] == [1, 1, 1]


def test_four_channels_of_0_and_1_are_classes_of_pixels(tmp_path: Path) -> None:
    classes = np.random.default_rng(1).integers(0, 4, (10, 5, 5))
    one_hot = np.eye(4, dtype=np.uint8)[classes]
    np.savez(tmp_path / "x.npz", train=one_hot, test=one_hot)
    splits = Arrays(path=str(tmp_path / "x.npz"), white="auto", val_size=0).load()
    assert splits.event_shape == (4, 5, 5)
    assert (splits.train.pixels(slice(None)).sum(1) == 1).all()


def test_binarized_masks_stay_what_they_are(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", train=MASKS, test=MASKS)
    for how in ("static", "dynamic"):
        given: Any = {"binarize": how, "val_size": 0}
        splits = Arrays(path=str(tmp_path / "x.npz"), white="auto", **given).load()
        assert np.array_equal(splits.test.pixels(slice(None)).numpy()[:, 0], MASKS)
        assert np.array_equal(splits.train.pixels(slice(None)).numpy()[:, 0], MASKS)


@pytest.mark.parametrize("kind", ["array", "tensor", "list", "pictures", "bits"])
def test_data_in_memory(kind: str) -> None:
    pictures = [Image.fromarray(each) for each in MASKS]
    given: Any = {
        "array": MASKS,
        "tensor": torch.from_numpy(MASKS),
        "list": [each.tolist() for each in MASKS > 0],
        "pictures": pictures,
        "bits": [Image.fromarray(each * 255).convert("1") for each in MASKS],
    }[kind]
    found = given_data(given, None, val=None, test=None)
    keys: Any = {k.partition(".")[2]: v for k, v in found.keys.items() if "." in k}
    reader: Any = {"arrays": Arrays, "image_folder": ImageFolder}[found.keys["dataset"]]
    with giving(found.data):
        splits = reader(**keys, white="auto", val_size=0, test_size=1).load()
    both = torch.cat([splits.train.pixels(slice(None)), splits.test.pixels(slice(None))])
    assert both.sum().item() == MASKS.sum()
    assert both.max().item() == 1


def test_rows_of_the_estimator_are_read_as_in_its_fit() -> None:
    for pixels, white in ((MASKS, 1), (BRIGHT, 255)):
        rows = Rows.of(pixels)
        assert rows.given(pixels)[1] == {"dataset.white": white}
        black = rows.events(np.zeros_like(pixels[:1]))
        assert black.max() == 0
        events = rows.events(pixels)
        assert events.max().item() == pytest.approx(pixels.max() / white)
        np.testing.assert_allclose(rows.back(events), pixels, atol=1e-6)


def batches(splits: Splits) -> StreamedBatches:
    assert splits.stream is not None
    given: Any = {"batch_size": 5, "noise": (1, 2), "seed": 0}
    return StreamedBatches(splits.stream, splits.train, NoCorruption(), **given)


def test_streamed_batches_have_the_white_of_the_images_in_memory(tmp_path: Path) -> None:
    pytest.importorskip("webdataset")
    splits = shards(tmp_path, MASKS, "auto", sample=4).load()
    (note,) = (each for each in splits.notes if "dataset.white" in each)
    assert "the images in memory, which decide for all" in note
    stream = batches(splits)
    seen = torch.cat([stream.next().target for _ in range(3)])
    assert seen.sum().item() == MASKS[:12].sum()


def test_a_streamed_image_that_is_brighter_is_refused_by_name(tmp_path: Path) -> None:
    pytest.importorskip("webdataset")
    pixels = MASKS.copy()
    pixels[11, 0, 0] = 200
    stream = batches(shards(tmp_path, pixels, "auto", sample=4).load())
    with pytest.raises(DataError, match=r"11 of .*train\.tar has a pixel of 200.*white=255"):
        [stream.next() for _ in range(3)]
    (other := tmp_path / "other").mkdir()
    stream = batches(shards(other, pixels, 255, sample=4).load())
    assert max(stream.next().target.max().item() for _ in range(3)) == pytest.approx(200 / 255)


@pytest.mark.parametrize("kind", ["npy", "folder"])
def test_input_is_read_as_the_data_of_its_run(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset: Any = ImageFolder(path="nowhere", image_size=6, channels=1)

    def brightest(pixels: np.ndarray, white: int) -> tuple[float, int | None]:
        if kind == "npy":
            np.save(tmp_path / "own.npy", pixels)
            place = tmp_path / "own.npy"
        else:
            place = tmp_path / f"{len([*tmp_path.iterdir()])}"
            place.mkdir()
            for number, image in enumerate(pixels):
                (place / f"{number:02}.png").write_bytes(png(image))
        images = read_input(str(place), dataset, (1, 6, 6), white=white)
        return images.split(0, len(images)).pixels(slice(None)).max().item(), images.levels

    black = np.zeros((1, 6, 6), np.uint8)
    with caplog.at_level(logging.WARNING):
        assert brightest(MASKS, 1) == (1, 2)
        assert brightest(black, 1) == (0, 2)
        assert brightest(black, 255) == (0, 256)
        assert brightest(MASKS * 255, 1) == (1, 256), "as pictures of masks are stored"
        assert not caplog.records
        assert brightest(MASKS, 255) == (pytest.approx(1 / 255), 256)
    assert "has no pixel above 1, and is divided by 255 as the data of the run were" in caplog.text
    assert brightest(MASKS * 15, 15) == (1, 16)
    with pytest.raises(DataError, match=r"has the value 16, .*from 0 to 15 \(dataset\.white=15\)"):
        brightest(MASKS * 16, 15)


def test_a_split_of_other_white_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", train=MASKS, val=MASKS * 255, test=MASKS * 255)
    notes = Arrays(path=str(tmp_path / "x.npz"), white="auto").load().notes
    assert [note.split(" ")[0] for note in notes if "nearly black" in note] == ["train"]


def test_masks_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = list[Path]()
    once = Decoder.__call__

    def counting(decoder: Decoder, path: Path) -> Any:
        decoded.append(path)
        return once(decoder, path)

    monkeypatch.setattr(Decoder, "__call__", counting)
    dataset = files(tmp_path, MASKS, "auto")
    images = read_input(str(tmp_path / "masks"), dataset, (1, 6, 6), white=1)
    read = torch.cat([images.read(0, 7).images, images.read(7, 20).images])
    assert torch.equal(read[:, 0], torch.from_numpy(MASKS))
    assert len(decoded) == len(set(decoded)) == 20


def test_the_estimator_refuses_brighter_bytes_and_warns_of_darker() -> None:
    masks, grey = Rows.of(MASKS), Rows.of(MASKS * 255)
    with pytest.raises(ValueError, match="X has the value 255, but that of fit had pixels of 0"):
        masks.events(MASKS * 255)
    with pytest.warns(UserWarning, match="nearly black"):
        grey.warn_if_nearly_black(MASKS)
    with warnings.catch_warnings(action="error"):
        grey.warn_if_nearly_black(MASKS * 255)
        grey.warn_if_nearly_black(MASKS[:1])
        masks.warn_if_nearly_black(MASKS)
