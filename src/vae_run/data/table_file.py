"""Tables in CSV and Parquet files: read by pyarrow, and a column taken for what it is.

Letters: N rows.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_run.data.checks import refuse_more_than_memory, regular
from vae_run.errors import DataError


def read_table(named: str, path: Path, delimiter: str) -> Any:
    """The `pyarrow.Table` of a `.parquet` file, or of a CSV file with any other ending.

    Raises:
        DataError: pyarrow is missing, or the file is, or it is unreadable or has no rows.
    """
    try:
        import pyarrow
        from pyarrow import csv, parquet
    except ImportError as error:
        raise DataError(
            f"{named}: pyarrow, which reads tables, is not installed: pip install 'vae-run[table]'"
        ) from error
    refuse_more_than_memory(regular(path, named).stat().st_size, named)
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            table = parquet.ParquetFile(path).read(use_pandas_metadata=False)
        else:
            # Nothing between two commas is a missing value in every column; "" in quotes is text.
            missing = csv.ConvertOptions(strings_can_be_null=True, quoted_strings_can_be_null=False)
            lines = csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
            table = csv.read_csv(path, parse_options=lines, convert_options=missing)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{named} cannot be read as a table: {error}") from error
    twice = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
    if twice:
        raise DataError(f"{named} has several columns named {', '.join(twice)}: rename them")
    if not table.num_rows:
        raise DataError(f"{named} has no rows")
    return table


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

    found: NDArray[np.float64] = values.cast(pyarrow.float64()).to_numpy()
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


def missing(values: Any) -> int:
    """How many values of a column are missing: null, or not a number."""
    from pyarrow import types

    lost = int(values.null_count)
    if types.is_floating(values.type):
        lost = int(np.isnan(numbers(values)).sum())
    return lost


def whole(values: Any) -> bool:
    """Whether a column is stored as integers."""
    from pyarrow import types

    return bool(types.is_integer(values.type))
