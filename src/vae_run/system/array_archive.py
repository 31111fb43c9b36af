"""Writing .npz archives whose arrays are too large to be held, and telling who wrote a file."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vae_run.system.files import replacing

if TYPE_CHECKING:
    from numpy.typing import NDArray

MARK = "written by vae-run"
"""What files hold that the program wrote, where their format has room for a remark."""


class ArrayArchive:
    """An .npz archive that is being written."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def add(self, name: str, array: NDArray[Any]) -> None:
        """Write a whole array."""
        with self._archive.open(f"{name}.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array(member, array, allow_pickle=False)

    @contextmanager
    def growing(
        self, name: str, shape: Sequence[int], dtype: Any
    ) -> Iterator[Callable[[NDArray[Any]], None]]:
        """Yields a function that appends rows to the array `name`, which will be of `shape`.

        No other array can be written meanwhile.

        Raises:
            ValueError: at the end, if the rows are not as many as `shape` says.
        """
        kind, rows = np.dtype(dtype), 0
        with self._archive.open(f"{name}.npy", "w", force_zip64=True) as member:
            header = {
                "descr": np.lib.format.dtype_to_descr(kind),
                "fortran_order": False,
                "shape": tuple(shape),
            }
            np.lib.format.write_array_header_2_0(member, header)

            def append(piece: NDArray[Any]) -> None:
                nonlocal rows
                if piece.shape[1:] != tuple(shape[1:]):
                    raise ValueError(f"rows of {name} are {piece.shape[1:]}, not {shape[1:]}")
                rows += len(piece)
                member.write(np.ascontiguousarray(piece, kind).data.cast("B"))

            yield append
        if rows != shape[0]:
            raise ValueError(f"{name} has {rows} rows, not {shape[0]}")


@contextmanager
def array_archive(path: Path) -> Iterator[ArrayArchive]:
    """A new compressed .npz archive, which appears at `path` when it is complete.

    Raises:
        OSError: as of `system.files.replacing`.
    """
    with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.comment = MARK.encode()
        yield ArrayArchive(archive)


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write the named arrays as a compressed .npz archive."""
    with array_archive(path) as archive:
        for name, array in arrays.items():
            archive.add(name, array)


def is_marked(path: Path) -> bool:
    """Whether the file at `path` says that this program wrote it."""
    with path.open("rb") as file:
        start = file.read(2**16)
        end = b""
        if (size := path.stat().st_size) > len(start):
            file.seek(max(0, size - 2**16))
            end = file.read()
    return MARK.encode() in start or MARK.encode() in end
