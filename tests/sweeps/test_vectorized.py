"""Runs trained as one model against the same runs alone."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import slow_compiler
import torch
from omegaconf import OmegaConf
from parts import composed, options
from torch.distributions import Distribution

from vae_run.config.check import check
from vae_run.config.invocation import Call
from vae_run.config.schema import Settings
from vae_run.data.conditions import Conditions
from vae_run.errors import DivergedError, Interrupted
from vae_run.evaluation.evaluation import Evaluation
from vae_run.runs import checkpoint_file
from vae_run.runs.run_directory import RunDirectory
from vae_run.sweeps.vectorized import compiled_stack, memory, verification
from vae_run.sweeps.vectorized.grouping import batched, grouped, pieces, varying
from vae_run.sweeps.vectorized.stacked_model import Stack
from vae_run.sweeps.vectorized.training import train_together
from vae_run.sweeps.vectorized.verification import Disagreement, verified
from vae_run.system.signals import StopRequests
from vae_run.tasks import resume, train
from vae_run.tracking.tracker import NoTracker
from vae_run.training import program
from vae_run.training.experiment import assemble
from vae_run.training.loop import Loop

if TYPE_CHECKING:
    from conftest import Run

SMALL = ("latent_dim=2", "network.widths=[8]", "trainer.batch_size=32")
LAYERS = ("model=hierarchical_vae",)
NEEDED: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("objective", "reconstruction"): ("model=ae",),
    ("objective", "regularized"): ("model=ae",),
    ("objective", "sparse"): ("model=sparse_ae",),
    ("objective", "contractive"): ("model=contractive_ae",),
    ("posterior", "sparse"): ("model=sparse_ae",),
    ("posterior", "sigmoid"): ("model=ae",),
    ("posterior", "delta"): ("model=ae",),
    ("posterior", "von_mises_fisher"): ("model=hyperspherical_vae",),
    **dict.fromkeys((("posterior", "hierarchical"), ("prior", "hierarchical")), LAYERS),
    ("posterior", "ladder"): LAYERS,
    ("prior", "spherical"): ("model=hyperspherical_vae",),
    ("prior", "fitted_gaussian"): ("model=ae",),
    ("prior", "fitted_mixture"): ("model=ae",),
    ("prior", "fitted_flow"): ("model=ae",),
    ("posterior", "vector_quantized"): ("model=residual_vq", "posterior.codes=8"),
    ("posterior", "residual_vq"): ("model=residual_vq", "posterior.codes=8"),
    ("posterior", "fsq"): ("model=fsq", "posterior.levels=[8,5]"),
    ("prior", "fitted_codes"): ("model=residual_vq", "posterior.codes=8"),
    ("prior", "fitted_autoregressive"): ("model=residual_vq", "posterior.codes=8"),
    ("prior", "flow"): ("optimizer.lr=3e-4",),
    ("objective", "factor"): ("optimizer.lr=3e-4",),
    ("objective", "aae"): ("model=aae",),
    ("likelihood", "categorical"): ("optimizer.lr=3e-4",),
    ("likelihood", "logistic_mixture"): ("optimizer.lr=3e-4",),
}
"""What an option cannot be composed without, or is too steep for numbers to be compared with."""
RATES = (1e-3, 2e-3)
GROUPS = ("objective", "likelihood", "posterior", "prior")


def settings_of(*words: str) -> Settings:
    return check(composed(*SMALL, *words))


def loop_of(settings: Settings, place: Path) -> Loop:
    """What stands before the first step of a run in `place`."""
    place.mkdir(parents=True)
    trainer = settings.build("trainer")
    made = assemble(settings, torch.device("cpu"))
    loop = trainer.loop(made, RunDirectory(place), NoTracker())
    loop.ready()
    return loop


def losses_alone(loop: Loop, steps: int) -> torch.Tensor:
    found = []
    records = loop.records()
    for _ in range(steps):
        record = next(records)
        loop.progress.step = record.step
        found.append(record.terms["loss"].detach().mean())
    return torch.stack(found)


def losses_together(made: Stack, steps: int) -> torch.Tensor:
    """[N, steps]."""
    found = []
    for _ in range(steps):
        records = made.step()
        for loop, record in zip(made.loops, records, strict=True):
            loop.progress.step = record.step
        sums = torch.stack([record.terms["loss"].sum() for record in records])
        found.append(sums / records[0].size)
    return torch.stack(found, 1)


def assert_agree(place: Path, runs: Sequence[Settings], steps: int) -> None:
    """The last of `runs` loses, in each of a stack's first steps, what it loses alone."""
    assert len(grouped(runs).together[0]) == len(runs)
    loops = [loop_of(settings, place / f"together-{i}") for i, settings in enumerate(runs)]
    found = losses_together(verified(loops, varying(runs)), steps)
    assert (found[:, 0] - found[:, -1]).abs().min() > 1e-3, "they have learnt nothing"
    single = loop_of(runs[-1], place / "alone")
    torch.testing.assert_close(found[-1], losses_alone(single, steps), rtol=1e-4, atol=0)
    for own, expected in zip(
        loops[-1].experiment.model.parameters(), single.experiment.model.parameters(), strict=True
    ):
        torch.testing.assert_close(own, expected, rtol=1e-3, atol=1e-4)


