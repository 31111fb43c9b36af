"""Rows of tables: what a column is taken for, the scale of numbers, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from parts import composed
from pyarrow import csv, parquet

from vae_run.config.check import check
from vae_run.data.category_texts import as_known
from vae_run.data.checks import parquet_bytes
from vae_run.data.columns import Columns
from vae_run.data.datasets.table import Table
from vae_run.data.scaled_splits import restated
from vae_run.errors import ConfigError, DataError
from vae_run.tasks.own_rows import _labels

ROWS = 40
COLUMNS = {
    "age": [20 + i for i in range(ROWS)],
    "height": [1.5 + 0.01 * (7 * i % ROWS) for i in range(ROWS)],
    "colour": [("red", "blue", "dark green")[i % 3] for i in range(ROWS)],
    "member": [i % 4 == 0 for i in range(ROWS)],
    "floor": [(2, 10, 1)[i % 3] for i in range(ROWS)],
    "same": [7] * ROWS,
    "kind": [("good", "bad")[i % 5 == 0] for i in range(ROWS)],
}
"""One value of each kind of column; `same` says nothing, `kind` is a label."""


def write(folder: Path, name: str, columns: dict[str, object] | pa.Table) -> str:
    """The path of a new table file of the ending that `name` has."""
    table = columns if isinstance(columns, pa.Table) else pa.table(columns)
    path = folder / name
    if path.suffix == ".csv":
        csv.write_csv(table, path)
    else:
        parquet.write_table(table, path)
    return str(path)


def loaded(folder: Path, columns: dict[str, object], name: str = "rows.csv", **keys: object):
    return Table(path=write(folder, name, columns), **keys).load()


FEATURES = (
    *("age", "height", "colour=blue", "colour=dark green", "colour=red"),
    *("member=false", "member=true", "floor=1", "floor=2", "floor=10"),
)


def test_a_column_is_what_its_type_says(tmp_path: Path) -> None:
    splits = loaded(tmp_path, COLUMNS, label="kind", categorical=["floor"])
    assert splits.columns == FEATURES
    assert splits.table.blocks == ((2, 5), (5, 7), (7, 10))
    assert splits.event_shape == (10,)
    assert splits.noun == "rows"
    assert splits.class_names == ("bad", "good")
    assert splits.train.images.dtype == torch.float32
    assert any("same" in note for note in splits.notes), "a column left out is said"
    for split in (splits.train, splits.val, splits.test):
        for place, label, x in zip(split.index, split.labels, split.images, strict=True):
            row = {name: values[place] for name, values in COLUMNS.items()}
            assert splits.class_names[label] == row["kind"]
            held = [name for name, value in zip(FEATURES[2:], x[2:], strict=True) if value == 1]
            member = str(row["member"]).lower()
            assert held == [f"colour={row['colour']}", f"member={member}", f"floor={row['floor']}"]
            assert x[2:].sum() == 3


def test_numbers_are_standardised_by_the_training_rows_alone(tmp_path: Path) -> None:
    splits = loaded(tmp_path, COLUMNS, drop=["kind"])
    age = splits.table.columns[0]
    train = np.array(COLUMNS["age"])[splits.train.index.numpy()]
    assert (age.mean, age.std) == pytest.approx((train.mean(), train.std()))
    assert splits.train.images[:, 0].mean() == pytest.approx(0, abs=1e-6)
    assert splits.train.images[:, 0].std(correction=0) == pytest.approx(1, abs=1e-6)
    test = np.array(COLUMNS["age"])[splits.test.index.numpy()]
    assert splits.test.images[:, 0].numpy() == pytest.approx((test - train.mean()) / train.std())


def test_features_become_columns_again(tmp_path: Path) -> None:
    splits = loaded(tmp_path, COLUMNS, label="kind", categorical=["floor"])
    columns = Columns.of_state(splits.table.state())  # as a checkpoint keeps it
    assert columns == splits.table
    back = columns.table(splits.test.images)
    for name in ("age", "height"):
        expected = np.array(COLUMNS[name])[splits.test.index.numpy()]
        assert back[name] == pytest.approx(expected, rel=1e-5)
    for name in ("colour", "floor"):
        expected = np.array(COLUMNS[name]).astype(str)[splits.test.index.numpy()]
        assert back[name].tolist() == expected.tolist()


def test_csv_and_parquet_are_the_same_table(tmp_path: Path) -> None:
    coded = {**COLUMNS, "colour": pa.array(COLUMNS["colour"]).dictionary_encode()}
    found = [
        loaded(tmp_path, columns, name, label="kind", categorical=["floor"])
        for columns, name in ((COLUMNS, "a.csv"), (COLUMNS, "b.parquet"), (coded, "c.parquet"))
    ]
    assert found[0].table == found[1].table == found[2].table
    assert len({splits.fingerprint() for splits in found}) == 1


def test_other_delimiters_and_own_splits(tmp_path: Path) -> None:
    lines = [f"{i};{i % 2 * 0.5};{'ab'[i % 2]}" for i in range(12)]
    for name, part in (("train", lines[:8]), ("val", lines[8:10]), ("test", lines[10:])):
        (tmp_path / f"{name}.txt").write_text("\n".join(["n;x;t", *part]) + "\n")
    files = {key: str(tmp_path / f"{key}.txt") for key in ("val", "test")}
    keys = {"path": str(tmp_path / "train.txt"), **files}
    splits = Table(delimiter=";", **keys).load()
    assert (len(splits.train), len(splits.val), len(splits.test)) == (8, 2, 2)
    assert splits.columns == ("n", "x", "t=a", "t=b")
    expected = (np.array([10, 11]) - 3.5) / math.sqrt(5.25)  # of the training rows 0 to 7
    assert splits.test.images[:, 0].numpy() == pytest.approx(expected)
    with pytest.raises(DataError, match=r"no column to learn from|several|categories"):
        Table(**keys).load()


MISSING = {
    "x": [None if i % 4 == 1 else float(i) for i in range(ROWS)],
    "y": [float(i) for i in range(ROWS)],
    "t": [None if i == 3 else "ab"[i % 2] for i in range(ROWS)],
}


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet"])
def test_missing_values_are_counted_or_replaced(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        DataError, match=r"missing in x \(10 rows, the first in (line 3|row 1)\), t \(1 row, .*mean"
    ):
        loaded(tmp_path, MISSING, name)
    mean = loaded(tmp_path, MISSING, name, missing="mean")
    assert mean.columns == ("x", "y", "t=a", "t=b", "t=missing")
    lost = mean.train.index % 4 == 1
    assert (mean.train.images[lost, 0] == 0).all(), "the training mean"
    assert mean.train.images[~lost, 0].std(correction=0) == pytest.approx(1, abs=1e-6)
    told = loaded(tmp_path, MISSING, name, missing="indicator")
    assert told.columns == ("x", "x missing=no", "x missing=yes", *mean.columns[1:])
    assert torch.equal(told.train.images[:, 2].bool(), told.train.index % 4 == 1)
    assert torch.equal(told.train.images[:, 1], 1 - told.train.images[:, 2])
    assert set(told.table.table(told.test.images)) == {"x", "y", "t"}


def test_quoted_text_is_not_missing(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("x,country\n" + "".join(f'{i},"{("NA", "DE")[i % 2]}"\n' for i in range(12)))
    assert Table(path=str(path)).load().columns == ("x", "country=DE", "country=NA")


def test_an_index_that_pandas_wrote_is_no_feature(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(",x,y\n" + "".join(f"{i},{i * i},{i % 5}\n" for i in range(12)))
    splits = Table(path=str(path)).load()
    assert splits.columns == ("x", "y")
    assert any("index" in note for note in splits.notes)
    assert any("dataset.categorical" in note and "y" in note for note in splits.notes)


def changed(**columns: object) -> dict[str, object]:
    return {**COLUMNS, **columns}


@pytest.mark.parametrize(
    ("columns", "keys", "said"),
    [
        (changed(when=pa.array([0] * ROWS, pa.timestamp("s"))), {}, r"numbers nor.*when \(timest"),
        (
            changed(age=[math.inf] + [1.0, 2.0] * 19 + [3.0]),
            {},
            "age is infinite in 1 row, the first in row 0",
        ),
        (COLUMNS, {"drop": ["agee"]}, "dataset.drop: .* no column agee; its columns are age, "),
        (COLUMNS, {"label": "sort"}, "dataset.label: .* no column sort"),
        (COLUMNS, {"categorical": ["flor"]}, "dataset.categorical: .* no column flor"),
        (COLUMNS, {"label": "height"}, "expected texts or whole numbers"),
        ({"a": [1] * ROWS, "b": ["x"] * ROWS}, {}, "no column to learn from"),
    ],
)
def test_what_is_no_table_is_refused_by_name(
    columns: dict[str, object], keys: dict[str, object], said: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=said):
        loaded(tmp_path, columns, "rows.parquet", **keys)


def test_prose_and_names_are_no_categories(tmp_path: Path) -> None:
    columns = {"x": list(range(1100)), "name": [f"person {i}" for i in range(1100)]}
    with pytest.raises(DataError, match=r"name \(1,100\).*dataset\.drop"):
        loaded(tmp_path, columns)
    assert loaded(tmp_path, columns, drop=["name"]).columns == ("x",)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        Table(path=str(tmp_path / "none.csv")).load()
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 is not enough")
    with pytest.raises(DataError, match=r"bad\.parquet cannot be read as a table"):
        Table(path=str(tmp_path / "bad.parquet")).load()
    (tmp_path / "ragged.csv").write_text("a,b\n1,2\n3\n")
    with pytest.raises(DataError, match=r"ragged\.csv cannot be .*line 3 has 1 cell, the header 2"):
        Table(path=str(tmp_path / "ragged.csv")).load()
    (tmp_path / "twice.csv").write_text("a,a\n1,2\n3,4\n")
    with pytest.raises(DataError, match="several columns named a"):
        Table(path=str(tmp_path / "twice.csv")).load()


def test_other_rows_are_standardised_as_the_runs_were(tmp_path: Path) -> None:
    table = Table(path=write(tmp_path, "rows.csv", COLUMNS), drop=["kind"])
    columns = table.load().table
    own = {name: values[:3] for name, values in COLUMNS.items() if name not in ("same", "kind")}
    split = table.rows("input=own.csv", Path(write(tmp_path, "own.csv", own)), columns)[0]
    expected = (np.array(own["age"]) - columns.columns[0].mean) / columns.columns[0].std
    assert split.images[:, 0].numpy() == pytest.approx(expected, rel=1e-6)
    strange = write(tmp_path, "strange.csv", {**own, "colour": ["red", "mauve", "blue"]})
    with pytest.raises(DataError, match=r"input=strange\.csv: column colour has categories.*mauve"):
        table.rows("input=strange.csv", Path(strange), columns)
    lacking = write(tmp_path, "lacking.csv", {"age": [1.0], "colour": ["red"]})
    with pytest.raises(DataError, match="no column height, member, floor"):
        table.rows("input=lacking.csv", Path(lacking), columns)


def test_evaluation_uses_the_statistics_of_the_run(tmp_path: Path) -> None:
    first = loaded(tmp_path, COLUMNS, drop=["kind"])
    older = changed(age=[1000 + 3 * i for i in range(ROWS)])
    second = restated(loaded(tmp_path, older, drop=["kind"]), first.table)
    age, column = np.array(older["age"])[second.test.index.numpy()], first.table.columns[0]
    assert second.test.images[:, 0].numpy() == pytest.approx(
        (age - column.mean) / column.std, rel=1e-5
    )
    assert second.table == first.table
    others = loaded(tmp_path, COLUMNS, drop=["kind", "member"])
    with pytest.raises(DataError, match="lacking: member=false, member=true"):
        restated(others, first.table)


@pytest.mark.parametrize("missing", ["mean", "indicator"])
def test_a_missing_number_is_the_mean_of_the_run_in_another_table_too(
    missing: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    tables = []
    for mean in (0, 10):
        a = [*(mean + rng.normal(size=40)), *[None] * 40]
        file = write(tmp_path, f"about_{mean}.csv", {"a": a, "b": list(range(80))})
        tables.append(Table(path=file, missing=missing, split_seed=3).load())
    run, other = tables
    given = restated(other, run.table)
    assert run.table.features[0] == "a"
    for before, after in ((other.train, given.train), (other.test, given.test)):
        lacking = before.images[:, 0] == 0
        assert 0 < int(lacking.sum()) < len(lacking)
        assert torch.equal(after.images[:, 0] == 0, lacking)
        assert after.images[~lacking, 0].mean() > 5
    again = restated(given, other.table)
    torch.testing.assert_close(again.train.images, other.train.images, rtol=1e-4, atol=1e-4)


def test_classes_left_out_are_standardised_too(tmp_path: Path) -> None:
    splits = loaded(tmp_path, COLUMNS, label="kind", classes=[1])
    assert splits.others is not None
    age = splits.table.columns[0]
    expected = (np.array(COLUMNS["age"])[splits.others.index.numpy()] - age.mean) / age.std
    assert splits.others.images[:, 0].numpy() == pytest.approx(expected, rel=1e-5)


def test_a_column_that_varies_outside_of_training_alone_is_said(tmp_path: Path) -> None:
    train = write(tmp_path, "train.csv", {"a": [1.0] * 39 + [2.0], "b": list(range(40))})
    table = Table(path=train, val_size=0, test_size=39)
    raw = table.read()
    columns = raw.table.fitted(raw.train.images[:39])
    assert columns.columns[0] == replace(columns.columns[0], mean=1.0, std=1.0)


@pytest.mark.parametrize("likelihood", ["bernoulli", "continuous_bernoulli", "categorical"])
def test_likelihoods_of_pixels_are_refused_before_any_data_are_read(likelihood: str) -> None:
    words = ("dataset=table", "dataset.path=no_such_file.csv")
    with pytest.raises(ConfigError, match=r"likelihood: .* Use likelihood=mixed"):
        check(composed(*words, f"likelihood={likelihood}"))
    assert check(composed(*words, "likelihood=mixed"))
    assert check(composed(*words, "likelihood=gaussian"))
    with pytest.raises(ConfigError, match=r"dataset\.binarize: the rows of a table are no pixels"):
        check(composed(*words, "likelihood=mixed", "dataset.binarize=static"))


def csv_file(folder: Path, *lines: str, name: str = "rows.csv") -> str:
    """The path of a CSV file of these lines."""
    (folder / name).write_text("\n".join(lines) + "\n")
    return str(folder / name)


def test_a_bad_cell_is_named_by_line_column_and_text(tmp_path: Path) -> None:
    """Lines are those of an editor: blank ones count, and a quoted cell may have several."""
    good = [f'{i % 7 + 0.5},"{"ab"[i % 2]}"' for i in range(20)]
    few = ['1.5,"two', 'lines"', "", *good]
    training = csv_file(tmp_path, "x,t", *few)
    (tmp_path / "missing.csv").write_text("\n".join(["x,t", *few, ",a", "3.5,b", ",b"]))
    with pytest.raises(DataError, match=r"missing in x \(2 rows, the first in line 25\)"):
        Table(path=str(tmp_path / "missing.csv")).load()
    columns = Table(path=training).load().table
    for cell, said in (
        ("none,a", r"column x is string.*1 row, the first in line 25 with 'none'"),
        ("inf,a", r"column x is infinite in 1 row, the first in line 25 with 'inf'"),
        ("1.5,mauve", r"not: mauve \(1 row, the first in line 25 with 'mauve'\)"),
    ):
        path = csv_file(tmp_path, "x,t", *few, cell, name="input.csv")
        with pytest.raises(DataError, match=said):
            Table(path=training).rows("input=input.csv", Path(path), columns)


def test_numbers_with_a_few_texts_among_them_are_said_to_be_categories(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "x,y", *(f"{i},{i % 3}" for i in range(30)), "none,1", "?,2")
    splits = Table(path=path).load()
    assert any(
        "Column x is no number in 2 rows, the first in line 32 with 'none'" in note
        for note in splits.notes
    )
    many = csv_file(tmp_path, "x,y", *(f"{i},{i % 3}" for i in range(1500)), "none,1", name="m.csv")
    with pytest.raises(DataError, match=r"1,501: x is no number in 1 row, the first in line 1,502"):
        Table(path=many).load()


def test_the_type_of_a_column_is_that_of_all_its_rows(tmp_path: Path) -> None:
    """A fraction far below whole numbers, where pyarrow's first block has ended long before."""
    path = csv_file(
        tmp_path, "x,pad", *(f"{i % 9},{'p' * 99}{i % 5}" for i in range(12_000)), "0.5,p"
    )
    splits = Table(path=path).load()
    assert splits.table.columns[0].categories is None


