"""Files in their one form: PNG, CSV, JSON, and the path that people are shown."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vae_run.plots import write_pictures
from vae_run.system.files import csv_text, write_csv, write_json
from vae_run.system.formatting import short_path


def test_json_has_no_number_that_is_not_finite(tmp_path: Path) -> None:
    content = {"a": 1.5, "b": math.nan, "c": {"d": -math.inf, "e": [1, math.inf, None]}, "f": "NaN"}
    write_json(tmp_path / "x.json", content)
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    refused: list[str] = []
    assert json.loads(text, parse_constant=refused.append) == {
        "a": 1.5,
        "c": {"e": [1, None, None]},
        "f": "NaN",
    }
    assert refused == []
    assert text.startswith('{\n  "a": 1.5,')
    assert content["b"] is not None, "what was given is left as it is"
    assert "b" in content


def test_a_csv_file_has_every_column_that_a_row_has(tmp_path: Path) -> None:
    rows = [{"a": 1, "b": "x,y"}, {"c": 0.1, "a": 2}]
    write_csv(tmp_path / "x.csv", rows)
    assert (tmp_path / "x.csv").read_text(encoding="utf-8") == 'a,b,c\n1,"x,y",\n2,,0.1\n'
    assert csv_text(rows[:1], ["b", "a"], header=False) == '"x,y",1\n'


def test_pictures_are_exact(tmp_path: Path) -> None:
    picture = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    write_pictures(tmp_path / "new" / "figures", {"x": picture})
    with Image.open(tmp_path / "new" / "figures" / "x.png") as read:
        assert np.array_equal(np.asarray(read), picture)


def test_a_path_below_the_working_directory_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert short_path(tmp_path / "a" / "b") == Path("a/b")
    assert short_path(Path("a")) == Path("a")
    assert short_path(tmp_path.parent) == tmp_path.parent
