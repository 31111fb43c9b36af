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


@pytest.mark.parametrize("compiler", [True, False])
def test_the_log_has_what_auto_decides_and_why(
    compiler: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(compile, "has_compiler", lambda: compiler)
    monkeypatch.setattr(compile.log, "info", lambda text, *what, **_: told.append(text % what))
    for steps in (4000, 400_000):
        assert chosen("auto", steps=steps, device=CPU) is (compiler and steps > 4000)
    few, many = (
        f"{steps:,} steps gain about {steps * GAIN:.0f} s, and compiling takes about {COLD:.0f} s"
        for steps in (4000, 400_000)
    )
    assert told == [
        f"trainer.compile=auto: not compiled; {few}",
        f"trainer.compile=auto: compiled; {many}"
        if compiler
        else "trainer.compile=auto: not compiled; there is no C++ compiler here",
    ]


def test_without_a_compiler_training_goes_on_in_one_line(
    monkeypatch: Any, tmp_path: Any, vae_run: Any
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    small = ("device=cpu", "network.widths=[8]", "trainer.epochs=1", "evaluation.figures=[]")
    finished = vae_run(*small, "trainer.compile=true", f"hydra.run.dir={tmp_path / 'run'}")
    assert finished.code == 0, finished.said
    assert finished.said.count("trainer.compile: there is no C++ compiler here") == 1