def others(settings: Settings) -> list[str]:
    """Another value for each number of the objective that runs of a stack may differ in."""
    objective = settings.build("objective", train_size=1)
    names = batched(type(objective))
    return [f"objective.{name}={0.4 * getattr(objective, name) + 0.3}" for name in names]


@pytest.mark.parametrize(
    ("group", "option"), [(group, option) for group in GROUPS for option in options(group)]
)
@pytest.mark.scale
def test_runs_of_every_option_learn_together_as_alone(
    group: str, option: str, tmp_path: Path
) -> None:
    words = (*NEEDED.get((group, option), ()), f"{group}={option}")
    first = settings_of("optimizer.lr=1e-3", *words)
    runs = [first, settings_of("optimizer.lr=2e-3", *words, "seed=1", *others(first))]
    assert_agree(tmp_path, runs, steps=8)


@pytest.mark.parametrize("sparsity", ["batch_topk", "jumprelu"])
def test_thresholds_of_sparse_codes_learn_together_as_alone(sparsity: str, tmp_path: Path) -> None:
    words = (
        "model=sparse_ae",
        "latent_dim=40",
        "network.widths=[]",
        f"objective.sparsity={sparsity}",
    )
    assert_agree(tmp_path, [settings_of(*words), settings_of(*words, "seed=1")], steps=8)


@pytest.mark.parametrize(
    "runs",
    [
        # Rates and decays of their own, in each kind of optimiser.
        *(
            [
                [f"optimizer={name}", f"optimizer.lr={rate}", "optimizer.weight_decay=0.1"],
                [f"optimizer={name}", f"optimizer.lr={rate / 3}", "seed=1"],
            ]
            for name, rate in (("adam", 3e-3), ("adamw", 3e-3), ("sgd", 3e-4))
        ),
        [["optimizer=adamw", "seed=1"], ["optimizer=adamw", "seed=2"]],
        # What no stacked optimiser can: each run's own takes its step.
        [["optimizer.betas=[0.5,0.9]"], ["optimizer=sgd", "optimizer.lr=3e-4"]],
        [["trainer.clip_norm=1"], ["trainer.clip_norm=null", "seed=3"]],
        [["schedule=cosine"], ["schedule=multistep", "schedule.milestones=[1,2]"]],
        [["likelihood=gaussian", "likelihood.sigma=0.2"],
         ["likelihood=gaussian", "likelihood.sigma=0.5"]],
        [["likelihood=laplace", "likelihood.scale=0.2"],
         ["likelihood=laplace", "likelihood.scale=0.5"]],
        [["corruption=masking", "corruption.level=0.1"], ["corruption=gaussian"]],
        [["objective.warmup_epochs=2", "objective.cycle_epochs=3"],
         ["objective.warmup_epochs=2", "objective.cycle_epochs=3", "objective.beta=4"]],
        *(
            [[*words, "seed=1"], [*words, "seed=2", "optimizer.lr=2e-3"]]
            for words in (
                ["network=conv", "network.widths=[2,4]"],
                ["model=dae", "network=conv", "network.widths=[2,4]", "network.skip=true"],
                ["condition=label", "dataset.binarize=dynamic"],
                ["model=ae", "network.tied=true"],
                ["model=rae", "objective.regularizer=gradient_penalty"],
                ["likelihood=gaussian", "likelihood.sigma=optimal"],
                ["objective=iwae", "objective.gradient=doubly_reparameterized"],
            )
        ),
    ],
    ids=lambda runs: " | ".join(" ".join(words) for words in runs),
)  # fmt: skip
def test_runs_that_differ_in_numbers_learn_together_as_alone(
    runs: list[list[str]], tmp_path: Path
) -> None:
    assert_agree(tmp_path, [settings_of(*words) for words in runs], steps=10)


