"""Writing files: each is replaced as a whole or not at all; PNG, CSV and JSON in one form each."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


def write_atomically(path: Path, content: bytes, *, lasting: bool = True) -> None:
    """Write `content` to `path` so that a reader, or a crash, sees the old file or the new one.

    Raises:
        OSError: as of `replacing`.
    """
    with replacing(path, lasting=lasting) as file:
        file.write(content)


@contextmanager
def replacing(path: Path, *, lasting: bool = True) -> Iterator[IO[bytes]]:
    """A new file to write to, which takes the place of `path` when it is complete.

    `lasting`: it is on the disk by then, and outlasts a loss of power, for which the process waits
    some milliseconds.

    Raises:
        OSError: it cannot be written. The error names `path`; the old content is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            if lasting:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:  # when a disk is full, the system names no file
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def json_text(content: Any, indent: int | None = None) -> str:
    """`content` as JSON; numbers that are not finite are left out.

    JSON has no NaN and no infinity: such an entry of a mapping is absent, one of a list is null.
    """
    return json.dumps(_finite(content), indent=indent, allow_nan=False)


def write_json(path: Path, content: Mapping[str, Any], *, lasting: bool = True) -> None:
    """Write `content` as indented JSON; numbers that are not finite are left out (`json_text`)."""
    write_atomically(path, f"{json_text(content, indent=2)}\n".encode(), lasting=lasting)


def _is_finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items() if _is_finite(item)}
    if isinstance(value, (list, tuple)):
        return [_finite(item) if _is_finite(item) else None for item in value]
    return value


def columns_of(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Every column that one of `rows` has, in the order in which they first appear."""
    return list(dict.fromkeys(key for row in rows for key in row))


def csv_text(
    rows: Iterable[Mapping[str, Any]], columns: Sequence[str], *, header: bool = True
) -> str:
    """`rows` as comma-separated lines; a value that a row does not have is an empty cell."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a table with a header and all columns that any row has."""
    write_atomically(path, csv_text(rows, columns_of(rows)).encode())


def write_png(path: Path, picture: NDArray[Any], remark: str = "") -> None:
    """Write a picture, uint8 [height, width, 3]; a `remark` is kept in the file as its comment."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    buffer, about = io.BytesIO(), PngInfo()
    if remark:
        about.add_text("Comment", remark)
    Image.fromarray(picture).save(buffer, format="PNG", pnginfo=about)
    write_atomically(path, buffer.getvalue())
