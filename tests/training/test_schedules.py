"""Learning-rate schedules against torch's own and by hand."""

from __future__ import annotations

import math
from contextlib import nullcontext

import pytest
import torch
from parts import composed, experiment, options

from vae_run.config.check import check
from vae_run.errors import ConfigError
from vae_run.runs.run_directory import RunDirectory
from vae_run.tracking.tracker import NoTracker
from vae_run.training.gradient import Gradient
from vae_run.training.schedules import Constant, Cosine, MultiStep


def torchs(scheduler, epochs, **arguments):
    """The factors that a scheduler of torch.optim gives at whole epochs."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = scheduler(optimizer, **arguments)
    factors = []
    for _ in range(epochs):
        factors.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return factors


def test_constant_is_1():
    assert [Constant().factor(epoch) for epoch in (0, 0.5, 1e6)] == [1, 1, 1]


def test_multistep_is_torchs():
    schedule = MultiStep(milestones=[3, 5.0], gamma=0.2)
    expected = torchs(torch.optim.lr_scheduler.MultiStepLR, 8, milestones=[3, 5], gamma=0.2)
    assert [schedule.factor(epoch) for epoch in range(8)] == pytest.approx(expected)
    assert schedule.factor(2.999) == 1
    assert MultiStep().factor(100) == 1


def test_cosine_is_torchs_and_stays_at_its_end():
    schedule = Cosine(horizon=10, final=0.1)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR
    expected = torchs(cosine, 11, T_max=10, eta_min=0.1)
    assert [schedule.factor(epoch) for epoch in range(11)] == pytest.approx(expected)
    assert schedule.factor(10.5) == schedule.factor(1000) == pytest.approx(0.1)


def test_cosine_warms_up_linearly_and_then_spans_what_is_left():
    schedule = Cosine(horizon=12, warmup_epochs=4)
    assert [schedule.factor(epoch) for epoch in (0, 1, 2, 4)] == pytest.approx([0, 0.25, 0.5, 1])
    assert schedule.factor(8) == pytest.approx(0.5)
    assert schedule.factor(6) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))
    assert schedule.factor(12) == pytest.approx(0, abs=1e-12)


def test_a_warm_up_that_lasts_for_the_whole_training_is_refused():
    words = ("schedule=cosine", "schedule.warmup_epochs=3")
    told = r"^schedule.warmup_epochs: found 3, expected less than the training of "
    with pytest.raises(ConfigError, match=f"{told}3 epochs, .* or train for longer"):
        check(composed(*words, "trainer.epochs=3"))
    check(composed(*words, "trainer.epochs=4"))
    check(composed(*words, "model=pca"))  # which takes no steps


def test_so_is_one_that_lasts_for_all_steps_once_the_data_are_counted(tmp_path):
    made = experiment("schedule=cosine", "schedule.warmup_epochs=3", "trainer.batch_size=30")
    told = r"^schedule.warmup_epochs: found 3, .* the training of 9 steps, which are 3 epochs, "
    for steps in (9, 10):
        trainer = Gradient(epochs=None, steps=steps, batch_size=30)
        refused = pytest.raises(ConfigError, match=told) if steps == 9 else nullcontext()
        with refused:
            trainer.loop(made, RunDirectory(tmp_path), NoTracker())


@pytest.mark.parametrize("option", options("schedule"))
def test_every_schedule_is_a_function_of_the_time_alone(option):
    schedule = check(composed(f"schedule={option}")).build("schedule")
    schedule.horizon = schedule.horizon or 10.0
    times = [i / 7 for i in range(100)]
    forward = [schedule.factor(time) for time in times]
    assert forward == [schedule.factor(time) for time in reversed(times)][::-1]
    assert all(0 <= factor < 100 for factor in forward)
    assert max(forward) > 0
