"""docs/architecture.md is true: the tree is this one, and a batch goes the way it describes."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import pytest
from test_architecture import ROOT, packages

if TYPE_CHECKING:
    from conftest import Run

PAGE = (Path(__file__).parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")


def listed() -> list[tuple[str, bool]]:
    """Dotted names of the tree below `src/vae_run`, in its order, and whether each is a package."""
    (tree,) = re.findall(r"^src/vae_run/\n(.*?)^src/hydra_plugins", PAGE, re.M | re.S)
    found: list[tuple[str, bool]] = []
    parent = ""
    for indent, name, ending in re.findall(r"^( +)(\w+)(/|\.py)", tree, re.M):
        if len(indent) == 2:
            parent = name
        found.append((name if len(indent) == 2 else f"{parent}.{name}", ending == "/"))
    return found


def test_the_tree_of_the_page_is_the_tree() -> None:
    here = {name for name in packages() if name.split(".")[0] != "plugins"}
    assert {name for name, package in listed() if package} == here
    assert {name for name, package in listed() if not package} == {"errors", "version"}


def test_packages_import_only_what_stands_above_them_in_the_page() -> None:
    from test_architecture import allowed

    order = [name for name, _ in listed() if "." not in name]
    for package in order[2:]:
        wrong = {name.split(".")[0] for name in allowed(package)} - {*order[: order.index(package)]}
        assert not wrong, f"{package} may import {wrong}, which the page lists below it"


def test_a_batch_goes_the_way_of_the_page(vae_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    # Otherwise the parts are first called for their arithmetic, from which threads follow.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    rows = re.findall(r"^\| `([\w.]+)` \| `([\w/]+\.py)` \|", PAGE, re.M)
    assert len(rows) > 15
    first: dict[tuple[str, str], int] = {}

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(str(ROOT)):
            file = Path(code.co_filename).relative_to(ROOT).as_posix()
            first.setdefault((code.co_qualname, file), len(first))

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        finished = vae_run(
            *("model=dae", "device=cpu", "network.widths=[8]", "trainer.epochs=1"),
            *("dataset.classes=[0,1]", "evaluation.figures=[reconstructions]"),
        )
    finally:
        sys.setprofile(before)
    assert finished.code == 0, finished.said
    missing = [row for row in rows if row not in first]
    assert not missing, f"never called: {missing}"
    places = [first[row] for row in rows]
    assert places == sorted(places), "the order of the first calls is another"
