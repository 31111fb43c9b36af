"""Tables in CSV and Parquet files: read by pyarrow, and a column taken for what it is.

Letters: N rows.
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_run.data.category_texts import is_number
from vae_run.data.checks import parquet_bytes, refuse_more_than_memory, regular
from vae_run.data.csv_lines import row_of, uneven
from vae_run.errors import DataError
from vae_run.system.extras import installation
from vae_run.system.nouns import counted

_LARGEST_BLOCK = 2**30
"""Bytes of a CSV file that are read at once at most."""


@dataclass(frozen=True)
class TableFile:
    """A table that was read, and where it was read from.

    Attributes:
        named: the file in messages, such as `dataset.path=FILE`.
        path: of the file; None: the table is a data frame in memory.
        delimiter: of a CSV file.
        table: the `pyarrow.Table`.
    """

    named: str
    path: Path | None
    delimiter: str
    table: Any

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        found: list[str] = self.table.column_names
        return found

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def column(self, name: str) -> Any:
        """The `pyarrow.ChunkedArray` of the column `name`."""
        return self.table.column(name)

    def cells(self, name: str, chosen: NDArray[np.bool_]) -> str:
        """The rows `chosen`, bool [N], in words: how many, and where the first is, with its cell.

        A row of a CSV file is named by its line, counted from 1 with the header; one of a Parquet
        file by its index, counted from 0.
        """
        row, count = int(chosen.argmax()), int(chosen.sum())
        found = None
        if self.path is not None and not is_parquet(self.path):
            found = row_of(self.path, self.delimiter, row)
        cell = self.column(name)[row].as_py()
        where = f"row {row:,}" if found is None else f"line {found[0]:,}"
        if found is not None:
            cell = found[1].get(name, cell)
        held = "" if cell in (None, "") else f" with {cell!r}"
        return f"{counted(count, 'rows')}, the first in {where}{held}"


def is_parquet(path: Path | None) -> bool:
    """Whether the ending says that `path` is a Parquet file, whose columns are typed.

    Those of a data frame, which has no path, are typed too.
    """
    return path is None or path.suffix.lower() in (".parquet", ".pq")


def read_table(named: str, path: Path, delimiter: str, as_text: Collection[str] = ()) -> TableFile:
    """The table of a `.parquet` file, or of a CSV file with any other ending.

    Args:
        named: the file in messages.
        path: of the file.
        delimiter: of a CSV file.
        as_text: columns of a CSV file that are texts as they are written, whatever they look like;
            those that it lacks do not matter. In a Parquet file the stored types hold.

    Raises:
        DataError: pyarrow is missing, or the file is, or it is unreadable or has no rows.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise DataError(
            f"{named}: pyarrow, which reads tables, is not installed: {installation('table')}"
        ) from error
    refuse_more_than_memory(size := regular(path, named).stat().st_size, named)
    try:
        if is_parquet(path):
            table = _parquet(parquet.ParquetFile(path), named)
        else:
            table = _csv(path, size, delimiter, as_text)
        table.validate(full=True)  # texts of a damaged file need not be UTF-8
        return _usable(TableFile(named, path, delimiter, table))
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        odd = "" if is_parquet(path) or not path.is_file() else uneven(path, delimiter)
        raise DataError(f"{named} cannot be read as a table: {odd or error}") from error


