"""Attributes of image files: a table with a row for each, found by a column of file names.

Letters: N images.
"""

import posixpath
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from vae_run.data.category_texts import as_known, called
from vae_run.data.table_file import TableFile, is_parquet, kind, numbers, read_table, texts
from vae_run.errors import DataError

_SHOWN = 3


@runtime_checkable
class DescribesFiles(Protocol):
    """A dataset with attributes of image files, its own and others."""

    def attributes_of(
        self, paths: Sequence[Path], base: Path | None, columns: Mapping[str, Sequence[str]]
    ) -> dict[str, NDArray[Any]]:
        """{column: its values [N]} of the files `paths`, all below `base` if it is given.

        `columns` are names with the classes that a run knows of each, none of a number.
        """
        ...


def told(
    dataset: Any, paths: Sequence[Path], base: Path | None, columns: Mapping[str, Sequence[str]]
) -> dict[str, NDArray[Any]]:
    """`dataset.attributes_of`; nothing if it knows no attributes of files."""
    known = isinstance(dataset, DescribesFiles)
    return dataset.attributes_of(paths, base, columns) if known else {}


@dataclass(frozen=True)
class Attributes:
    """The columns `held` of a table, and the number of the row of each file name.

    Attributes:
        named: the table, in messages.
        key: the column of file names.
        rows: {file name: its row}; of a name that several rows have, the last.
        several: file names that several rows have.
        held: {column: its values in all rows}, float64, NaN where one is missing, or texts, None
            where one is missing.
        others: the names of all other columns but the key.
    """

    named: str
    key: str
    rows: Mapping[str, int]
    several: Collection[str]
    held: Mapping[str, NDArray[Any]]
    others: Sequence[str]

    def of(self, files: Sequence[str]) -> dict[str, NDArray[Any]]:
        """{column: its values [N] of `files`}, in their order: float64, or texts.

        Raises:
            DataError: a file has no row, or several, or a row lacks a value.
        """
        files = [normalize("NFC", file) for file in files]  # as macOS does not write them
        if lost := [file for file in files if file not in self.rows]:
            known = next(iter(self.rows), "nothing")
            raise DataError(
                f"{self.named}: {_counted(lost, len(files))} have no row, such as {_some(lost)}; "
                f"the column {self.key} names files relative to the folder, such as {known}. Add "
                "rows, or move these images away"
            )
        if twice := [file for file in files if file in self.several]:
            raise DataError(
                f"{self.named}: {_counted(twice, len(files))} have several rows, such as "
                f"{_some(twice)}. Leave one for each"
            )
        places = np.array([self.rows[file] for file in files], dtype=np.int64)
        found = {}
        for name, values in self.held.items():
            own = values[places]
            lacks = own == None if own.dtype == object else np.isnan(own)  # noqa: E711
            if lacks.any():
                lost = [file for file, lack in zip(files, lacks.tolist(), strict=True) if lack]
                raise DataError(
                    f"{self.named}: column {name} has no value of {_counted(lost, len(files))}, "
                    f"such as {_some(lost)}. Fill them in, or move these images away"
                )
            found[name] = own.astype(str) if own.dtype == object else own
        return found

    def unused_note(self, files: Collection[str]) -> tuple[str, ...]:
        """A sentence on rows that name none of `files`."""
        known = set(files)
        lost = [name for name in self.rows if name not in known]
        if not lost:
            return ()
        count = _counted(lost, len(self.rows), "row")
        return (f"{self.named}: {count} name no image, such as {_some(lost)}",)


def read_attributes(
    named: str,
    path: Path,
    key: str,
    columns: Sequence[str],
    categorical: Collection[str] = (),
    classes: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Attributes:
    """The `columns` of a CSV or Parquet file that it has.

    Numbers stay numbers. Those in `categorical` become texts, as booleans do; in a CSV file they
    are texts as they are written. So are columns that have `classes` in a run, and their texts
    become the classes that they are other notations of.

    Raises:
        DataError: the file is missing or unreadable, has no column `key` of file names, or a column
            is neither of numbers nor of texts.
    """
    known = {name: own for name, own in classes.items() if own}
    table = read_table(named, path, ",", (set(categorical) | known.keys()) - {key})
    names, files = table.names, _files(table, key)
    held = {}
    for name in columns:
        if name in names:
            held[name] = _values(table, name, name in categorical, known.get(name))
    return Attributes(
        named,
        key,
        {file: row for row, file in enumerate(files)},
        {file for file, count in Counter(files).items() if count > 1},
        held,
        [name for name in names if name != key and name not in held],
    )


def _files(table: TableFile, key: str) -> list[str]:
    """The file that each row names in the column `key`."""
    named, names = table.named, table.names
    if key not in names:
        raise DataError(
            f"{named} has no column {key}: name that of the files with dataset.attributes_key; its "
            f"columns are {', '.join(names)}"
        )
    if kind(table.column(key)) != "category":
        raise DataError(
            f"{named}: the column {key} is {table.column(key).type}; expected names of files, such "
            "as cats/1.png"
        )
    named_files = [name for name in texts(table.column(key)) if name is not None]
    files = [normalize("NFC", posixpath.normpath(name)) for name in named_files]
    if len(files) < len(table):
        raise DataError(f"{named}: {len(table) - len(files):,} rows name no file in {key}")
    return files


def _values(
    table: TableFile, name: str, categorical: bool, known: Sequence[str] | None
) -> NDArray[Any]:
    values = table.column(name)
    of = kind(values)
    if of not in ("number", "category"):
        found = "has no values" if of == "empty" else f"is {values.type}"
        raise DataError(f"{table.named}: column {name} {found}; expected numbers or texts")
    if known is not None:
        return as_known(texts(values), known)
    if categorical:
        return texts(values) if is_parquet(table.path) else called(texts(values))
    return numbers(values) if of == "number" else texts(values)


def _counted(some: Sequence[str], whole: int, noun: str = "image") -> str:
    return f"{len(some):,} of {whole:,} {noun}s"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
