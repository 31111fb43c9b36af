"""`history.csv` as others read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from vae_run.errors import CheckpointError
from vae_run.tracking.history import read_history


def test_a_line_that_is_being_written_is_no_row_yet(tmp_path: Path) -> None:
    file = tmp_path / "history.csv"
    file.write_text("epoch,step,val/elbo\n1,11,-33.25\n2,22,\n3,33,-2")  # it will be -25.5
    whole = [{"epoch": 1, "step": 11, "val/elbo": -33.25}, {"epoch": 2, "step": 22}]
    assert read_history(file, growing=True) == whole
    assert read_history(file) == [*whole, {"epoch": 3, "step": 33, "val/elbo": -2}]


def test_what_is_no_table_of_numbers_is_named(tmp_path: Path) -> None:
    file = tmp_path / "history.csv"
    with pytest.raises(CheckpointError, match=r"history\.csv: is no table"):
        read_history(file)
    file.write_text("epoch,val/elbo\n1,much\n")
    with pytest.raises(CheckpointError, match="much"):
        read_history(file, growing=True)
