"""Checks made before a data file is read: that it is a regular file, and fits into memory."""

import math
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from vae_run.errors import DataError
from vae_run.system.hardware import granted_memory


def regular(path: Path, named: str) -> Path:
    """`path`, if it is a regular file.

    Args:
        path: of the file.
        named: its name in messages, such as `dataset.path=FILE`.

    Raises:
        DataError: it does not exist, or is a folder, a pipe or a device.
    """
    if path.is_file():
        return path
    found = "is a folder" if path.is_dir() else "is a pipe or a device"
    if not path.exists():
        found = "does not exist"
    raise DataError(f"{named} {found}; name the file that holds the data")


def refuse_more_than_memory(size: int, named: str) -> None:
    """Refuse data of `size` bytes, if they exceed the memory that this process is granted.

    Raises:
        DataError: `named` is too large.
    """
    memory = granted_memory()
    if size > memory:
        raise DataError(
            f"{named} holds {size / 2**30:,.1f} GiB, more than the {memory / 2**30:,.1f} GiB of "
            "memory that this machine grants; make it smaller, or store the images as files and "
            "use dataset=image_folder, which reads them batch by batch"
        )


_WIDTHS = {"BOOLEAN": 1, "INT_8": 1, "UINT_8": 1, "INT_16": 2, "UINT_16": 2, "INT32": 4, "FLOAT": 4}
"""Bytes of a cell in memory by its type in Parquet; others have 8."""


def parquet_bytes(file: Any) -> int:
    """Bytes that the table of a `pyarrow.parquet.ParquetFile` takes in memory at least."""
    width = sum(_WIDTHS.get(c.converted_type, _WIDTHS.get(c.physical_type, 8)) for c in file.schema)
    return int(width * file.metadata.num_rows)


def read_header(member: IO[bytes], info: zipfile.ZipInfo) -> tuple[tuple[int, ...], bool, Any]:
    """Shape, whether in column-major order, and data type of an array in an .npz file.

    `member` is read from its start. A header can claim any shape, for which numpy would allocate
    memory before reading, so it is compared with the member's size first.

    Raises:
        ValueError: it is not an array, or its size is not the one that the header claims.
    """
    version = np.lib.format.read_magic(member)
    first = version == (1, 0)
    read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    shape, columns_first, dtype = read(member)
    held, claimed = info.file_size - member.tell(), math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and held != claimed:
        raise ValueError(f"{info.filename} has {held} bytes, but claims to be {dtype} {shape}")
    return shape, columns_first, dtype
