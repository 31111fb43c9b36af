"""Trainings that stop at a chosen step."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest

from vae_run.training.loop import Loop

if TYPE_CHECKING:
    pass


TAKE = Loop.take


SMALL_RUN = ("device=cpu", "network.widths=[16]", "evaluation.figures=[]")


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int | None) -> None:
    """Let SIGTERM arrive during that step."""

    def taken(loop: Any, record: Any) -> None:
        TAKE(loop, record)
        if record.step == step:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Loop, "take", taken)
