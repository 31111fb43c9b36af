"""Encoded images in the rows of Parquet files, as the Hugging Face hub stores them.

Letters: N rows, C channels, H and W height and width.
"""

import io
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vae_run.data.checks import refuse_more_than_memory, regular
from vae_run.data.images.decoder import Decoder
from vae_run.errors import DataError
from vae_run.system.extras import installation
from vae_run.system.hardware import cores

_ROWS = 256
"""Rows that are decoded at a time."""


def opened(path: Path) -> Any:
    """The `pyarrow.parquet.ParquetFile` at `path`.

    Raises:
        DataError: pyarrow is not installed, or the file is missing or unreadable.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise DataError(
            f"{path}: pyarrow, which reads Parquet files, is not installed: {installation('table')}"
        ) from error
    try:
        return parquet.ParquetFile(regular(path, str(path)))
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}") from error


def holds_images(of: Any) -> bool:
    """Whether a column of the type `of` may hold encoded images: bytes, or {bytes, path}."""
    from pyarrow import types

    if types.is_struct(of):
        held = [of.field(place) for place in range(of.num_fields)]
        return any(one.name == "bytes" and holds_images(one.type) for one in held)
    return bool(types.is_binary(of) or types.is_large_binary(of))


def class_names(schema: Any, column: str) -> tuple[str, ...] | None:
    """The names of the labels in `column`, if the file says them as the hub's files do."""
    try:
        about = json.loads((schema.metadata or {})[b"huggingface"])
        names = about["info"]["features"][column]["names"]
    except (KeyError, ValueError, TypeError, RecursionError):
        return None
    return tuple(map(str, names)) if isinstance(names, list) else None


def decoded(
    files: Sequence[Path], column: str, label: str | None, decoder: Decoder
) -> tuple[torch.Tensor, NDArray[Any] | None, NDArray[np.str_] | None]:
    """uint8 [N, C, H, W] of all rows of `files`, their labels [N], and what the images are called.

    Raises:
        DataError: a column is missing, or an image cannot be decoded.
    """
    wanted = [column] + ([] if label is None else [label])
    tables = [opened(path) for path in files]
    for path, table in zip(files, tables, strict=True):
        _refuse_other_columns(path, table.schema_arrow, wanted)
    total = sum(table.metadata.num_rows for table in tables)
    refuse_more_than_memory(total * decoder.size, ", ".join(map(str, files[:3])))
    images = np.empty((total, *decoder.shape), np.uint8)
    labels, names, start = list[Any](), list[str | None](), 0
    with ThreadPoolExecutor(min(32, cores())) as pool:
        for path, table in zip(files, tables, strict=True):
            row = 0
            for piece in _pieces(path, table, wanted):
                entries = piece.column(column).to_pylist()
                sources = [
                    (entry, f"{path}: row {row + place} of {column}")
                    for place, entry in enumerate(entries)
                ]
                stop = start + len(entries)
                for place, pixels in enumerate(
                    pool.map(lambda source: _decode(decoder, *source), sources)
                ):
                    images[start + place] = pixels
                names += [each.get("path") if isinstance(each, dict) else None for each in entries]
                labels += [] if label is None else piece.column(label).to_pylist()
                start, row = stop, row + len(entries)
    called = np.array(names, dtype=str) if names and all(names) else None
    return torch.from_numpy(images), np.array(labels) if labels else None, called


def _refuse_other_columns(path: Path, schema: Any, wanted: Sequence[str]) -> None:
    """Refuse a file without the columns that another of its dataset has, or with nested labels."""
    from pyarrow import types

    image = wanted[0]
    lacking = [name for name in wanted if schema.names.count(name) != 1]
    if lacking or not holds_images(schema.field(image).type):
        raise DataError(
            f"{path} has no column {lacking[0]}, or several"
            if lacking
            else f"{path}: its column {image} holds no encoded images, as in other files it does"
        )
    for name in wanted[1:]:
        if types.is_nested(of := schema.field(name).type):
            raise DataError(
                f"{path}: its column {name} holds {of}; expected labels that are whole numbers or "
                "texts. Name another column with dataset.label"
            )


def _pieces(path: Path, table: Any, columns: Sequence[str]) -> Iterator[Any]:
    import pyarrow

    try:
        yield from table.iter_batches(batch_size=_ROWS, columns=list(columns))
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}") from error


def _decode(decoder: Decoder, entry: Any, named: str) -> NDArray[np.uint8]:
    held = entry.get("bytes") if isinstance(entry, dict) else entry
    if not held:
        raise DataError(f"{named} holds no bytes of an image; embed the images in the file")
    return decoder.decode(io.BytesIO(held), named)
