"""A step as one program: the eager numbers, traced once, and a way on where there is none."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import slow_compiler
import torch
from fitting import BATCH, fitting
from parts import experiment
from torch.utils import _pytree as pytree

from vae_run.training import compiled_steps, program
from vae_run.training.compile import has_compiler
from vae_run.training.compiled_steps import CompiledSteps, held_by, whole_step
from vae_run.training.optimizers import SGD, AdamW
from vae_run.training.step import EagerSteps
from vae_run.training.updates import groups_of

STEPS = 8


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[torch.fx.GraphModule]:
    """Every graph that was traced; it is interpreted, not compiled."""
    graphs: list[torch.fx.GraphModule] = []

    def interpreted(graph: torch.fx.GraphModule, _: Any) -> Any:
        graphs.append(graph)
        return graph

    monkeypatch.setattr(program, "inductor", interpreted)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    program.forget()
    return graphs


def alike(*words: str, optimizer: Any = None, steps: int = STEPS, **how: Any) -> None:
    """Compare records, weights, buffers and the optimiser's state of eager and compiled steps."""
    found = []
    for through in (lambda eager: eager, CompiledSteps):
        made = experiment(*words)
        best = optimizer(made.model.parameters()) if optimizer else made.optimizer(made.model)
        given = {"batches": made.training_batches(BATCH), "optimizer": best} | how
        records = list(islice(fitting(made, through=through, **given), steps))
        states = [t for p in best.state.values() for t in p.values()]
        told = [torch.cat([r.row()[0], r.grad_norm[None]]) for r in records]
        found.append((torch.stack(told), [*made.model.state_dict().values(), *states]))
    (rows, tensors), (others, values) = found
    torch.testing.assert_close(others, rows, rtol=2e-4, atol=1e-5)
    for tensor, value in zip(tensors, values, strict=True):
        torch.testing.assert_close(value, tensor, rtol=1e-3, atol=1e-4)


def test_a_program_takes_the_eager_steps_of_a_warm_up_and_is_traced_once(traced: Any) -> None:
    alike("objective.warmup_epochs=2", "objective.beta=3", "likelihood=gaussian")
    assert len(traced) == 1, "whatever the epoch"


FAMILIES = (
    *("aae", "beta_tc_vae", "contractive_ae", "dip_vae", "factor_vae", "iwae", "kl_autoencoder"),
    *("wae", "dae", "rae", "sparse_ae", "vae_gan", "vq_vae", "ladder_vae", "hyperspherical_vae"),
)
"""Presets of different objectives and posteriors."""


@pytest.mark.scale
@pytest.mark.parametrize(
    "words",
    [
        *((f"model={name}",) for name in FAMILIES),
        ("objective.warmup_epochs=1", "objective.cycle_epochs=1.5", "condition=label"),
        ("objective=capacity", "objective.warmup_epochs=2", "dataset.binarize=dynamic"),
        ("objective=free_bits", "corruption=masking", "precision=bfloat16"),
        ("model=vae_gan", "objective.critic_start=1.5"),
        ("objective=reweighted_wake_sleep",),
        ("objective.gradient=score_function",),
        ("model=vq_vae", "latent_dim=8", "posterior.codes=8", "posterior.revive=0.9"),
    ],
    ids=" ".join,
)
def test_every_objective_is_traced_once_and_takes_the_eager_steps(words: Any, traced: Any) -> None:
    alike(*words, "likelihood=gaussian", steps=6)
    assert len(traced) == 1, "whatever the epoch"


@pytest.mark.scale
@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: SGD(p, lr=1e-3, momentum=0.9, nesterov=True, weight_decay=0.1),
        lambda p: SGD(p, lr=1e-3, momentum=0.0),
        lambda p: AdamW(p, lr=1e-2, weight_decay=0.1),
    ],
    ids=["nesterov", "sgd", "adamw"],
)
def test_each_optimiser_has_its_formula(optimizer: Any, traced: Any) -> None:
    alike(optimizer=optimizer, clip_norm=0.5)
    assert len(traced) == 1


@pytest.mark.scale
def test_a_critic_is_compiled_by_an_optimiser_without_betas(traced: Any) -> None:
    """Also of a checkpoint that gives its group some."""
    alike("model=aae", "optimizer=sgd", "optimizer.lr=1e-3", steps=3)
    assert len(traced) == 1
    made = experiment("model=aae", "optimizer=sgd")
    optimizer = made.optimizer(made.model)
    optimizer.param_groups[1]["betas"] = (0.5, 0.9)
    assert "betas" not in groups_of(optimizer, made.model)[1].options


@pytest.mark.scale
def test_runs_that_differ_in_seed_rate_and_beta_share_a_program(traced: Any) -> None:
    for words in ("seed=1", "optimizer.lr=0.1"), ("objective.beta=4",):
        alike(*words, steps=2)
    assert len(traced) == 1
    alike("network.widths=[9]", steps=1)
    assert len(traced) == 2


