"""What the tests of clusters share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from clusters import Sweep, end


@pytest.fixture
def sweep(tmp_path: Path, python_environment: dict[str, str]) -> Iterator[Sweep]:
    made = Sweep(tmp_path, {**python_environment, "OMP_NUM_THREADS": "1"})
    yield made
    for process in made.started:
        end(process.pid)
        process.communicate()