def test_each_column_is_told_with_how_it_was_read(tmp_path: Path) -> None:
    columns = {**COLUMNS, "id": [f"r{i}" for i in range(ROWS)], "gone": pa.nulls(ROWS, pa.string())}
    columns["height"] = [None, *COLUMNS["height"][1:]]
    keys = {"label": "kind", "key": "id", "categorical": ["floor"], "missing": "mean"}
    told = dict(loaded(tmp_path, columns, "rows.parquet", **keys, drop=["member"]).table.told)
    assert told == {
        "age": "a number from 20 to 59, mean 39.5",
        "height": "a number from 1.51 to 1.89, mean 1.7; 1 missing",
        "colour": "3 categories: red 14, blue 13, dark green 13",
        "member": "left out: dataset.drop",
        "floor": "3 categories: 2 14, 10 13, 1 13",
        "same": "left out: all rows have '7'",
        "kind": "the label: dataset.label, no feature",
        "id": "the key: dataset.key, no feature",
        "gone": "left out: it has no values",
    }


def test_keys_are_carried_along_and_are_no_features(tmp_path: Path) -> None:
    columns = {**COLUMNS, "id": [f"r{i}" for i in range(ROWS)]}
    table = Table(path=write(tmp_path, "rows.csv", columns), label="kind", key="id")
    splits = table.load()
    assert splits.test.names.tolist() == [f"r{i}" for i in splits.test.index.tolist()]
    assert not any(name.startswith("id") for name in splits.columns)
    whole, _ = table.rows("input=rows.csv", tmp_path / "rows.csv", splits.table)
    assert whole.names.tolist() == columns["id"]
    with pytest.raises(DataError, match=r"dataset\.key: .* has no column nr"):
        replace(table, key="nr").load()
    lost = write(tmp_path, "lost.csv", {**columns, "id": [None, *columns["id"][1:]]})
    with pytest.raises(DataError, match=r"dataset\.key=id: no key in 1 row, the first in line 2"):
        replace(table, path=lost).load()


