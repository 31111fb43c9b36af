"""The notebook of the documentation, executed as a reader would, and Ctrl-C in a kernel."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"
LARGEST = 300_000
"""Bytes of the notebook with its outputs."""


@cache
def tool() -> Any:
    """docs/notebook.py."""
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    spec = importlib.util.spec_from_file_location("docs_notebook", DOCS / "notebook.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def committed() -> Any:
    nbformat = pytest.importorskip("nbformat")
    return nbformat.read(DOCS / "notebook.ipynb", as_version=4)


def code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def said(cell: Any) -> str:
    """Everything that a cell put out, as text."""
    parts = [out.get("text", "") + str(out.get("data", "")) for out in cell.outputs]
    return "\n".join(parts)


def holds_what_it_tells(notebook: Any) -> None:
    """Pictures and tables are in the outputs, and nothing went wrong."""
    cells = code(notebook)
    kinds = {out.output_type for cell in cells for out in cell.outputs}
    assert "error" not in kinds
    assert not [out for cell in cells for out in cell.outputs if out.get("name") == "stderr"]
    by_start = {cell.source.split("\n")[-1]: said(cell) for cell in cells}
    for name in ("reconstructions", "codes"):
        assert "data:image/png;base64," in by_start[f'figures["{name}"]'], name
    assert "<table>" in by_start["run"]
    assert "elbo" in by_start["run"]
    assert "'interrupted'" in by_start["long.status"]
    assert "Run.resume() goes on" in by_start["long.status"]
    (resumed,) = [text for last, text in by_start.items() if last.startswith("long.resume")]
    assert "'completed'" in resumed
    (swept,) = [text for last, text in by_start.items() if "sweep.table" in last]
    assert swept.count("<td>completed</td>") == 4
    assert "<table>" in by_start["vae_run.compare(sweep.runs)"]
    assert "encoder.onnx" in cells[-2].source + said(cells[-2])
    assert "('x', ['batch', 1, 8, 8])" in said(cells[-1])


def test_the_notebook_that_readers_see_is_whole_and_small() -> None:
    notebook = committed()
    holds_what_it_tells(notebook)
    text = (DOCS / "notebook.ipynb").read_text(encoding="utf-8")
    assert len(text) < LARGEST
    assert "/tmp" not in text
    assert [cell.execution_count for cell in code(notebook)] == [
        place + 1 for place in range(len(code(notebook)))
    ]


@pytest.mark.scale
def test_the_notebook_is_executed_whole(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    holds_what_it_tells(tool().executed(tmp_path))
    assert (tmp_path / "encoder.onnx").is_file()


@pytest.mark.scale
def test_the_same_as_a_script_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    lines = ["import subprocess"]
    for line in "\n".join(cell.source for cell in code(committed())).splitlines():
        shell = re.fullmatch(r"!(.*)", line)
        lines.append(
            f"subprocess.run(f'''{shell[1]}''', shell=True, check=True)" if shell else line
        )
    quick = "\n".join(lines).replace('"trainer.epochs": 30', '"trainer.epochs": 2')
    quick = quick.replace('"seed": range(2)', '"seed": range(1)').replace(": 10,", ": 1,")
    (tmp_path / "script.py").write_text(quick, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", "script.py"],
        cwd=tmp_path,
        env=tool().environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert (tmp_path / "encoder.onnx").is_file()


FIT = """
import os, numpy as np, vae_run
assert "inline" in os.environ["MPLBACKEND"]
images = np.random.default_rng(0).integers(0, 256, (400, 4, 5), dtype=np.uint8)
keys = {"device": "cpu", "network.widths": [8], "trainer.epochs": 3_000}
run = vae_run.fit(images, directory="run", **keys)
"""
REST = """
print("status", run.status)
until = int(run.history[-1]["epoch"]) + 2
print("resumed", run.resume(quiet=True, **{"trainer.epochs": until}).status)
!vae-run model=ae device=cpu network.widths=[8] trainer.epochs=1 hydra.run.dir=shell
print("drawn", os.path.isfile("shell/figures/reconstructions.png"))
"""


@pytest.mark.scale
def test_an_interrupted_kernel_has_a_run_that_resumes(tmp_path: Path) -> None:
    tool()
    manager_module = pytest.importorskip("jupyter_client.manager")
    manager, client = manager_module.start_new_kernel(
        cwd=str(tmp_path), env=tool().environment(), kernel_name="python3"
    )
    printed = list[str]()

    def heard(message: Any) -> None:
        content = message["content"]
        printed.append(content.get("text", "") + "\n".join(content.get("traceback", [])))

    try:
        asked = client.execute(FIT)
        history = tmp_path / "run" / "history.csv"
        deadline = time.monotonic() + 120
        while not history.is_file() or history.read_text().count("\n") < 3:
            assert time.monotonic() < deadline, "the training did not begin"
            time.sleep(0.1)
        manager.interrupt_kernel()
        reply = client.get_shell_msg(timeout=120)
        while reply["parent_header"]["msg_id"] != asked:  # answers to what was asked before
            reply = client.get_shell_msg(timeout=120)
        assert reply["content"]["status"] == "ok", reply
        client.execute_interactive(REST, timeout=120, output_hook=heard)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    text = "".join(printed)
    assert "status interrupted" in text
    assert "resumed completed" in text
    assert "drawn True" in text, text
