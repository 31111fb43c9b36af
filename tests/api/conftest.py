"""Small data in memory, and a folder of each test's own."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

SMALL: dict[str, Any] = {
    "device": "cpu",
    "network.widths": [8],
    "trainer.epochs": 1,
    "quiet": True,
}
"""Keys that make a training of a few images take a fraction of a second."""


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _ctrl_c_is_heard() -> Iterator[None]:
    """As in a terminal: a job that a shell runs in the background ignores SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def small() -> dict[str, Any]:
    return dict(SMALL)


@pytest.fixture
def images() -> NDArray[np.uint8]:
    """60 grey images of 4 x 5 pixels."""
    return np.random.default_rng(0).integers(0, 256, (60, 4, 5), dtype=np.uint8)


@pytest.fixture
def labels() -> NDArray[np.str_]:
    return np.array(["ant", "bee", "cat"])[np.arange(60) % 3]