def test_keys_and_categories_are_the_texts_of_their_cells(tmp_path: Path) -> None:
    ids = ["00123", "0123", "00124", "12345678901234567890", "12345678901234567891"]
    path = csv_file(tmp_path, "id,x", *(f"{name},{i}" for i, name in enumerate(ids)))
    parts = Table(path=path, key="id").read()
    assert parts.train.names.tolist() == ids
    assert Table(path=path, categorical=["id"]).read().table.columns[0].categories == (
        *("00123", "0123", "00124"),
        *("12345678901234567890", "12345678901234567891"),
    )
    gaps = csv_file(tmp_path, "id,x", "1.0,1", ",2", "10.0,3", "2.0,4")  # as pandas writes them
    parts = Table(path=gaps, categorical=["id"], missing="mean").read()
    assert parts.table.columns[0].categories == ("1", "2", "10", "missing")
    assert parts.train.images[:, :4].argmax(1).tolist() == [0, 3, 2, 1]


@pytest.mark.parametrize(
    ("known", "cells", "found"),
    [
        (("7", "10", "missing"), ["7.0", "007", "10"], ["7", "7", "10"]),
        (("1.0", "2.5"), ["1", "2.50", "3"], ["1.0", "2.5", "3"]),
        (("007", "7", "A1"), ["007", "7", "07"], ["007", "7", "07"]),
        (("false", "true"), ["True", "FALSE", "no"], ["true", "false", "no"]),
    ],
)
def test_categories_of_numbers_are_found_as_other_files_write_them(
    known: tuple[str, ...], cells: list[str], found: list[str]
) -> None:
    assert as_known(np.array(cells, dtype=object), known).tolist() == found


