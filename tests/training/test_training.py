"""The training loop against steps made by hand, and the sums that it keeps."""

from __future__ import annotations

import copy
from itertools import islice

import pytest
import torch
from fitting import BATCH, batches_of, fitting, record_of
from parts import experiment

from vae_run.objectives import ELBO
from vae_run.training.meter import Meter
from vae_run.training.optimizers import SGD, Adam
from vae_run.training.schedules import MultiStep


def gradients(model, terms):
    model.zero_grad()
    terms["loss"].mean().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def norm_of(gradient):
    return torch.cat([g.flatten() for g in gradient.values()]).norm().item()


@pytest.mark.parametrize("clip", [None, 0.1, 1e6])
def test_a_step_is_the_gradient_of_the_mean_loss_clipped_and_taken(clip):
    made = experiment("corruption=gaussian", "likelihood=gaussian", "objective.beta=2")
    reference, batch = copy.deepcopy(made.model), batches_of(made).next()
    terms = made.objective(reference, batch, 0.0)
    gradient = gradients(reference, terms)
    factor = 1.0 if clip is None else min(1.0, clip / norm_of(gradient))
    optimizer = SGD(made.model.parameters(), lr=0.01, momentum=0.0)
    record = next(fitting(made, optimizer, clip_norm=clip))
    before = dict(reference.named_parameters())
    for name, parameter in made.model.named_parameters():
        expected = before[name] - 0.01 * factor * gradient[name]
        torch.testing.assert_close(parameter, expected, rtol=1e-5, atol=1e-7)
    assert (record.step, record.size, record.learning_rate) == (1, BATCH, 0.01)
    assert record.grad_norm.item() == pytest.approx(norm_of(gradient), rel=1e-5)
    for name, term in terms.items():
        torch.testing.assert_close(record.terms[name], term)


def test_gradients_of_a_step_do_not_add_to_the_last_ones():
    made = experiment()
    optimizer = SGD(made.model.parameters(), lr=1e-30, momentum=0.0)
    batches, reference = batches_of(made), copy.deepcopy(made.model)
    for record in islice(fitting(made, optimizer), 4):
        terms = made.objective(reference, batches.next(), 0.0)
        expected = norm_of(gradients(reference, terms))
        assert record.grad_norm.item() == pytest.approx(expected, rel=1e-5)


def test_the_rate_follows_the_schedule_in_epochs():
    made = experiment()
    optimizer = Adam(made.model.parameters(), lr=0.5)
    schedule = MultiStep(milestones=[1, 2.5], gamma=0.1)
    rates = [r.learning_rate for r in islice(fitting(made, optimizer, schedule=schedule), 9)]
    assert rates == pytest.approx([0.5] * 3 + [0.05] * 5 + [0.005])
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.005)


def test_the_objective_is_told_the_time_in_epochs():
    made, told = experiment(), []

    class Watching(ELBO):
        def __call__(self, model, batch, epoch):
            told.append(epoch)
            return super().__call__(model, batch, epoch)

    list(islice(fitting(made, objective=Watching(), step=4), 4))
    assert told == pytest.approx([4 / 3, 5 / 3, 2, 7 / 3])


def test_training_reduces_the_loss_and_moves_every_parameter():
    made = experiment("likelihood=gaussian")
    before = copy.deepcopy(made.model.state_dict())
    losses = [r.terms["loss"].mean().item() for r in islice(fitting(made), 150)]
    assert sum(losses[-10:]) < sum(losses[:10]) - 10 * 1.0
    for name, tensor in made.model.state_dict().items():
        assert not torch.equal(tensor, before[name]), name


@pytest.mark.parametrize("stop", [1, 3, 7])
def test_training_in_two_parts_is_training_in_one(stop):
    words = ("corruption=masking", "likelihood=gaussian", "objective.warmup_epochs=4")
    schedule = MultiStep(milestones=[1, 3], gamma=0.5)
    whole, first, second = (experiment(*words) for _ in range(3))
    list(islice(fitting(whole, schedule=schedule), 12))
    optimizer, batches = Adam(first.model.parameters(), lr=0.01), batches_of(first)
    list(islice(fitting(first, optimizer, batches=batches, schedule=schedule), stop))

    second.model.load_state_dict(first.model.state_dict())
    resumed, rest = Adam(second.model.parameters(), lr=0.01), batches_of(second, seed=1)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    rest.load_state_dict(batches.state_dict())
    steps = fitting(second, resumed, batches=rest, schedule=schedule, step=stop)
    assert [record.step for record in islice(steps, 12 - stop)][-1] == 12
    expected = whole.model.state_dict()
    for name, tensor in second.model.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_bfloat16_trains_on_float32_losses_of_about_the_same_size():
    plain = next(fitting(experiment()))
    record = next(fitting(experiment(), precision=torch.autocast("cpu", torch.bfloat16)))
    for name, term in record.terms.items():
        assert term.dtype == torch.float32
        assert term.mean().item() == pytest.approx(plain.terms[name].mean().item(), rel=0.02)
    assert not torch.equal(record.terms["loss"], plain.terms["loss"])


# Meter


def test_means_are_weighted_by_images():
    meter = Meter()
    meter.add(record_of(1.0, 2.0, 3.0, other=4.0))
    meter.add(record_of(10.0, other=8.0))
    assert meter.window() == {"loss": 4.0, "kl": 5.0}


def test_a_window_ends_where_it_is_read_and_an_epoch_where_it_is_closed():
    meter = Meter()
    assert meter.window() == {}
    meter.add(record_of(1.0, 1.0))
    assert meter.window()["loss"] == 1
    assert meter.window() == {}
    meter.add(record_of(7.0))
    assert meter.window()["loss"] == 7
    assert meter.epoch() == {"loss": 3.0, "kl": 0.0}
    meter.new_epoch()
    meter.add(record_of(5.0))
    meter.window()
    assert meter.epoch()["loss"] == 5


def test_a_restored_meter_goes_on_in_the_middle_of_a_window():
    meter = Meter()
    meter.add(record_of(1.0, 3.0))
    meter.window()
    meter.add(record_of(5.0))
    other = Meter()
    other.load_state_dict(copy.deepcopy(meter.state_dict()), torch.device("cpu"))
    for each in (meter, other):
        each.add(record_of(7.0, 9.0))
        assert each.window() == {"loss": 7.0, "kl": 0.0}
        assert each.epoch() == {"loss": 5.0, "kl": 0.0}


def test_an_empty_meter_can_be_restored():
    other = Meter()
    other.load_state_dict(Meter().state_dict(), torch.device("cpu"))
    assert other.window() == other.epoch() == {}


def test_the_meter_does_not_change_the_terms_it_is_given():
    meter, first = Meter(), record_of(1.0, 2.0)
    meter.add(first)
    meter.add(record_of(3.0))
    assert first.terms["loss"].tolist() == [1.0, 2.0]
