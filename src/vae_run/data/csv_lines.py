"""Where the rows of a CSV file stand in it, for messages: lines counted from 1, as editors do."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from vae_run.system.nouns import counted


def records(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The line on which each record begins and its cells, header first; empty lines are none.

    A file that Python's reader cannot follow, as of a huge cell, ends early.
    """
    import pyarrow

    with pyarrow.input_stream(str(path)) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline="")
        reader, line = csv.reader(text, delimiter=delimiter), 1
        try:
            for cells in reader:
                if cells:
                    yield line, cells
                line = reader.line_num + 1
        except csv.Error:
            return


def row_of(path: Path, delimiter: str, row: int) -> tuple[int, dict[str, str]] | None:
    """The line and the cells, by column, of the `row`-th record after the header, from 0."""
    header: list[str] = []
    for place, (line, cells) in enumerate(records(path, delimiter), -1):
        if place == -1:
            header = cells
        elif place == row:
            return line, dict(zip(header, cells, strict=False))
    return None


def uneven(path: Path, delimiter: str) -> str:
    """Which rows have another number of cells than the header; "" where none has."""
    width, count, first = 0, 0, ""
    for line, cells in records(path, delimiter):
        width = width or len(cells)
        if len(cells) != width:
            count += 1
            cells_here = counted(len(cells), "cells")
            first = first or f"line {line:,} has {cells_here}, the header {width}"
    return first + (f"; {counted(count - 1, 'more rows')} differ too" if count > 1 else "")