def test_a_cell_means_the_same_in_every_file(tmp_path: Path) -> None:
    """Columns that hold numbers alone in some file are texts there too, as in training."""
    lines = [f"{i},{('007', '7', 'A1')[i % 3]},{('10', '20', 'A')[i % 3]}" for i in range(30)]
    path = csv_file(tmp_path, "x,code,kind", *lines)
    own = csv_file(tmp_path, "x,code,kind", "1,007,20", "2,007,10", name="own.csv")
    table = Table(path=path, test=own, label="kind")
    parts = table.read()
    assert parts.table.features == ("x", "code=007", "code=7", "code=A1")
    assert parts.test.images[:, 1:].tolist() == [[1, 0, 0]] * 2
    assert parts.class_names == ("10", "20", "A")
    assert parts.test.labels.tolist() == [1, 0]
    split, classes = table.rows("input=own.csv", Path(own), parts.table, None, parts.class_names)
    assert split.images[:, 1:].tolist() == [[1, 0, 0]] * 2
    assert _labels(classes, parts.class_names).tolist() == [1, 0]
    assert _labels(np.array([20, 10]), parts.class_names).tolist() == [1, 0], "of Parquet files"
    turned = Table(path=own, test=path, label="kind", drop=["code"]).read()
    assert turned.class_names == ("10", "20", "A")
    assert turned.train.labels.tolist() == [1, 0]


