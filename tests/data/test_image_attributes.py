"""Conditions of image files, from a table with a row for each."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
import torch
from parts import composed
from PIL import Image
from pyarrow import csv, parquet

from vae_run.config.check import check
from vae_run.data.conditions import Conditions, conditioned
from vae_run.data.datasets.image_folder import ImageFolder
from vae_run.data.image_attributes import read_attributes
from vae_run.errors import ConfigError, DataError
from vae_run.runs.load import load

if TYPE_CHECKING:
    from conftest import Run, Train

COUNT = 20
TYPED = ("condition=[age,sex]", "dataset=image_folder", "dataset.image_size=8")


def drawn(folder: Path, count: int = COUNT, below: str = "") -> list[str]:
    """`count` images whose grey is 10 times their number; and their names."""
    names = [f"{below}{number:02}.png" for number in range(count)]
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 10 * number).save(folder / name)
    return names


def columns(names: list[str], key: str = "file") -> dict[str, list[object]]:
    """An age of 20 and a year for each number, and a sex; rows in another order than the images."""
    order = [(11 * row) % len(names) for row in range(len(names))]
    return {
        key: [names[n] for n in order],
        "age": [20 + n for n in order],
        "sex": ["fm"[n % 2] for n in order],
        "smiling": [2 * (n % 2) - 1 for n in order],
    }


def written(path: Path, table: dict[str, list[object]]) -> None:
    if path.suffix == ".csv":
        csv.write_csv(pa.table(table), path)
    else:
        parquet.write_table(pa.table(table), path)


def folder(path: Path, **keys: object) -> ImageFolder:
    given = {"attributes": "attributes.csv", "image_size": 8, "channels": 1, **keys}
    return ImageFolder(path=str(path), **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["attributes.csv", "attributes.parquet"])
@pytest.mark.parametrize("below", ["", "cats/"])
def test_each_image_has_the_values_of_its_own_row(name: str, below: str, tmp_path: Path) -> None:
    written(tmp_path / name, columns(drawn(tmp_path, below=below)))
    dataset = folder(tmp_path, attributes=name, attributes_categorical=["smiling"])
    splits = dataset.load(["age", "sex", "smiling"])
    assert splits.conditions.features == ("age", "sex=f", "sex=m", "smiling=-1", "smiling=1")
    for split in (splits.train, splits.val, splits.test):
        number = split.images[:, 0, 0, 0].double() / 10
        odd = number % 2
        expected = torch.stack([20 + number, 1 - odd, odd, 1 - odd, odd], 1)
        assert torch.equal(split.conditions, expected)
    assert splits.fingerprint() != dataset.load().fingerprint()
    train = conditioned(splits, Conditions.of_training(splits)).train
    own = splits.train.conditions[:, 0]
    standard = (own - own.mean()) / own.std(correction=0)
    torch.testing.assert_close(train.conditions[:, 0].double(), standard)


def test_folders_of_splits_are_one_table(tmp_path: Path) -> None:
    names = [n for part in ("train", "val", "test") for n in drawn(tmp_path, 6, f"{part}/")]
    table = {"image_id": [f"./{name}" for name in names], "age": list(range(len(names)))}
    written(tmp_path / "list.csv", table | {"other": ["x"] * len(names)})
    splits = folder(tmp_path, attributes="list.csv", attributes_key="image_id").load(["age"])
    held = [s.conditions[:, 0].tolist() for s in (splits.train, splits.val, splits.test)]
    assert held == [[*range(6)], [*range(6, 12)], [*range(12, 18)]]
    assert splits.notes == (), "the table is read"


def test_what_is_not_read_is_said(tmp_path: Path) -> None:
    names = drawn(tmp_path)
    table = columns([*names, "lost.png"])
    written(tmp_path / "attributes.csv", table)
    written(tmp_path / "further.csv", table)
    notes = folder(tmp_path).load(["age"]).notes
    assert [note.split(": ", 1)[1] for note in notes] == [
        "not read: 1 .csv",
        "1 of 21 rows name no image, such as lost.png",
    ]
    assert "dataset.attributes=attributes.csv is not read" in folder(tmp_path).load().notes[-1]


def test_attributes_are_the_texts_that_a_run_knows(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("file,code,ward\na.png,007,01\nb.png,7,2.0\n")
    known = {"code": ("007", "7", "A1"), "ward": ("1", "2")}  # 1 and 2: as a column of numbers
    found = read_attributes("a.csv", path, "file", ["code", "ward"], (), known)
    assert found.of(["a.png", "b.png"])["code"].tolist() == ["007", "7"]
    assert found.of(["a.png", "b.png"])["ward"].tolist() == ["1", "2"]
    read = read_attributes("a.csv", path, "file", ["code"], ["code"])
    assert read.of(["a.png", "b.png"])["code"].tolist() == ["007", "7"]


def without(table: dict[str, list[object]], rows: set[int]) -> dict[str, list[object]]:
    return {k: [v for n, v in enumerate(held) if n not in rows] for k, held in table.items()}


NAMES = [f"{number:02}.png" for number in range(COUNT)]
TABLE = columns(NAMES)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (without(TABLE, {0, 1, 2, 3}),
         r"4 of 20 images have no row, such as 00\.png, 02\.png, 11\.png, \.\.\.; the column file"),
        ({k: [*v, v[0], v[1]] for k, v in TABLE.items()},
         r"2 of 20 images have several rows, such as 00\.png, 11\.png\. Leave one"),
        (TABLE | {"age": [None, *TABLE["age"][1:]]},
         r"column age has no value of 1 of 20 images, such as 00\.png"),
        (TABLE | {"sex": [None, *TABLE["sex"][1:]]}, r"column sex has no value of 1 of 20 images"),
        (TABLE | {"age": [float("inf"), *TABLE["age"][1:]]}, r"age: found inf, expected a finite"),
        (TABLE | {"file": [*range(COUNT)]}, r"the column file is int64; expected names of files"),
        (TABLE | {"file": [None, *TABLE["file"][1:]]}, r"1 rows name no file in file"),
        ({"name": TABLE["file"], "age": TABLE["age"]}, r"has no column file: name that of the"),
        ({"file": TABLE["file"], "sex": TABLE["sex"]}, r"has no column age; the others are "),
    ],
)  # fmt: skip
def test_rows_that_do_not_fit_the_images_are_refused(
    table: dict[str, list[object]], said: str, tmp_path: Path
) -> None:
    drawn(tmp_path)
    written(tmp_path / "attributes.parquet", table)
    with pytest.raises(DataError, match=said):
        folder(tmp_path, attributes="attributes.parquet").load(["age", "sex"])


def test_conditions_without_a_table_are_refused_before_anything_is_read() -> None:
    typed = (*TYPED, "dataset.path=nowhere")
    with pytest.raises(ConfigError, match=r"^condition: age, sex: name .*dataset\.attributes=FILE"):
        check(composed(*typed))
    assert check(composed(*typed, "dataset.attributes=a.csv"))
    streamed = ("dataset=shards", "dataset.path=x", "dataset.train=a.tar", "dataset.test=b.tar")
    with pytest.raises(ConfigError, match=r"^condition: Shards has no arrays or columns"):
        check(composed("condition=[age]", *streamed))


@pytest.fixture(scope="module")
def run(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("attributes")
    written(place / "attributes.csv", columns(drawn(place / "photos")))
    paths = (f"dataset.path={place / 'photos'}", "dataset.attributes=../attributes.csv")
    return train(place / "run", *TYPED, *paths, "dataset.channels=1", "evaluation.figures=[]")


def codes(vae_run: Run, run: Path, tmp_path: Path, *words: str) -> np.ndarray:
    finished = vae_run("task=encode", f"run={run}", "output=z.npz", "overwrite=true", *words)
    assert finished.code == 0, finished.said
    found: np.ndarray = np.load(tmp_path / "z.npz")["mean"]
    return found


def test_own_pictures_have_the_attributes_of_a_table(
    run: Path, vae_run: Run, tmp_path: Path
) -> None:
    photos, model = run.parent / "photos", load(run)
    x = torch.arange(COUNT)[:, None, None, None].expand(-1, 1, 8, 8) * 10 / 255
    told = {"age": 20.0 + np.arange(COUNT), "sex": np.array(["f", "m"] * (COUNT // 2))}
    expected = model.encode(x, told).mean.detach().numpy()
    np.testing.assert_allclose(
        codes(vae_run, run, tmp_path, f"input={photos}"), expected, atol=1e-5
    )
    one = codes(vae_run, run, tmp_path, f"input={photos / '03.png'}")
    np.testing.assert_allclose(one, expected[3:4], atol=1e-5)
    # Other pictures: by the table of the same name in their folder, or by what is typed.
    drawn(tmp_path / "own", 4)
    for name in ("00.png", "01.png"):
        (tmp_path / "own" / name).unlink()
    given = codes(vae_run, run, tmp_path, "input=own", "given={age: 22, sex: f}")
    np.testing.assert_allclose(given[0], expected[2], atol=1e-5)
    refused = vae_run("task=encode", f"run={run}", "input=own", "output=y.npz", "given={age: 22}")
    assert refused.code == 3
    assert "input: own has no `sex`" in refused.said
    written(tmp_path / "own" / "attributes.csv", {"file": ["03.png", "02.png"], "sex": ["m", "f"]})
    both = codes(vae_run, run, tmp_path, "input=own", "given={age: 23}")
    np.testing.assert_allclose(both[1], expected[3], atol=1e-5)


def test_the_runs_own_data_and_samples_have_their_conditions(
    run: Path, vae_run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert codes(vae_run, run, tmp_path, "input=test").shape == (4, 16)
    finished = vae_run("task=sample", f"run={run}", "n=5", "given={age: 40}", "output=s.npz")
    assert finished.code == 0, finished.said
    sampled = np.load(tmp_path / "s.npz")
    assert sampled["age"].tolist() == [40.0] * 5
    assert set(sampled["sex"].tolist()) <= {"f", "m"}
    finished = vae_run("task=evaluate", f"run={run}")
    assert finished.code == 0, finished.said
    assert "not the data that the run was trained on" not in finished.said
