"""Damaged data files: each is read, or refused by one message, in little time and memory."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from fuzzing import (
    COUNT,
    amat_bytes,
    csv_bytes,
    good_rows,
    images_of_the_hub,
    npz_bytes,
    outcome,
    parquet_bytes,
)

from vae_run.data.columns import Columns
from vae_run.data.dataset import Dataset
from vae_run.data.datasets.arrays import Arrays
from vae_run.data.datasets.huggingface import HuggingFace
from vae_run.data.datasets.static_mnist import read_amat
from vae_run.data.datasets.table import Table


def loaded(dataset: Dataset) -> None:
    """Load it; what is not refused is finite."""
    splits = dataset.load()
    for split in (splits.train, splits.val, splits.test):
        assert split is None or bool(torch.isfinite(split.images).all()), "not finite"


def table(path: Path, dice: random.Random, delimiter: str = ",") -> Dataset:
    """A table with odd choices: as they are typed by someone who knows the good file."""
    return Table(
        path=str(path),
        delimiter=delimiter,
        label=dice.choice((None, None, "kind", "age")),
        key=dice.choice((None, None, None, "age")),
        categorical=dice.choice(([], [], ["age"])),
        missing=dice.choice(("refuse", "mean", "indicator")),
        test_size=0.2,
    )


def read_csv(folder: Path, dice: random.Random) -> object:
    delimiter = dice.choice((",", ",", ",", ";", "\t", "a"))
    path = folder / "rows.csv"
    path.write_bytes(csv_bytes(dice, delimiter))
    return loaded(table(path, dice, delimiter))


def read_other_rows(folder: Path, dice: random.Random) -> object:
    """The user's rows, as those of the table that a run was trained on."""
    path = folder / "rows.csv"
    path.write_text("\n".join(map(",".join, good_rows())))
    good = Table(path=str(path), label="kind")
    columns = good.load().table
    assert isinstance(columns, Columns)
    other = folder / dice.choice(("other.csv", "other.parquet"))
    other.write_bytes(csv_bytes(dice) if other.suffix == ".csv" else parquet_bytes(dice))
    return good.rows("input=other", other, columns, class_names=dice.choice(((), ("a", "b"))))


def read_parquet(folder: Path, dice: random.Random) -> object:
    path = folder / "rows.parquet"
    path.write_bytes(parquet_bytes(dice))
    return loaded(table(path, dice))


def read_hub(folder: Path, dice: random.Random) -> object:
    images_of_the_hub(folder, dice)
    return HuggingFace(path=str(folder), image_size=8, channels=dice.choice((1, 3))).load()


def read_text_digits(folder: Path, dice: random.Random) -> object:
    path = folder / "binarized_mnist_train.amat"
    path.write_bytes(amat_bytes(dice))
    return read_amat(path, 784)


def read_archive(folder: Path, dice: random.Random) -> object:
    path = folder / "arrays.npz"
    path.write_bytes(npz_bytes(dice))
    return loaded(Arrays(path=str(path), test_size=0.2))


READERS = (read_csv, read_other_rows, read_parquet, read_hub, read_text_digits, read_archive)


@pytest.mark.parametrize("read", READERS)
def test_damaged_files(read: Callable[[Path, random.Random], object], tmp_path: Path) -> None:
    came = Counter[str]()
    for seed in range(COUNT):
        folder = tmp_path / str(seed)
        folder.mkdir()
        try:
            came[outcome(partial(read, folder, random.Random(seed)))] += 1
        except BaseException as error:
            error.add_note(f"{read.__name__}, seed {seed}")
            raise
    print(read.__name__, dict(came))
    assert all(came[each] for each in ("data", "refused")), "it shows too little"