def test_numbers_in_another_notation_are_named(tmp_path: Path) -> None:
    notes = Table(path=csv_file(tmp_path, "x,y", *(f"{i}_000,{i}" for i in range(1, 9)))).read()
    assert any("Column x has numbers in another notation in 8 rows" in n for n in notes.notes)
    commas = csv_file(tmp_path, "x;y", *(f"{i},5;{i}" for i in range(8)))
    notes = Table(path=commas, delimiter=";").read()
    said = [note for note in notes.notes if "another notation" in note]
    assert "'0,5'" in said[0]
    assert "write numbers as 1000.5" in said[0]


def test_numbers_as_texts_are_told_from_bad_cells(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "x,y", *(f"{i}.5,{i}" for i in range(8)))
    table = Table(path=path)
    columns = table.read().table
    texts = write(tmp_path, "texts.parquet", {"x": ["1.5", "2.5"], "y": [1, 2]})
    with pytest.raises(DataError, match=r"x is string.*are stored as texts\. Convert the column"):
        table.rows("input", Path(texts), columns)
    odd = csv_file(tmp_path, "x,y", "1.5,1", "1_000,2", name="odd.csv")
    with pytest.raises(DataError, match=r"1 row, the first in line 3 with '1_000'\. Correct"):
        table.rows("input", Path(odd), columns)