def frame_table(named: str, frame: Any) -> TableFile:
    """The table of a data frame of pandas or polars, or of a `pyarrow.Table`, without its index.

    Raises:
        DataError: pyarrow is missing, or a column has values of different types, or no rows.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise DataError(
            f"{named}: pyarrow, which reads tables, is not installed: {installation('table')}"
        ) from error
    try:
        if hasattr(frame, "to_arrow"):  # polars
            frame = frame.to_arrow()
        if not isinstance(frame, pyarrow.Table):
            frame = pyarrow.Table.from_pandas(frame, preserve_index=False)
    except (pyarrow.ArrowException, TypeError, ValueError) as error:
        raise DataError(f"{named} cannot be read as a table: {error}") from error
    return _usable(TableFile(named, None, ",", frame))


def _usable(file: TableFile) -> TableFile:
    """`file`, after a check that it has rows, and no two columns of one name."""
    named, table = file.named, file.table
    twice = sorted(name for name, count in Counter(table.column_names).items() if count > 1)
    if twice:
        raise DataError(f"{named} has several columns named {', '.join(twice)}: rename them")
    if not table.num_rows:
        raise DataError(f"{named} has no rows")
    return file


def _parquet(file: Any, named: str) -> Any:
    """The `pyarrow.Table` of a `ParquetFile`, which can name far more rows than it has bytes."""
    refuse_more_than_memory(parquet_bytes(file), named)
    return file.read(use_pandas_metadata=False)


def _csv(path: Path, size: int, delimiter: str, as_text: Collection[str]) -> Any:
    """The `pyarrow.Table` of a CSV file of `size` bytes."""
    import pyarrow
    from pyarrow import csv

    # Nothing between two commas is a missing value in every column; "" in quotes is text.
    missing = csv.ConvertOptions(
        column_types=dict.fromkeys(as_text, pyarrow.string()),
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    lines = csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    # The type of a column is decided by the first block alone.
    whole = csv.ReadOptions(block_size=min(max(size + 1, 2**20), _LARGEST_BLOCK))
    return csv.read_csv(path, read_options=whole, parse_options=lines, convert_options=missing)


def kind(values: Any) -> str | None:
    """What a `pyarrow.ChunkedArray` is taken for by its type.

    `number` or `category`; `empty` if all its values are missing; None for any other type.
    """
    from pyarrow import types

    of = values.type
    if types.is_null(of) or values.null_count == len(values):
        return "empty"
    if types.is_integer(of) or types.is_floating(of) or types.is_decimal(of):
        return "number"
    texts = (types.is_string, types.is_large_string, types.is_string_view)
    if types.is_boolean(of) or any(is_text(of) for is_text in texts):
        return "category"
    if types.is_dictionary(of):
        return "category" if kind(values.cast(of.value_type)) is not None else None
    return None


def numbers(values: Any) -> NDArray[np.float64]:
    """A column of numbers as float64 [N]; missing ones are NaN."""
    import pyarrow

    found: NDArray[np.float64] = values.cast(pyarrow.float64(), safe=False).to_numpy()
    return found.astype(np.float64)


def texts(values: Any) -> NDArray[np.object_]:
    """A column of categories as str [N]: numbers as they are written, missing ones None.

    Booleans are `false` and `true`; whole floats are written as integers, since a column of
    integers with missing values is stored as floats by some programs.
    """
    import pyarrow
    from pyarrow import types

    if types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if types.is_floating(values.type) or types.is_decimal(values.type):
        own = numbers(values)
        held = ~np.isnan(own)
        whole = bool((np.abs(own[held]) < 2**53).all() and (own[held] % 1 == 0).all())
        found = np.full(len(own), None, dtype=object)
        found[held] = [str(int(x) if whole else x) for x in own[held].tolist()]
        return found
    return np.array(values.cast(pyarrow.string()).to_pylist(), dtype=object)


def in_order(found: NDArray[np.object_]) -> tuple[str, ...]:
    """The distinct texts, sorted; by value where all are whole numbers. None is left out."""
    names = {str(name) for name in found if name is not None}
    if all(name.lstrip("-").isdecimal() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def text_columns(file: TableFile) -> set[str]:
    """The names of the columns that are stored as texts."""
    stored = {name: file.column(name) for name in file.names}
    return {n for n, of in stored.items() if kind(of) == "category" and str(of.type) != "bool"}


def missing(values: Any) -> NDArray[np.bool_]:
    """Which values of a column are missing, [N]: null, or not a number."""
    from pyarrow import compute, types

    lost: NDArray[np.bool_] = np.asarray(compute.is_null(values).to_numpy(), dtype=bool)
    return lost | np.isnan(numbers(values)) if types.is_floating(values.type) else lost


def no_numbers(values: Any) -> NDArray[np.bool_]:
    """Which texts of a column are neither missing nor numbers as they are written, [N]."""
    return np.array([name is not None and not is_number(name) for name in texts(values)])


def whole(values: Any) -> bool:
    """Whether a column is stored as integers."""
    from pyarrow import types

    return bool(types.is_integer(values.type))
