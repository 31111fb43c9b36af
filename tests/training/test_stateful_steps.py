"""Parts that a program would get wrong: each is told in one line, and trained eagerly."""

from __future__ import annotations

import copy
import json
import os
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from fitting import BATCH, fitting
from parts import experiment
from torch import Tensor, nn

from vae_run.runs.run_directory import RunDirectory
from vae_run.system.signals import StopRequests
from vae_run.tracking.tracker import NoTracker
from vae_run.training import compiled_steps, loop, program
from vae_run.training.compiled_steps import CompiledSteps
from vae_run.training.inductor import FOLDER


class Part(nn.Module):
    """A layer that returns its input."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.count()
        return x

    def count(self) -> None:
        """Change something."""


class InPlace(Part):
    """Changes a buffer in place; computes something at the first call, and keeps it."""

    seen: Tensor
    kept: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.kept is None:
            self.kept = torch.full((), 2.0)
        self.seen += 1
        return x * self.kept


class Assigning(Part):
    seen: Tensor

    def count(self) -> None:
        self.seen = self.seen + 1


class Counting(Part):
    def count(self) -> None:
        self.calls += 1


class Growing(Part):
    """Changes a tensor that is no buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.plain = torch.ones(())

    def forward(self, x: Tensor) -> Tensor:
        self.plain.add_(1)
        return x * self.plain


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Warnings; traces are interpreted, not compiled."""
    lines: list[str] = []
    monkeypatch.setattr(program, "inductor", lambda graph, _: graph)

    def warning(text: str, *what: Any) -> None:
        if text.startswith("trainer.compile"):
            lines.append(text % what)

    monkeypatch.setattr(compiled_steps.log, "warning", warning)
    program.forget()
    return lines


def stepped(part: Part, through: Any = CompiledSteps) -> tuple[Part, list[float]]:
    made = experiment()
    made.model.encoder.append(part)
    records = islice(fitting(made, through=through), 3)
    return part, [float(one.row()[0, 0]) for one in records]


def test_a_buffer_that_is_changed_in_place_and_what_is_kept_are_compiled(told: Any) -> None:
    part, _ = stepped(InPlace())
    assert float(part.seen) == 3
    assert not told


def test_a_buffer_that_is_assigned_is_told_and_counts_on(told: list[str]) -> None:
    part, _ = stepped(Assigning())
    assert float(part.seen) == 3
    (line,) = told
    assert "encoder.3.seen is assigned in a step, not changed in place; training goes on" in line


@pytest.mark.parametrize("part", [Counting(), Growing()], ids=["number", "tensor"])
def test_a_function_that_changes_itself_is_refused_as_it_was(part: Part, told: Any) -> None:
    with pytest.raises(TypeError, match="attributes of the model or objective"):
        program.of(part, torch.ones(2))
    assert part.calls == 0


def test_an_objective_that_counts_its_calls_is_not_compiled(told: list[str]) -> None:
    class Annealed(type(experiment().objective)):  # type: ignore[misc]
        calls = 0

        def __call__(self, model: Any, batch: Any, epoch: Any) -> Any:
            self.calls += 1
            return super().__call__(model, batch, epoch)

    objective = Annealed()
    next(fitting(experiment(), objective=objective, through=CompiledSteps))
    assert "attributes of the model or objective" in told[0]
    assert objective.calls == 1


def test_a_program_with_other_numbers_is_not_used(
    told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(graph: Any, _: Any) -> Any:
        return lambda *given: [2 * each for each in graph(*given)]

    expected = stepped(Part(), lambda eager: eager)[1]
    monkeypatch.setattr(program, "inductor", wrong)
    assert stepped(Part())[1] == pytest.approx(expected, rel=1e-5)
    assert told == [
        "trainer.compile: the compiled sums of a step differ from the eager ones; "
        "training goes on without."
    ]


def test_tracing_sets_no_environment_variable(told: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, str]] = []
    monkeypatch.delenv(FOLDER, raising=False)
    monkeypatch.setattr(program, "inductor", lambda graph, _: seen.append({**os.environ}) or graph)
    program.of(torch.tanh, torch.ones(2))
    assert FOLDER not in seen[0]


def test_classes_and_functions_of_one_name_are_told_apart(told: Any) -> None:
    x = torch.ones(2)

    def named(value: int) -> Any:
        space: dict[str, Any] = {"__name__": "cell"}
        text = (
            f"class Part:\n    def __call__(self, x): return x * {value}\nf = lambda x: x * {value}"
        )
        exec(text, space)
        return space

    first, second = named(2), named(3)
    for one in (first, second):
        value = 2.0 if one is first else 3.0
        assert program.of(one["Part"](), x)(x).tolist() == [value] * 2
        assert program.of(one["f"], x)(x).tolist() == [value] * 2
    assert program.signature([1, 2].count, x) != program.signature([1, 3].count, x)


def test_what_a_container_has_beside_its_content_tells_it() -> None:
    class Named(dict[str, int]):
        factor = 1

    class Slotted:
        __slots__ = ("__dict__", "value")

    one, other, x = Named(a=1), Named(a=1), torch.ones(2)
    other.factor = 2
    assert program.signature(one, x) != program.signature(other, x)
    assert program.signature(one, x) != program.signature({"a": 1}, x)
    slotted, again = Slotted(), Slotted()
    slotted.value, again.value = 1, 2
    assert program.signature(slotted, x) != program.signature(again, x)
    assert program.signature({"a": [1, (2, {3})]}, x) == program.signature({"a": [1, (2, {3})]}, x)


def test_a_tensor_without_strides_is_told_by_its_identity() -> None:
    sparse = torch.eye(2).to_sparse()
    layer = nn.Module()
    layer.register_buffer("adjacency", sparse)
    text = program.signature(layer, torch.ones(2))
    assert text == program.signature(layer, torch.ones(2))
    layer.adjacency = copy.deepcopy(sparse)
    assert text != program.signature(layer, torch.ones(2))


@pytest.mark.parametrize("fails", [False, True])
def test_a_run_records_whether_its_steps_were_compiled(
    fails: bool, told: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("vae_run.training.settings.chosen", lambda *_, **__: True)
    made = experiment("trainer.epochs=1", f"trainer.batch_size={BATCH}", "evaluation.figures=[]")
    if fails:
        made.model.encoder.append(Assigning())
    run = RunDirectory(tmp_path)
    run.write_environment(torch.device("cpu"), 1, "f" * 64)
    with StopRequests() as stop:
        made.settings.build("trainer").train(made, run, NoTracker(), stop, None)
    assert json.loads((tmp_path / "environment.json").read_text()).get("compiled", False) != fails
    assert torch.load(run.last, weights_only=True)["compiles"] != fails
    assert len(told) == fails
    again = loop.Loop(made.settings.build("trainer"), made, run, NoTracker())
    again.restore(torch.load(run.last, weights_only=True))
    assert again.compiles != fails


def test_without_a_whole_batch_there_is_nothing_to_compile(told: list[str]) -> None:
    next(fitting(experiment(n=BATCH - 1), through=CompiledSteps))
    assert "fewer training images than trainer.batch_size" in told[0]
