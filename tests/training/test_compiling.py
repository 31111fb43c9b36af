"""Compiled training: when it is chosen, the same numbers, and a way on without a compiler."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from vae_run.training import compile
from vae_run.training.compile import COLD, GAIN, WARM, chosen

CPU = torch.device("cpu")


def test_auto_compiles_where_steps_gain_more_than_a_program_costs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compile, "has_compiler", lambda: True)
    cold = round(COLD / GAIN)
    assert chosen("auto", steps=cold + 100, device=CPU)
    assert not chosen("auto", steps=cold - 100, device=CPU)
    assert not chosen("auto", steps=10**9, device=torch.device("mps"))
    monkeypatch.setattr(compile, "jobs_alike", lambda: 16)
    of_16 = round((COLD + 15 * WARM) / GAIN / 16)
    assert chosen("auto", steps=of_16 + 100, device=CPU)
    assert not chosen("auto", steps=of_16 - 100, device=CPU)
    assert chosen(True, steps=1, device=CPU)
    assert not chosen(False, steps=10**9, device=CPU)


def test_the_log_shows_the_arithmetic_of_auto(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []
    monkeypatch.setattr(compile.log, "info", lambda text, *what, **_: told.append(text % what))
    chosen("auto", steps=4000, device=CPU)
    (line,) = told
    assert line == (
        f"trainer.compile=auto: not compiled; 4,000 steps gain about {4000 * GAIN:.0f} s, and "
        f"compiling takes about {COLD:.0f} s"
    )


def test_without_a_compiler_training_goes_on_in_one_line(
    monkeypatch: Any, tmp_path: Any, vae_run: Any
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    small = ("device=cpu", "network.widths=[8]", "trainer.epochs=1", "evaluation.figures=[]")
    finished = vae_run(*small, "trainer.compile=true", f"hydra.run.dir={tmp_path / 'run'}")
    assert finished.code == 0, finished.said
    assert finished.said.count("trainer.compile: there is no C++ compiler here") == 1
