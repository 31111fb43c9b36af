"""What shows itself in a notebook: tables, metrics, pictures and pages."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterator, Mapping, Sequence
from os import fspath
from pathlib import Path
from typing import Any

MOST_ROWS = 60
"""Rows of a table that a notebook shows; in the middle of longer ones some are left out."""
_TYPES = {".png": "image/png", ".svg": "image/svg+xml"}


class Table(list[dict[str, Any]]):
    """Rows, each a mapping of columns to values; a notebook shows them as a table."""

    @property
    def columns(self) -> list[str]:
        """The names of all columns, in the order in which they first appear."""
        return list(dict.fromkeys(name for row in self for name in row))

    def column(self, name: str) -> list[Any]:
        """The values of the column `name`; None in rows that lack it."""
        return [row.get(name) for row in self]

    def to_pandas(self) -> Any:
        """The table as a `pandas.DataFrame`, where pandas is installed."""
        from pandas import DataFrame

        return DataFrame(list(self), columns=self.columns)

    def __repr__(self) -> str:
        names = self.columns
        cells = [names, *([_cell(row.get(name, "")) for name in names] for row in self)]
        widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
        lines = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) for line in cells]
        return "\n".join(line.rstrip() for line in lines)

    def _repr_html_(self) -> str:
        names, rows = self.columns, list(self)
        half = MOST_ROWS // 2
        shown = rows if len(rows) <= MOST_ROWS else [*rows[:half], *rows[-half:]]
        lines = [
            "".join(f"<td>{html.escape(_cell(r.get(n, '')))}</td>" for n in names) for r in shown
        ]
        if len(shown) < len(rows):
            lines.insert(half, f"<td>... {len(rows) - len(shown):,} more rows</td>")
        head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
        body = "".join(f"<tr>{line}</tr>" for line in lines)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


class Metrics(dict[str, dict[str, float]]):
    """{split: {metric: value}}; a notebook shows the splits side by side.

    Attributes:
        note: what is shown where there are none.
    """

    note = ""

    def table(self) -> Table:
        """A row for each metric, a column for each split."""
        names = dict.fromkeys(name for values in self.values() for name in values)
        return Table(
            {"metric": name, **{split: of[name] for split, of in self.items() if name in of}}
            for name in names
        )

    def __repr__(self) -> str:
        return repr(self.table()) if self else self.note

    def _repr_html_(self) -> str:
        return self.table()._repr_html_() if self else html.escape(self.note)


class _File:
    """A file of a run.

    Attributes:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return fspath(self.path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"


class Picture(_File):
    """A picture in a file; a notebook shows it."""

    def _repr_html_(self) -> str:
        return _shown(self.path)


class Figures(Mapping[str, Picture]):
    """Pictures by name; a notebook shows all of them."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = {file.stem: file for file in files}

    def __getitem__(self, name: str) -> Picture:
        return Picture(self._files[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def __repr__(self) -> str:
        return f"Figures({', '.join(self)})"

    def _repr_html_(self) -> str:
        return "".join(
            f"<figure><figcaption>{html.escape(name.replace('_', ' '))}</figcaption>"
            f"{_shown(file)}</figure>"
            for name, file in self._files.items()
        )


class Page(_File):
    """An HTML page in a file; a notebook shows it in a frame, in which no script can run."""

    def _repr_html_(self) -> str:
        page = html.escape(self.path.read_text(encoding="utf-8"), quote=True)
        return (
            f'<p>{html.escape(str(self.path))}</p><iframe sandbox srcdoc="{page}" '
            'style="width: 100%; height: 40rem; border: 1px solid #c6ccd4"></iframe>'
        )


def pictures_in(folder: Path) -> Figures:
    """The pictures that lie in `folder`."""
    files = sorted(file for file in folder.glob("*") if file.suffix in (*_TYPES, ".pdf"))
    return Figures(files)


def _shown(file: Path) -> str:
    """The picture in `file` as HTML that holds it, or a link where a browser cannot draw it."""
    name = html.escape(file.stem)
    if file.suffix not in _TYPES:
        return f'<a href="{html.escape(str(file))}">{name}</a>'
    data = base64.b64encode(file.read_bytes()).decode("ascii")
    return f'<img alt="{name}" src="data:{_TYPES[file.suffix]};base64,{data}">'


def _cell(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
