"""What is seen to before a file of data is read: that it is one, and that it fits into memory."""

import math
import os
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from vae_run.errors import DataError


def regular(path: Path, named: str) -> Path:
    """`path`, if it is a file that ends.

    Args:
        path: of the file.
        named: how messages call it, such as `dataset.path=FILE`.

    Raises:
        DataError: there is nothing, or a folder, or a pipe or device, which would be read forever.
    """
    if path.is_file():
        return path
    found = "is a folder" if path.is_dir() else "is a pipe or a device"
    if not path.exists():
        found = "is not there"
    raise DataError(f"{named} {found}; name the file that holds the data")


def refuse_more_than_memory(size: int, named: str) -> None:
    """Refuse `size` bytes that this machine cannot hold, before anything tries to.

    Raises:
        DataError: `named` is too large.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > memory:
        raise DataError(
            f"{named} holds {size / 2**30:,.1f} GiB, more than the {memory / 2**30:,.1f} GiB of "
            "memory of this machine; make it smaller, or store the images as files and use "
            "dataset=image_folder, which reads them piece by piece"
        )


def read_header(member: IO[bytes], info: zipfile.ZipInfo) -> tuple[tuple[int, ...], bool, Any]:
    """Shape, column order and type of an array in an .npz file, whose `member` is at its start.

    A few bytes can claim any shape, for which numpy would set memory aside before it reads.

    Raises:
        ValueError: this is no array, or the member holds another number of bytes than it claims.
    """
    version = np.lib.format.read_magic(member)
    first = version == (1, 0)
    read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    shape, columns_first, dtype = read(member)
    held, claimed = info.file_size - member.tell(), math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and held != claimed:
        raise ValueError(f"{info.filename} has {held} bytes, but claims to be {dtype} {shape}")
    return shape, columns_first, dtype