def test_bfloat16_agrees_as_far_as_it_goes(tmp_path: Path) -> None:
    runs = [settings_of("precision=bfloat16", f"seed={seed}") for seed in (0, 1)]
    loops = [loop_of(settings, tmp_path / f"{i}") for i, settings in enumerate(runs)]
    found = losses_together(verified(loops), 20)
    alone = losses_alone(loop_of(runs[1], tmp_path / "alone"), 20)
    torch.testing.assert_close(found[1], alone, rtol=1e-2, atol=0)


@pytest.mark.parametrize(
    "words",
    [
        ("objective.warmup_epochs=1", "schedule=cosine", "trainer.clip_norm=1"),
        pytest.param(
            ("optimizer=adamw", "optimizer.weight_decay=0.1", "corruption=masking", "model=dae"),
            marks=pytest.mark.scale,
        ),
    ],
    ids=lambda words: words[0],
)
def test_a_program_of_a_stack_is_made_once_and_takes_the_steps_that_a_run_takes_alone(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of tensors alone, as traced; inductor's part is tested where single runs are compiled."""
    made: list[int] = []
    monkeypatch.setattr(program, "inductor", lambda graph, leaves: made.append(1) or graph)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "programs"))
    program.forget()
    runs = [settings_of(*words, f"seed={i}", f"optimizer.lr={r}") for i, r in enumerate(RATES)]
    loops = [loop_of(settings, tmp_path / f"{i}") for i, settings in enumerate(runs)]
    for loop in loops:
        loop.compiles = True
    steps = 2 * loops[0].steps_per_epoch + 1  # with two smaller batches
    assert len(loops[0].batches.split) % loops[0].trainer.batch_size
    stack = verified(loops, varying(runs))
    found = losses_together(stack, steps)
    assert made == [1]
    assert stack._eager is None
    single = loop_of(runs[-1], tmp_path / "alone")
    torch.testing.assert_close(found[-1], losses_alone(single, steps), rtol=1e-4, atol=1e-4)
    for own, expected in zip(
        loops[-1].experiment.model.parameters(), single.experiment.model.parameters(), strict=True
    ):
        # By the norm: Adam divides a gradient of almost nothing by its size, rounding included.
        assert float((own - expected).detach().norm()) < 0.01 * float(expected.detach().norm())
        held, state = single.optimizer.state[expected], loops[-1].optimizer.state[own]
        far = (state["exp_avg"] - held["exp_avg"]).norm()
        assert float(far) < 0.01 * float(held["exp_avg"].norm())
        assert float(state["step"]) == float(held["step"]) == steps