def test_a_column_that_is_said_to_be_categories_has_no_bad_cells(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "x,y", *(f"{i % 4},{i}" for i in range(20)), "none,20")
    assert any("x is no number" in note for note in Table(path=path).read().notes)
    assert not any(
        "x is no number" in note for note in Table(path=path, categorical=["x"]).read().notes
    )


def test_rows_are_called_rows(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "x,id", "1,a", "2,b", "3,c")
    with pytest.raises(DataError, match="none of 3 rows falls into"):
        Table(path=path, key="id", split_by="name").load()


def test_a_run_that_knows_007_as_7_is_evaluated_on_its_table(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "x,code", *(f"{i},{('007', '010', '008')[i % 3]}" for i in range(30)))
    splits = Table(path=path, categorical=["code"]).load()
    assert splits.columns == ("x", "code=007", "code=008", "code=010")
    number, code = splits.table.columns
    older = Columns((number, replace(code, categories=("7", "8", "10"))))
    assert restated(splits, older).table == older


def test_a_parquet_table_is_measured_by_the_types_of_its_columns(tmp_path: Path) -> None:
    columns = {
        **{"a": pa.array([True] * 100), "b": pa.array([1] * 100, pa.int8())},
        **{"c": pa.array([1] * 100, pa.uint16()), "d": pa.array([1.0] * 100, pa.float32())},
        **{"e": pa.array([1.0] * 100), "f": pa.array(["x"] * 100)},
    }
    parquet.write_table(pa.table(columns), tmp_path / "x.parquet")
    assert parquet_bytes(parquet.ParquetFile(tmp_path / "x.parquet")) == 100 * (1 + 1 + 2 + 4 + 16)
