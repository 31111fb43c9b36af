"""Training batches: every image once an epoch, seeded, and exactly resumable."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from parts import grey

from vae_run.corruptions import GaussianNoise, Masking, NoCorruption
from vae_run.data.batches import TrainingBatches, evaluation_batches, seeded
from vae_run.runs import checkpoint_file

N, SIZE, STEPS = 23, 5, 5


def training(*, seed=0, corruption=None, split=None, batch_size=SIZE, noise=(2, 3)):
    return TrainingBatches(
        grey(N) if split is None else split,
        GaussianNoise(level=0.5) if corruption is None else corruption,
        batch_size=batch_size,
        noise=noise,
        seed=seed,
    )


def epoch(batches, steps=STEPS):
    return [batches.next() for _ in range(steps)]


def order(batches, steps=STEPS):
    return torch.cat([batch.label for batch in epoch(batches, steps)])


def same(one, other):
    return all(
        torch.equal(getattr(one, name), getattr(other, name))
        for name in ("input", "target", "noise", "label")
    )


def test_each_epoch_visits_every_image_once_in_a_fresh_order():
    batches = training()
    assert batches.steps_per_epoch == STEPS
    orders = [order(batches) for _ in range(4)]
    for found in orders:
        assert torch.equal(found.sort().values, torch.arange(N))
    for later in orders[1:]:
        assert not torch.equal(later, orders[0])


def test_a_batch_holds_its_images_and_the_last_may_be_smaller():
    split = grey(N)
    found = epoch(training(split=split))
    assert [len(batch) for batch in found] == [5, 5, 5, 5, 3]
    for batch in found:
        assert torch.equal(batch.target, split.images[batch.label])
        assert batch.noise.shape == (2, len(batch), 3)


def test_a_batch_larger_than_the_split_is_the_split():
    batches = training(batch_size=100)
    assert batches.steps_per_epoch == 1
    for _ in range(2):
        assert torch.equal(order(batches, 1).sort().values, torch.arange(N))


def test_the_sequence_follows_the_seed():
    first, again, other = (epoch(training(seed=seed), 12) for seed in (0, 0, 1))
    assert all(same(a, b) for a, b in zip(first, again, strict=True))
    assert not any(same(a, b) for a, b in zip(first, other, strict=True))


def test_the_order_does_not_depend_on_the_noise_that_is_drawn():
    expected = order(training(), 12)
    for changed in ({"corruption": NoCorruption()}, {"noise": (7, 1)}):
        assert torch.equal(order(training(**changed), 12), expected)
    dynamic = replace(grey(N), resample=True)
    assert torch.equal(order(training(split=dynamic), 12), expected)


def test_training_leaves_torchs_own_generator_alone():
    before = torch.get_rng_state()
    epoch(training())
    assert torch.equal(torch.get_rng_state(), before)


def test_the_noise_is_standard_normal_and_never_the_same():
    noise = torch.cat([batch.noise.flatten() for batch in epoch(training(noise=(50, 4)), 20)])
    assert abs(noise.mean().item()) < 4.5 / len(noise) ** 0.5
    assert abs(noise.var().item() - 1) < 4.5 * (2 / len(noise)) ** 0.5
    assert len(noise.unique()) > 0.99 * len(noise)


@pytest.mark.parametrize("stop", [0, 1, 3, STEPS, STEPS + 2, 2 * STEPS])
def test_a_resumed_sequence_goes_on_bit_for_bit(stop, tmp_path):
    split = replace(grey(N), resample=True)
    uninterrupted = training(split=split)
    epoch(uninterrupted, stop)
    checkpoint_file.save(tmp_path / "state.pt", {"batches": uninterrupted.state_dict()})
    expected = epoch(uninterrupted, 2 * STEPS + 1)
    resumed = training(split=split, seed=999)
    resumed.load_state_dict(checkpoint_file.read(tmp_path / "state.pt")["batches"])
    found = epoch(resumed, 2 * STEPS + 1)
    assert all(same(a, b) for a, b in zip(found, expected, strict=True))


def test_a_saved_state_does_not_move_with_the_sequence():
    batches = training()
    epoch(batches, 2)
    state = batches.state_dict()
    expected = epoch(batches, 12)
    batches.load_state_dict(state)
    assert all(same(a, b) for a, b in zip(epoch(batches, 12), expected, strict=True))


def test_dynamic_binarization_draws_every_visit_afresh():
    split = replace(grey(N, (1, 2, 2)), resample=True)
    batches, visits = training(split=split, corruption=NoCorruption()), 400
    seen = torch.zeros(N, visits, 1, 2, 2)
    for visit in range(visits):
        for batch in epoch(batches):
            seen[batch.label, visit] = batch.target
            assert torch.equal(batch.input, batch.target)
    assert set(seen.unique().tolist()) == {0.0, 1.0}
    error = (split.images * (1 - split.images) / visits).sqrt()
    assert ((seen.mean(1) - split.images).abs() < 4.5 * error + 1 / visits).all()
    assert not torch.equal(seen[:, 0], seen[:, 1])


# Evaluation


def evaluated(split, **changes):
    how = {"batch_size": 10, "noise": (2, 3), **changes}
    found = list(evaluation_batches(split, Masking(level=0.5), **how))
    assert all(len(batch) <= how["batch_size"] for batch in found)
    return {
        "input": torch.cat([batch.input for batch in found]),
        "target": torch.cat([batch.target for batch in found]),
        "noise": torch.cat([batch.noise for batch in found], dim=1),
        "label": torch.cat([batch.label for batch in found]),
    }


@pytest.mark.parametrize("resample", [False, True])
def test_evaluation_sees_every_image_once_whatever_the_batch(resample):
    split = replace(grey(530, (1, 2, 3)), resample=resample)
    whole = evaluated(split, batch_size=530)
    assert torch.equal(whole["label"], torch.arange(530))
    assert torch.equal(whole["target"], split.images) != resample
    assert whole["noise"].shape == (2, 530, 3)
    assert len({tuple(row.tolist()) for row in whole["noise"][0]}) == 530
    for batch_size in (1, 7, 255, 256, 257, 300, 2000):
        found = evaluated(split, batch_size=batch_size)
        assert all(torch.equal(found[name], whole[name]) for name in whole)


def test_evaluation_of_the_first_images_is_the_beginning_of_the_whole():
    split = grey(300)
    whole, few = evaluated(split), evaluated(split, limit=263)
    assert len(few["target"]) == 263
    assert torch.equal(few["input"], whole["input"][:263])
    assert torch.equal(few["noise"], whole["noise"][:, :263])
    assert len(evaluated(split, limit=10_000)["target"]) == 300


def test_an_empty_split_has_no_batches():
    empty = grey(5).take(torch.tensor([], dtype=torch.long))
    assert list(evaluation_batches(empty, NoCorruption(), batch_size=4, noise=(1, 2))) == []


def test_streams_of_different_keys_do_not_meet():
    keys = [("order", 0), ("order", 1), ("noise", 0), ("order", 0, 0), ("order0",)]
    drawn = [torch.rand(4, generator=seeded("cpu", *key)) for key in keys]
    again = torch.rand(4, generator=seeded("cpu", *keys[0]))
    assert torch.equal(drawn[0], again)
    assert len({tuple(numbers.tolist()) for numbers in drawn}) == len(keys)
