"""The files that tasks on a trained model write: what may be replaced, and tables of N rows."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from vae_run.errors import ConfigError
from vae_run.system.array_archive import MARK, is_marked, write_arrays
from vae_run.system.extras import installation
from vae_run.system.files import csv_text, json_text, write_atomically, write_json
from vae_run.system.places import keep, try_place

Columns = Mapping[str, NDArray[Any]]
"""Columns of a table by name: arrays [N], or [N, D], which are D columns in CSV and Parquet."""
TABLES = (".npz", ".csv", ".parquet")
"""Endings of the tables that `write_table` writes."""


def check_output(
    name: str,
    suffixes: tuple[str, ...],
    *,
    overwrite: bool = False,
    key: str = "output",
    inputs: Sequence[Path] = (),
) -> Path:
    """The path `name`, whose folder is created; it was tried whether it can be written.

    Args:
        name: as given; it may begin with `~`.
        suffixes: the endings that the task writes.
        overwrite: whether any file may be replaced.
        key: the name of the path in messages.
        inputs: the files that the task reads.

    Raises:
        ConfigError: the suffix is none of `suffixes`; or, without `overwrite`, there is a file that
            this program did not mark as its own, or that lies in a run, or that is an input.
        OSError: it cannot be written.
    """
    path = Path(name).expanduser()
    _refuse_ending(path, suffixes, f"{key}: ", name)
    if path.is_dir():
        raise ConfigError(f"{key}: {name} is a folder; name a file in it.")
    if path.exists() and not overwrite and (why := _why_kept(path, inputs)):
        raise ConfigError(
            f"{key}: {name} exists, and {why}. Give another name, or say overwrite=true."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    try_place(path)
    return path


def _refuse_ending(path: Path, suffixes: tuple[str, ...], where: str, name: str) -> None:
    if path.suffix.lower() not in suffixes:
        raise ConfigError(
            f"{where}found {name}, expected a name that ends in {' or '.join(suffixes)}."
        )
    if path.suffix.lower() == ".parquet" and find_spec("pyarrow") is None:
        raise ConfigError(
            f"{where}{name} needs the package pyarrow, which is not installed: "
            f"{installation('table')}. Or name a .csv file."
        )


def _why_kept(path: Path, inputs: Sequence[Path]) -> str:
    """Why the file at `path` may not be replaced; empty if it may."""
    if any(each.exists() and each.samefile(path) for each in inputs):
        return "it is the input"
    if any((folder / ".hydra" / "config.yaml").is_file() for folder in path.resolve().parents):
        return "it is a file of a run"
    if not (path.is_file() and is_marked(path)):
        return "it does not say that vae-run wrote it"
    return ""


def write_table(path: Path, columns: Columns) -> None:
    """Write columns of N rows each as `.npz`, `.csv` or `.parquet`, by the ending of `path`.

    Raises:
        OSError: it cannot be written. The table is then kept elsewhere (`places.keep`).
    """
    keep(path, lambda place: _write_table(place, columns), lambda: _csv(columns))


def _csv(columns: Columns) -> str:
    flat = flattened(columns)
    rows = (dict(zip(flat, values, strict=True)) for values in zip(*flat.values(), strict=True))
    return csv_text(rows, list(flat))


def _write_table(path: Path, columns: Columns) -> None:
    suffix = path.suffix.lower()
    if suffix == ".npz":
        write_arrays(path, columns)
    elif suffix == ".csv":
        write_atomically(path, _csv(columns).encode())
    else:
        _write_parquet(path, flattened(columns))


def write_rows(path: Path, about: Mapping[str, Any], columns: Columns) -> None:
    """Write JSON: the entries of `about`, and `images`, a list with a mapping for each row."""
    flat = {name: values.tolist() for name, values in flattened(columns).items()}
    rows = [dict(zip(flat, each, strict=True)) for each in zip(*flat.values(), strict=True)]
    content = {"about": MARK, **about, "images": rows}
    keep(path, lambda place: write_json(place, content), lambda: json_text(content, indent=2))


def flattened(columns: Columns) -> dict[str, NDArray[Any]]:
    """Every column of two dimensions as NAME_0, NAME_1, ..."""
    flat: dict[str, NDArray[Any]] = {}
    for name, values in columns.items():
        if values.ndim == 1:
            flat[name] = values
        else:
            wide = values.reshape(len(values), -1)
            flat |= {f"{name}_{place}": wide[:, place] for place in range(wide.shape[1])}
    return flat


def _write_parquet(path: Path, flat: Columns) -> None:
    import pyarrow as arrow
    from pyarrow import parquet

    table = arrow.table({name: arrow.array(values) for name, values in flat.items()})
    buffer = io.BytesIO()
    parquet.write_table(table.replace_schema_metadata({"about": MARK}), buffer)
    write_atomically(path, buffer.getvalue())
