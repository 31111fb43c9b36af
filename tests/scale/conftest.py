"""What the tests of clusters share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import Sweep, end


@pytest.fixture(scope="session")
def python_environment(python_environment: dict[str, str]) -> dict[str, str]:
    """The same, in which the metric `denormal_numbers.shares` is found."""
    tests = str(Path(__file__).parents[1])
    path = os.pathsep.join(filter(None, (tests, python_environment.get("PYTHONPATH"))))
    return {**python_environment, "PYTHONPATH": path}


@pytest.fixture
def sweep(tmp_path: Path, python_environment: dict[str, str]) -> Iterator[Sweep]:
    environment = {**python_environment, "OMP_NUM_THREADS": "1"}
    made = Sweep(tmp_path, environment, "trainer.checkpoint_seconds=0.5")
    yield made
    for process in made.started:
        end(process.pid)
        process.communicate()