def test_the_step_of_a_stack_is_that_of_each_of_its_runs(traced: Any) -> None:
    arguments, wholes = [], []
    for words in ((), ("seed=1",)):
        made = experiment("objective.warmup_epochs=2", "corruption=masking", *words)
        optimizer, batches = made.optimizer(made.model), made.training_batches(BATCH)
        index = batches.next_index()
        drawn = batches.draws(BATCH, made.splits.event_shape)
        given = {"index": index, "corrupting": drawn.corrupting, "noise": drawn.noise}
        given |= {"rate": torch.tensor(1e-2), "objective.beta": torch.tensor(2.0)}
        how: dict[str, Any] = {"clip_norm": 1.0, "precision": nullcontext()}
        eager = EagerSteps(made.model, made.objective, batches, optimizer, **how)
        whole = whole_step(eager)
        arguments.append((held_by(eager, whole.groups).tensors(), given))
        wholes.append((whole, made.splits.train.images))
    stack = pytree.tree_map(lambda *tensors: torch.stack(tensors), *arguments)
    epoch = {"epoch": torch.tensor(0.5)}
    # The images are shared: all take those of the first.
    together = (stack[0], stack[1] | epoch, wholes[0][1])
    found = program.compiled(replace(wholes[0][0], stacked=True), together)(together)
    for i, ((whole, _), (held, given)) in enumerate(zip(wholes, arguments, strict=True)):
        expected = whole((held, given | epoch, wholes[0][1]))
        for one, other in zip(
            pytree.tree_leaves((expected, held)),
            pytree.tree_leaves((found, stack[0])),
            strict=True,
        ):
            torch.testing.assert_close(other[i], one, rtol=1e-4, atol=1e-5)


def test_what_has_no_finite_loss_changes_nothing(traced: Any) -> None:
    made = experiment()
    steps = fitting(made, through=CompiledSteps)
    next(steps)
    before = {name: p.clone() for name, p in made.model.state_dict().items()}
    made.splits.train.images.fill_(torch.nan)
    assert next(steps).skipped == 1
    assert all(torch.equal(p, before[name]) for name, p in made.model.state_dict().items())


def test_an_objective_that_reads_the_epoch_is_trained_eagerly_from_the_same_batch(
    traced: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(compiled_steps.log, "warning", lambda text, *what: told.append(text % what))
    made, losses = experiment(), []
    own = type(made.objective)

    class Reading(own):  # type: ignore[misc, valid-type]
        def __call__(self, model: Any, batch: Any, epoch: Any) -> Any:
            return super().__call__(model, batch, 1.0 if epoch > 0.5 else 0.0)

    for through in (lambda eager: eager, CompiledSteps):
        made = experiment()
        records = fitting(made, objective=Reading(), through=through)
        losses.append([r.terms["loss"].mean().item() for r in islice(records, 5)])
    assert losses[0] == losses[1]
    assert len(told) == 1
    assert told[0].startswith("trainer.compile: ")
    assert told[0].endswith("; training goes on without.")
    assert not traced


@pytest.mark.parametrize("compiles", [True, False])
def test_the_time_of_compiling_is_told_whether_it_succeeds_or_not(
    compiles: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_compiler.install(monkeypatch, compiles=compiles)
    records = list(islice(fitting(experiment(), through=CompiledSteps), 3))
    assert [round(record.preparing, -3) for record in records] == [1000, 0, 0]


def test_parts_of_a_batch_are_trained_eagerly(traced: Any) -> None:
    records = fitting(experiment(), through=CompiledSteps, at_once=8, precision=nullcontext())
    assert next(records).skipped == 0
    assert not traced


@pytest.mark.scale
@pytest.mark.skipif(not has_compiler(), reason="needs a C++ compiler")
def test_a_compiled_run_that_is_continued_ends_with_the_same_bits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")
    program.forget()
    ends = []
    saved: dict[str, Any] = {}
    for first in (0, 4):  # of epochs of three steps, the last of which is eager
        made = experiment("objective.warmup_epochs=2")
        optimizer, batches = made.optimizer(made.model), made.training_batches(BATCH)
        if saved:
            program.forget()
            made.model.load_state_dict(saved["model"])
            optimizer.load_state_dict(saved["optimizer"])
            batches.load_state_dict(saved["batches"])
        given = {"batches": batches, "optimizer": optimizer, "step": first}
        records = fitting(made, through=CompiledSteps, **given)
        for step in range(first, 8):
            if step == 4:
                own = {"model": made.model, "optimizer": optimizer, "batches": batches}
                saved = copy.deepcopy({name: part.state_dict() for name, part in own.items()})
            next(records)
        ends.append(
            [*made.model.state_dict().values(), *optimizer.state_dict()["state"][0].values()]
        )
    for tensor, other in zip(*ends, strict=True):
        assert torch.equal(tensor, other)
    from torch._dynamo.utils import counters  # half a second, for this test alone

    hits = counters["aot_autograd"]["autograd_cache_hit"]
    assert hits + counters["inductor"]["fxgraph_cache_hit"] > 0, "the second is read from disk"
