"""Executes docs/notebook.ipynb anew and keeps its outputs in it: `python docs/notebook.py`.

Needs `nbclient` and `ipykernel` (extra `dev`) and what the notebook itself uses.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).with_name("notebook.ipynb")
FOLDER = "/home/me/digits"
"""What the outputs call the folder in which the notebook was executed."""


def environment() -> dict[str, str]:
    """That of a kernel: `vae-run` is the command beside this Python, and imports are the same."""
    paths = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    imports = [place for place in sys.path if place]
    return {**os.environ, "PATH": os.pathsep.join(paths), "PYTHONPATH": os.pathsep.join(imports)}


def executed(folder: Path) -> Any:
    """The notebook with the outputs that its cells have when they are executed in `folder`.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raises an error.
    """
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute(env=environment())
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times, which differ each time
    return notebook


def main() -> None:
    """Write the executed notebook, with the name of the folder replaced."""
    with tempfile.TemporaryDirectory() as folder:
        text = nbformat.writes(executed(Path(folder).resolve()))
    NOTEBOOK.write_text(text.replace(str(Path(folder).resolve()), FOLDER) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
