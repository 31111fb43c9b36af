"""Compiled training: when it is chosen, the same numbers, and a way on without a compiler."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fitting import fitting
from parts import experiment

from vae_run.training import compile, program
from vae_run.training.compile import COLD, GAIN, WARM, chosen
from vae_run.training.compiled_steps import CompiledSteps, is_known

CPU = torch.device("cpu")


def test_auto_compiles_where_steps_gain_more_than_a_program_costs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(compile, "has_compiler", lambda: True)
    cold, warm = round(COLD / GAIN), round(WARM / GAIN)
    assert chosen("auto", steps=cold + 100, device=CPU)
    assert not chosen("auto", steps=cold - 100, device=CPU)
    assert chosen("auto", steps=warm + 100, device=CPU, known=True)
    assert not chosen("auto", steps=warm - 100, device=CPU, known=True)
    assert not chosen("auto", steps=10**9, device=torch.device("mps"))
    monkeypatch.setattr(compile, "_alike", 16)
    assert chosen("auto", steps=round((COLD + 15 * WARM) / GAIN / 16) + 100, device=CPU)
    assert chosen(True, steps=1, device=CPU)
    assert not chosen(False, steps=10**9, device=CPU)


def test_the_log_shows_the_arithmetic_of_auto(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []
    monkeypatch.setattr(compile.log, "info", lambda text, *what, **_: told.append(text % what))
    chosen("auto", steps=4000, device=CPU)
    (line,) = told
    assert line == (
        f"trainer.compile=auto: not compiled; 4,000 steps gain about {4000 * GAIN:.0f} s, and "
        f"compiling takes about {COLD:.0f} s"
    )


def test_a_program_that_was_compiled_before_is_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(program, "inductor", lambda graph, _: graph)
    made = experiment()
    parts = (made.objective, made.training_batches(32))
    assert not is_known(made.model, *parts)
    next(fitting(made, through=CompiledSteps))
    assert is_known(experiment("seed=1", "objective.beta=2").model, *parts)
    assert not is_known(experiment("network.widths=[9]").model, *parts)


def test_without_a_compiler_training_goes_on_in_one_line(
    monkeypatch: Any, tmp_path: Any, vae_run: Any
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    small = ("device=cpu", "network.widths=[8]", "trainer.epochs=1", "evaluation.figures=[]")
    finished = vae_run(*small, "trainer.compile=true", f"hydra.run.dir={tmp_path / 'run'}")
    assert finished.code == 0, finished.said
    assert finished.said.count("trainer.compile: there is no C++ compiler here") == 1
