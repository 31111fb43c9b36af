"""Compiled training: when it is chosen, the same numbers, and a way on without a compiler."""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import Any

import pytest
import torch
from fitting import BATCH, fitting
from parts import composed, experiment

from vae_run.config.check import check
from vae_run.errors import ConfigError
from vae_run.training import compile
from vae_run.training.compile import LEAST_STEPS, Compiled, chosen

CPU = torch.device("cpu")


def test_auto_compiles_what_is_long_and_not_conditional(monkeypatch: Any) -> None:
    monkeypatch.setattr(compile, "has_compiler", lambda: True)
    how: dict[str, Any] = {"conditional": False, "device": CPU}
    assert chosen("auto", steps=LEAST_STEPS, **how)
    assert not chosen("auto", steps=LEAST_STEPS - 1, **how)
    assert not chosen("auto", steps=LEAST_STEPS, conditional=True, device=CPU)
    assert chosen(True, steps=1, **how)
    assert not chosen(False, steps=LEAST_STEPS, **how)


def test_without_a_compiler_training_goes_on_in_one_line(
    monkeypatch: Any, tmp_path: Any, vae_run: Any
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    small = ("device=cpu", "network.widths=[8]", "trainer.epochs=1", "evaluation.figures=[]")
    finished = vae_run(*small, "trainer.compile=true", f"hydra.run.dir={tmp_path / 'run'}")
    assert finished.code == 0, finished.said
    assert finished.said.count("trainer.compile: there is no C++ compiler here") == 1


def test_a_compiler_that_fails_is_told_once(monkeypatch: Any) -> None:
    made, told = experiment(), []
    objective = Compiled(made.objective, BATCH)

    def fails(*_: Any) -> Any:
        raise RuntimeError("no room left\nfor the rest")

    objective.compiled._compiled = fails
    monkeypatch.setattr(compile.log, "warning", lambda text, *what: told.append(text % what))
    records = list(islice(fitting(made, objective=objective), 3))
    assert all(torch.isfinite(r.terms["loss"]).all() for r in records)
    assert told == ["trainer.compile: no room left; training goes on without."]


def test_a_conditional_model_is_not_compiled() -> None:
    with pytest.raises(ConfigError, match=r"trainer\.compile: found true, but a conditional"):
        check(composed("trainer.compile=true", "condition=label"))


@pytest.mark.parametrize(
    "backend",
    [
        "aot_eager",
        pytest.param(
            "inductor",
            marks=[
                pytest.mark.faults,
                pytest.mark.skipif(not compile.has_compiler(), reason="needs a C++ compiler"),
            ],
        ),
    ],
)
def test_compiled_steps_are_the_plain_ones_up_to_rounding(backend: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    losses, made = [], experiment("objective.warmup_epochs=2")
    compiled = Compiled(made.objective, BATCH)
    for objective in (made.objective, compiled):
        made = experiment("objective.warmup_epochs=2")
        records = fitting(made, objective=objective)
        losses.append([r.terms["loss"].mean().item() for r in islice(records, 10)])
    assert compiled.compiled.works
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_a_warm_up_is_not_compiled_and_what_follows_is_compiled_once() -> None:
    made, epochs = experiment("objective.warmup_epochs=2", "objective.beta=3"), []
    compiled = Compiled(made.objective, BATCH)

    def remembered(model: Any, batch: Any, epoch: float) -> Any:
        epochs.append(epoch)
        return made.objective(model, batch, epoch)

    compiled.compiled._compiled = remembered
    losses = [r.terms["loss"].mean().item() for r in islice(fitting(made, objective=compiled), 11)]
    made = experiment("objective.warmup_epochs=2", "objective.beta=3")
    assert losses == [r.terms["loss"].mean().item() for r in islice(fitting(made), 11)]
    assert epochs == [2.0] * 4, "of 11 steps, 6 warm up and one batch of the rest is smaller"
