"""A compiler that takes a thousand seconds of a clock that is moved on."""

from __future__ import annotations

import time
from typing import Any

import pytest

from vae_run.training import program

TAKES = 1000.0
"""Seconds."""


def install(monkeypatch: pytest.MonkeyPatch, *, compiles: bool) -> list[float]:
    """Have each program take `TAKES`, and fail unless it `compiles`; returns what was taken."""
    clock, taken = time.perf_counter, list[float]()

    def slow(whole: Any, _: Any) -> Any:
        taken.append(TAKES)
        if not compiles:
            raise RuntimeError("no room left")
        return whole

    monkeypatch.setattr(time, "perf_counter", lambda: clock() + sum(taken))
    monkeypatch.setattr(program, "of", slow)
    return taken