def test_auto_counts_the_steps_of_the_longest_run_and_what_differs_is_not_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loops_of(name: str, *words: str) -> list[Loop]:
        each = (settings_of(f"seed={seed}", *words) for seed in (0, 1))
        return [loop_of(settings, tmp_path / f"{name}{i}") for i, settings in enumerate(each)]

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "programs"))
    asked: list[int] = []
    monkeypatch.setattr(
        "vae_run.training.settings.chosen",
        lambda choice, *, steps, device, **_: asked.append(steps) or False,
    )
    loops = [*loops_of("auto"), *loops_of("long", "trainer.steps=9999")]
    loops = [one.trainer.begin(one.experiment, one.run, one.tracker, None) for one in loops]
    assert asked == []
    assert "compiles" not in checkpoint_file.read(loops[0].run.last)
    assert not compiled_stack.pays(loops)
    assert asked == [9999]
    assert [loop.compiles for loop in loops] == [False] * 4
    loops[0].save()
    assert checkpoint_file.read(loops[0].run.last)["compiles"] is False
    apart = [*loops_of("a"), *loops_of("b", "trainer.clip_norm=1")]
    assert compiled_stack.obstacle(apart) == "they differ in trainer.clip_norm"
    decays = [*loops_of("c"), *loops_of("d", "optimizer.weight_decay=0.1")]
    assert "optimisers differ" in str(compiled_stack.obstacle(decays))


def test_a_stack_whose_compiler_fails_says_so_once_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def fails(*_):
        raise RuntimeError("no room left")

    runs = [settings_of(f"seed={seed}", "objective.warmup_epochs=0.05") for seed in (0, 1)]
    loops = [loop_of(settings, tmp_path / f"{i}") for i, settings in enumerate(runs)]
    for loop in loops:
        loop.compiles = True
    monkeypatch.setattr(program, "compiled", fails)
    monkeypatch.setattr(compiled_stack.log, "warning", lambda text, *what: told.append(text % what))
    found = losses_together(Stack(loops), 8)
    assert told == ["trainer.compile: no room left; training goes on without."]
    assert [loop.compiles for loop in loops] == [False, False]  # as it is when they are continued
    alone = losses_alone(loop_of(runs[1], tmp_path / "alone"), 8)
    torch.testing.assert_close(found[1], alone, rtol=1e-4, atol=0)


def spoil(loop: Loop, step: int) -> None:
    """Let the batch of `step` hold a NaN."""
    complete, drawn = loop.batches.completed, iter(range(1, 1000))

    def spoiled(index, target):
        batch = complete(index, target)
        if next(drawn) == step:
            batch.target.fill_(float("nan"))
        return batch

    loop.batches.completed = spoiled


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_step_that_one_run_skips_is_taken_by_the_others(tmp_path: Path, optimizer: str) -> None:
    words = ("trainer.skip_nonfinite=1", f"optimizer={optimizer}", "optimizer.lr=1e-3")
    runs = [settings_of(*words, f"seed={seed}") for seed in (0, 1)]
    loops = [loop_of(settings, tmp_path / f"{i}") for i, settings in enumerate(runs)]
    alone = [loop_of(settings, tmp_path / f"alone-{i}") for i, settings in enumerate(runs)]
    for skipping in (loops[0], alone[0]):
        spoil(skipping, 4)
    found = losses_together(Stack(loops), 12)
    assert found.isnan().nonzero().tolist() == [[0, 3]]
    for i in (0, 1):
        expected = losses_alone(alone[i], 12)
        torch.testing.assert_close(found[i], expected, rtol=1e-4, atol=0, equal_nan=True)
        same = zip(
            loops[i].optimizer.state.values(), alone[i].optimizer.state.values(), strict=True
        )
        for own, other in same:
            for name in other:
                torch.testing.assert_close(own[name], other[name], rtol=1e-3, atol=1e-6)


def test_what_cannot_be_batched_is_noticed_at_the_first_step(tmp_path: Path) -> None:
    runs = [settings_of("model=rae", "objective.regularizer=none", f"seed={i}") for i in (0, 1)]
    for settings in runs:
        settings.raw["network"]["spectral_norm"] = True
    runs = [check(settings.raw) for settings in runs]
    assert not grouped(runs).together
    loops = [loop_of(settings, tmp_path / f"{i}") for i, settings in enumerate(runs)]
    before = [p.clone() for p in loops[0].experiment.model.state_dict().values()]
    with pytest.raises(Disagreement, match=r"torch\.func"):
        verified(loops)
    for own, expected in zip(loops[0].experiment.model.state_dict().values(), before, strict=True):
        assert torch.equal(own, expected)


