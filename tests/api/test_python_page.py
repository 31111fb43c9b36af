"""The blocks of docs/python.md run, one after the other, as a reader would type them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "python.md"


@pytest.mark.scale
@pytest.mark.filterwarnings("error")
def test_the_blocks_of_the_page_run() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert len(blocks) >= 8
    scope: dict[str, object] = {"__name__": "page"}
    exec(compile("\n".join(blocks), str(PAGE), "exec"), scope)
    assert len(scope["sweep"].runs) == 2  # type: ignore[attr-defined]
