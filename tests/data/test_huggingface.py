"""Encoded images in Parquet files, as the hub stores them."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from parts import composed
from PIL import Image
from pyarrow import parquet

from vae_run.config.check import check
from vae_run.data.datasets.huggingface import HuggingFace
from vae_run.errors import ConfigError, DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 6, 5, 3), dtype=np.uint8)
NAMES = ("cat", "dog", "emu")


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write(path: Path, chosen: range, *, names: bool = True, text: bool = False) -> Path:
    """A file of the images `chosen`, in the form of the hub."""
    labels = [i % 3 for i in chosen]
    table = pa.table(
        {
            "image": [{"bytes": png(PIXELS[i]), "path": f"{i}.png"} for i in chosen],
            "label": [NAMES[label] for label in labels] if text else labels,
        }
    )
    if names:
        features = {"label": {"names": list(NAMES), "_type": "ClassLabel"}}
        about = {"huggingface": json.dumps({"info": {"features": features}})}
        table = table.replace_schema_metadata(about)
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `data/` of a dataset on the hub: three splits, train in two files."""
    place = tmp_path_factory.mktemp("hub")
    write(place / "data" / "train-00000-of-00002.parquet", range(0, 6))
    write(place / "data" / "train-00001-of-00002.parquet", range(6, 12))
    write(place / "data" / "validation-00000-of-00001.parquet", range(12, 15))
    write(place / "data" / "test-00000-of-00001.parquet", range(15, 20))
    return place


def test_a_folder_has_the_splits_of_its_files(folder: Path) -> None:
    splits = HuggingFace(path=str(folder), image_size=[6, 5]).load()
    for split, first, last in ((splits.train, 0, 12), (splits.val, 12, 15), (splits.test, 15, 20)):
        assert np.array_equal(split.images.permute(0, 2, 3, 1).numpy(), PIXELS[first:last])
        assert split.labels.tolist() == [i % 3 for i in range(first, last)]
        assert split.names.tolist() == [f"{i}.png" for i in range(first, last)]
    assert splits.class_names == NAMES


def test_another_split_is_trained_on(folder: Path) -> None:
    splits = HuggingFace(path=str(folder), split="validation", image_size=[6, 5], val_size=0).load()
    assert (len(splits.train), len(splits.test)) == (3, 5)
    with pytest.raises(DataError, match=r"no files of dataset\.split=extra; there are: .*train"):
        HuggingFace(path=str(folder), split="extra").load()


def test_texts_are_numbered_and_named_and_a_file_is_cut(tmp_path: Path) -> None:
    file = write(tmp_path / "all.parquet", range(20), names=False, text=True)
    splits = HuggingFace(path=str(file), image_size=[6, 5], channels=1, test_size=5).load()
    assert splits.class_names == NAMES
    assert (len(splits.test), splits.event_shape) == (5, (1, 6, 5))
    assert splits.test.labels.tolist() == [int(i) % 3 for i in splits.test.index]


def test_plain_bytes_are_images_too(tmp_path: Path) -> None:
    table = pa.table({"picture": [png(p) for p in PIXELS], "number": list(range(20))})
    parquet.write_table(table, tmp_path / "a.parquet")
    splits = HuggingFace(path=str(tmp_path), image_size=[6, 5], test_size=4, val_size=0).load()
    assert splits.train.labels is None
    expected = PIXELS[splits.test.index.numpy()].transpose(0, 3, 1, 2)
    assert np.array_equal(splits.test.images.numpy(), expected)


def test_a_dataset_of_the_hub_is_its_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}

    def snapshot_download(name: str, **keys: object) -> str:
        asked.update(keys, name=name)
        return str(folder)

    package = SimpleNamespace(snapshot_download=snapshot_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", package)
    assert len(HuggingFace(name="someone/pets", image_size=[6, 5]).load().train) == 12
    assert asked["name"] == "someone/pets"
    assert asked["repo_type"] == "dataset"
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(DataError, match=r"dataset\.name=someone/pets: .*pip install .*hugg"):
        HuggingFace(name="someone/pets").load()


def test_what_is_wrong_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"dataset\.column=label is no column of encoded.*: image"):
        HuggingFace(path=str(folder), column="label").load()
    with pytest.raises(DataError, match=r"dataset\.label=kind: there are the columns image, label"):
        HuggingFace(path=str(folder), label="kind").load()
    with pytest.raises(DataError, match="there are no Parquet files"):
        HuggingFace(path=str(tmp_path)).load()
    images = [png(PIXELS[0]), b"no image", png(PIXELS[1])]
    parquet.write_table(pa.table({"image": images}), tmp_path / "bad.parquet")
    with pytest.raises(DataError, match=r"bad\.parquet: row 1 of image"):
        HuggingFace(path=str(tmp_path)).load()
    parquet.write_table(pa.table({"x": [1, 2]}), tmp_path / "bad.parquet")
    with pytest.raises(DataError, match=r"no column holds encoded images \(x\)"):
        HuggingFace(path=str(tmp_path)).load()


def test_a_name_or_a_path_is_needed() -> None:
    with pytest.raises(ConfigError, match=r"dataset\.name, dataset\.path: name one of them"):
        check(composed("dataset=huggingface"))
    assert check(composed("dataset=huggingface", "dataset.path=somewhere"))