def spoil_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the losses of every stack, and their gradients, be off by a thousandth."""
    right = Stack._loss

    def wrong(self, *arguments):
        loss, terms = right(self, *arguments)
        return loss * 1.001, terms

    monkeypatch.setattr(Stack, "_loss", wrong)


def test_a_step_that_disagrees_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loops = [loop_of(settings_of(f"seed={i}"), tmp_path / f"{i}") for i in (0, 1)]
    spoil_losses(monkeypatch)
    with pytest.raises(Disagreement, match="off what a run has alone"):
        verified(loops)
    alone = loop_of(settings_of("seed=1"), tmp_path / "alone")
    found, expected = (loop.batches.next() for loop in (loops[1], alone))
    assert torch.equal(found.target, expected.target)
    assert torch.equal(found.noise, expected.noise)


def test_a_gradient_may_be_off_by_the_rounding_of_all_of_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The share FLOAT32 of the norm of a run's whole gradient, whatever its own norm is."""
    asked: list[tuple[str, torch.Tensor, torch.Tensor]] = []
    monkeypatch.setattr(
        verification, "_refuse_far", lambda name, _, own, most: asked.append((name, own, most))
    )
    verified([loop_of(settings_of(f"seed={i}"), tmp_path / f"{i}") for i in (0, 1)])
    names = {name for name, _, _ in asked if name.startswith("model.")}
    gradients = [(own, most) for name, own, most in asked if name in names]
    each = len(gradients) // 2
    for run in (gradients[:each], gradients[each:]):
        whole = torch.stack([own.norm() for own, _ in run]).norm()
        assert whole > 0
        for _, most in run:
            assert float(most) == pytest.approx(verification.FLOAT32 * float(whole), rel=1e-5)


# Whole runs


def call(place: Path, *words: str) -> Call:
    """A run that is to train in `place`, as the command line would hand it on."""
    config = composed(*SMALL, "evaluation.figures=[]", "trainer.log_every=4", *words)
    (place / ".hydra").mkdir(parents=True)
    OmegaConf.save(config, place / ".hydra" / "config.yaml")
    return Call(check(config), place, [], {})


def read(file: Path) -> dict:
    return json.loads(file.read_text(encoding="utf-8"))


def rows(run: Path) -> list[list[float]]:
    """Of `history.csv`, what does not tell the time."""
    lines = (run / "history.csv").read_text(encoding="utf-8").splitlines()
    kept = [i for i, name in enumerate(lines[0].split(",")) if name != "train_seconds"]
    return [[float(line.split(",")[i] or "nan") for i in kept] for line in lines[1:]]


def assert_same_run(run: Path, other: Path) -> None:
    torch.testing.assert_close(rows(run), rows(other), rtol=1e-3, atol=1e-5, equal_nan=True)
    found, expected = read(run / "metrics.json"), read(other / "metrics.json")
    for split in ("val", "test"):
        assert found[split] == pytest.approx(expected[split], rel=1e-3, abs=1e-5)
    for name in ("best", "last"):
        files = [folder / "checkpoints" / f"{name}.pt" for folder in (run, other)]
        sizes = [file.stat().st_size for file in files]
        assert sizes[0] == pytest.approx(sizes[1], rel=0.02), "it holds more than its own run"
        saved = [checkpoint_file.read(file) for file in files]
        assert saved[0]["epoch"] == saved[1]["epoch"]
        for key, tensor in saved[1]["model"].items():
            torch.testing.assert_close(saved[0]["model"][key], tensor, rtol=1e-3, atol=1e-4)


