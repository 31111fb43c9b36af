"""Rows of a table in a picture: their names and what stands below them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from vae_run.plots import rows
from vae_run.plots.grid import Grid


@pytest.mark.parametrize(("name", "shown"), [("c{}", 24), ("customer {} of Bristol", 8)])
def test_as_many_rows_as_names_have_room_for(
    name: str, shown: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Grid] = []
    draw: Any = Grid.draw
    monkeypatch.setattr(Grid, "draw", lambda grid: drawn.append(grid) or draw(grid))
    names = [name.format(place) for place in range(30)]
    scores = [f"{place}.5" for place in range(30)]
    rows({"x": torch.zeros(30, 2)}, ["a", "b"], [False, False], "Rows", "Of 30", names, scores)
    count = len(drawn[0].column_names)
    assert abs(count - shown) <= 2, "fonts differ a little between machines"
    assert drawn[0].column_names == names[:count]
    assert drawn[0].footer == scores[:count]
    assert drawn[0].cells.shape[:2] == (2, count)
    assert f"The first {count} of 30 rows" in drawn[0].notes[0]