PLANS = {
    "plain": ("trainer.epochs=3",),
    "short": ("trainer.steps=50", "seed=1", "optimizer.lr=3e-3"),
    "diverging": ("trainer.epochs=3", "optimizer.lr=1e25"),
    "patient": ("trainer.epochs=9", "trainer.patience=1", "objective.beta=2", "optimizer.lr=0.05"),
}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each of `PLANS` trained by itself."""
    place = tmp_path_factory.mktemp("alone")
    for name, words in PLANS.items():
        try:
            train.main(call(place / name, *words))
        except DivergedError:
            assert name == "diverging"
    return place


@pytest.mark.scale
def test_runs_end_each_in_its_own_way_as_alone(
    alone: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "vae_run")  # as the command line sets it
    checked = Distribution._validate_args
    calls = [call(tmp_path / name, *words) for name, words in PLANS.items()]
    told: list[tuple[str, Exception | None]] = []
    errors = train_together(
        calls, ended=lambda call, error: told.append((call.directory.name, error))
    )
    assert [type(error) for error in errors] == [type(None), type(None), DivergedError, type(None)]
    assert told[0] == ("diverging", errors[2])
    assert sorted(name for name, _ in told) == sorted(PLANS)
    for name in PLANS:
        expected, found = (read(place / name / "status.json") for place in (alone, tmp_path))
        for key in ("state", "epoch", "step"):
            assert found.get(key) == expected.get(key), (name, key)
        assert found["message"].replace(str(tmp_path), str(alone)) == expected["message"]
        if name != "diverging":
            assert_same_run(tmp_path / name, alone / name)
        text = (tmp_path / name / "train.log").read_text(encoding="utf-8")
        assert text.count("cross-entropies") == 1, "a log has what its own run says"
    assert [path.name for path in tmp_path.glob("*/events.out.tfevents*")]
    assert Distribution._validate_args is checked


def test_jobs_on_shared_data_have_the_fingerprint_and_the_conditions_of_a_run_alone(
    tmp_path: Path,
) -> None:
    random = np.random.default_rng(0)
    columns = {name: random.normal(size=60) for name in "abc"} | {
        "age": random.uniform(20, 80, 60),
        "sex": random.choice(["f", "m"], 60),
    }
    lines = zip(*(values.tolist() for values in columns.values()), strict=True)
    text = [",".join(columns), *(",".join(map(str, line)) for line in lines)]
    (tmp_path / "t.csv").write_text("\n".join(text))
    words = ("dataset=table", f"dataset.path={tmp_path / 't.csv'}", "likelihood=mixed")
    words += ("condition=[age,sex]", "trainer.steps=1")
    calls = [call(tmp_path / f"{seed}", *words, f"seed={seed}") for seed in (0, 1)]
    assert train_together(calls) == [None, None]
    loaded = calls[0].settings.build("dataset").load(("age", "sex"))
    conditions = Conditions.of_training(loaded)
    assert conditions is not None
    expected = conditions.state()
    for job in calls:
        run = RunDirectory(job.directory)
        assert run.fingerprint() == loaded.fingerprint()
        found = checkpoint_file.read(run.last)["conditions"]
        assert found["columns"] == expected["columns"]
        torch.testing.assert_close(found["examples"], expected["examples"])


@pytest.mark.parametrize("compiles", [True, False])
def test_no_run_of_a_stack_is_charged_for_compiling(
    compiles: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = slow_compiler.install(monkeypatch, compiles=compiles)
    monkeypatch.setattr("vae_run.training.settings.chosen", lambda *_, **__: True)
    words = ("trainer.steps=2", "evaluation.metrics=[]")
    calls = [call(tmp_path / f"{seed}", *words, f"seed={seed}") for seed in (0, 1)]
    assert train_together(calls) == [None, None]
    assert len(taken) == 1
    for job in calls:
        saved = checkpoint_file.read(RunDirectory(job.directory).last)
        assert 0 < saved["progress"]["seconds"] < 400
        assert saved["compiles"] is compiles


def test_a_run_that_fails_while_it_is_evaluated_fails_alone(
    alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Evaluation.measure

    def measure(self, view, names=None):
        if view.epoch == 2 and view.objective.beta == 2:
            raise RuntimeError("no space left")
        return right(self, view, names)

    monkeypatch.setattr(Evaluation, "measure", measure)
    plans = {"plain": PLANS["plain"], "failing": ("trainer.epochs=3", "objective.beta=2")}
    errors = train_together([call(tmp_path / name, *words) for name, words in plans.items()])
    assert errors[0] is None
    assert str(errors[1]) == "no space left"
    assert read(tmp_path / "failing" / "status.json")["state"] == "failed"
    assert_same_run(tmp_path / "plain", alone / "plain")


@pytest.mark.scale
def test_a_signal_stops_all_and_each_goes_on_alone_or_together(
    alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped_at(step: int | None) -> None:
        def taken(self):
            records = right(self)
            if records[0].step == step:
                StopRequests.active.received = 15
            return records

        monkeypatch.setattr(Stack, "step", taken if step else right)

    right = Stack.step
    names = ("plain", "short")
    calls = [call(tmp_path / name, *PLANS[name]) for name in names]
    for step in (7, 41, 45):
        stopped_at(step)
        for error in train_together(calls):
            assert isinstance(error, Interrupted)
        for name in names:
            assert read(tmp_path / name / "status.json")["state"] == "interrupted"
            assert checkpoint_file.read(tmp_path / name / "checkpoints" / "last.pt")["step"] == step
    stopped_at(None)
    resume.go_on(RunDirectory(calls[0].directory), calls[0])
    assert train_together(calls) == [None, None]
    for name in names:
        assert_same_run(tmp_path / name, alone / name)


def test_what_disagrees_is_trained_one_after_another(
    alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """From the first batch on, which was drawn for the comparison too."""
    spoil_losses(monkeypatch)
    monkeypatch.setattr("vae_run.system.console.log.propagate", True)
    calls = [call(tmp_path / name, *PLANS[name]) for name in ("plain", "short")]
    assert train_together(calls) == [None, None]
    assert "2 runs are trained one after another: " in caplog.text
    assert "off what a run has alone." in caplog.text
    for name in ("plain", "short"):
        assert_same_run(tmp_path / name, alone / name)


def test_the_memory_decides_how_many_train_at_once_with_the_threads_of_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = memory.bytes_of(loop_of(settings_of(), tmp_path / "one"))
    wide = memory.bytes_of(loop_of(settings_of("network.widths=[64]"), tmp_path / "wide"))
    assert 3 * one < wide < 10 * one
    monkeypatch.setattr(memory, "available", lambda device: 2.5 * one / memory.SHARE)
    sizes, threads = [], set()
    right, step = Stack.__init__, Stack.step

    def made(self, loops, *arguments):
        sizes.append(len(loops))
        right(self, loops, *arguments)

    monkeypatch.setattr(Stack, "__init__", made)
    monkeypatch.setattr(
        Stack, "step", lambda self: threads.add(torch.get_num_threads()) or step(self)
    )
    granted = torch.get_num_threads()
    words = ("trainer.steps=3", f"trainer.threads={granted + 1}")
    calls = [call(tmp_path / f"{i}", f"seed={i}", *words) for i in range(5)]
    assert train_together(calls) == [None] * 5
    assert sizes == [2, 2, 1]
    assert threads == {granted + 1}
    assert torch.get_num_threads() == granted


# Which jobs


def test_jobs_are_put_together_where_they_differ_in_numbers_only() -> None:
    words = [
        *([f"seed={seed}", f"optimizer.lr={rate}"] for seed in (0, 1) for rate in (1e-3, 1e-2)),
        ["latent_dim=3"],
        ["objective.beta=4", "trainer.epochs=7", "corruption=masking", "optimizer=sgd"],
        ["trainer=pruning"],
        ["trainer.batch_size=64", "seed=5"],
        ["trainer.batch_size=64", "seed=6"],
        ["trainer=pruning", "seed=3"],
    ]
    found = grouped([settings_of(*each) for each in words])
    assert found.together == [[0, 1, 2, 3, 5], [7, 8]]
    assert sorted(found.alone) == [4, 6, 9]
    said = found.reasons()
    assert said[0] == "1 job trains alone: no other job has the same shapes and parts"
    assert said[1].startswith("2 jobs train alone: Pruning does more than gradient descent")


@pytest.mark.parametrize("option", options("objective"))
def test_options_of_an_objective_that_are_not_proven_keep_jobs_apart(option: str) -> None:
    first = settings_of(*NEEDED.get(("objective", option), ()), f"objective={option}")
    cls = first.classes["objective"]
    own = [f.name for f in fields(cls) if f.init and isinstance(f.default, float)]
    for name in own:
        raw = {**first.raw, "objective": {**first.raw["objective"], name: 0.125}}
        assert bool(grouped([first, check(raw)]).together) == (name in batched(cls))


def test_pieces_are_even_and_none_is_over_the_most() -> None:
    assert pieces(range(16), 2, None) == [list(range(8)), list(range(8, 16))]
    assert [len(piece) for piece in pieces(range(10), 1, 4)] == [3, 3, 4]
    assert pieces(range(2), 5, None) == [[0], [1]]


# The launcher


LAUNCHER = (
    *("device=cpu", "network.widths=[8]", "evaluation.figures=[]", "hydra/launcher=vectorized"),
    *("hydra.launcher.jobs=1", "hydra.launcher.threads=1"),
)


def ledger(folder: Path) -> dict[str, dict]:
    return {job["directory"]: job for job in read(folder / "ledger.json")["jobs"].values()}


def test_a_sweep_trains_together_what_it_can_and_takes_up_what_failed(
    vae_run: Run, tmp_path: Path
) -> None:
    command = ("-m", *LAUNCHER, "trainer.epochs=2", f"sweep.dir={tmp_path / 's'}")
    swept = ("optimizer.lr=1e-3,1e25", "latent_dim=2,3,2", "seed=0")
    finished = vae_run(*command, *swept)
    assert finished.code == 4, finished.said
    assert "4 jobs train together, 2, 2 in a process" in finished.out
    jobs = ledger(tmp_path / "s")
    assert [job["state"] for job in jobs.values()] == ["completed"] * 2 + ["diverged"] * 2
    assert [job["exit_code"] for job in jobs.values()] == [0] * 2 + [4] * 2
    for name, job in jobs.items():
        run = tmp_path / "s" / name
        assert read(run / "status.json")["state"] == job["state"]
        assert (run / ".hydra" / "overrides.yaml").is_file()
        assert list(run.glob("events.out.tfevents*"))
        said = (run / "train.log").read_text(encoding="utf-8")
        assert ("training diverged" in said) == (job["state"] == "diverged")
        assert (run / "metrics.json").is_file() == (job["state"] == "completed")
    again = vae_run(*command, "optimizer.lr=1e-3", "latent_dim=2", "seed=range(2)", "model=vae")
    assert again.code == 0, again.said
    assert "1 job trains alone: no other job has the same shapes and parts" in again.out
    assert "2 jobs, 1 done before" in again.out


@pytest.mark.scale
def test_a_sweep_that_is_told_to_stop_writes_every_checkpoint(
    tmp_path: Path, python_environment: dict[str, str]
) -> None:
    words = ["-m", *LAUNCHER, "trainer.checkpoint_seconds=0", "seed=0,1,2", "sweep.dir=s"]
    words += ["trainer.compile=false"]  # of so many steps it would take long to begin
    typed = [sys.executable, "-m", "vae_run", *words]
    how = {"cwd": tmp_path, "env": python_environment, "text": True, "stdout": subprocess.PIPE}
    runs = [tmp_path / "s" / f"{seed:03d}-seed={seed}" for seed in range(3)]

    def trained() -> bool:
        return all(
            (run / "status.json").is_file() and read(run / "status.json").get("step", 0) > 0
            for run in runs
        )

    with subprocess.Popen(
        [*typed, "trainer.epochs=100000", "trainer.compile=false"], **how
    ) as process:
        end = time.monotonic() + 120
        while not trained():
            assert time.monotonic() < end
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=100)
    assert process.returncode == 143
    steps = {checkpoint_file.read(run / "checkpoints" / "last.pt")["step"] for run in runs}
    assert len(steps) == 1, "they stand at the same step"
    for name, job in ledger(tmp_path / "s").items():
        assert (job["state"], job["exit_code"]) == ("interrupted", 143), name
        assert read(tmp_path / "s" / name / "status.json")["state"] == "interrupted"
