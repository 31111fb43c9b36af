"""What each corruption does at its level, and that the clean image is left alone."""

from __future__ import annotations

import pytest
import torch
from omegaconf import OmegaConf
from parts import CONF, composed, grey, options

from vae_run.config.check import check
from vae_run.corruptions import GaussianNoise, Masking, NoCorruption, SaltAndPepper
from vae_run.data.batches import TrainingBatches, evaluation_batches

N = 40_000
LEVELS = [0.0, 0.1, 0.5, 0.9, 1.0]


def corrupted(corruption, x, seed=0):
    return corruption.apply(x, corruption.noise(x.shape, torch.Generator().manual_seed(seed)))


def share(chosen):
    return chosen.float().mean().item()


def within(found, expected):
    """Whether a share found in N draws is the expected one, to 4.5 standard errors."""
    return abs(found - expected) <= 4.5 * (expected * (1 - expected) / N) ** 0.5


def test_no_corruption_gives_the_image_itself():
    x = torch.rand(3, 1, 4, 4)
    assert torch.equal(corrupted(NoCorruption(), x), x)


@pytest.mark.parametrize("level", [0.1, 0.5, 2.0])
def test_gaussian_noise_has_the_standard_deviation_level(level):
    added = corrupted(GaussianNoise(level=level), torch.full((N, 1), 0.5)) - 0.5
    assert abs(added.mean().item()) < 4.5 * level / N**0.5
    assert abs(added.std().item() / level - 1) < 4.5 / (2 * N) ** 0.5
    assert within(share(added.abs() > level), 0.3173)


@pytest.mark.parametrize("level", LEVELS)
def test_masking_blackens_a_share_of_the_pixels_and_leaves_the_others(level):
    seen = corrupted(Masking(level=level), torch.full((N, 1), 0.5))
    assert within(share(seen == 0), level)
    assert share((seen == 0) | (seen == 0.5)) == 1


@pytest.mark.parametrize("level", LEVELS)
def test_salt_and_pepper_are_as_frequent_as_each_other(level):
    seen = corrupted(SaltAndPepper(level=level), torch.full((N, 1), 0.5))
    assert within(share(seen == 0), level / 2)
    assert within(share(seen == 1), level / 2)
    assert share((seen == 0) | (seen == 1) | (seen == 0.5)) == 1


# Every option of conf/corruption


def built(option, *words):
    return check(composed(f"corruption={option}", *words)).build("corruption")


@pytest.mark.parametrize("option", options("corruption"))
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 7)], ids=str)
def test_every_corruption_follows_its_generator_and_leaves_the_image_alone(option, shape):
    corruption, x = built(option), torch.rand(16, *shape)
    before = x.clone()
    first, again, other = (corrupted(corruption, x, seed) for seed in (1, 1, 2))
    assert torch.equal(x, before)
    assert first.shape == x.shape
    assert first.dtype == x.dtype
    assert torch.equal(first, again)
    drawn = corruption.noise(x.shape, torch.Generator())
    if drawn is not None:
        assert drawn.shape[0] == 16
        assert not torch.equal(first, other)
        assert not torch.equal(first, x)


@pytest.mark.parametrize("option", options("corruption"))
def test_every_corruption_leaves_torchs_own_generator_alone(option):
    before = torch.get_rng_state()
    corrupted(built(option), torch.rand(4, 3, 8, 8, generator=torch.Generator()))
    assert torch.equal(torch.get_rng_state(), before)


def with_level():
    folder = CONF / "corruption"  # as files, since tests are collected by each worker
    return [o for o in options("corruption") if "level" in OmegaConf.load(folder / f"{o}.yaml")]


@pytest.mark.parametrize("option", with_level())
def test_every_corruption_of_its_least_level_is_the_identity(option):
    """That is 0; levels that are whole numbers count from 1."""
    level = composed(f"corruption={option}")["corruption"]["level"]
    least = 1 if isinstance(level, int) else 0
    x = torch.rand(50, 3, 8, 8)
    assert torch.equal(corrupted(built(option, f"corruption.level={least}"), x), x)


@pytest.mark.parametrize("option", options("corruption"))
def test_every_corruption_corrupts_the_input_and_not_the_target(option):
    split, corruption = grey(20, (3, 6, 6)), built(option)
    clean = split.images.clone()
    training = TrainingBatches(split, corruption, batch_size=8, noise=(1, 2), seed=0)
    batches = [training.next() for _ in range(3)]
    batches += evaluation_batches(split, corruption, batch_size=8, noise=(1, 2))
    for batch in batches:
        assert torch.equal(batch.target, clean[batch.label])
        changes = not isinstance(corruption, NoCorruption)
        assert torch.equal(batch.input, batch.target) != changes
    assert torch.equal(split.images, clean)


@pytest.mark.parametrize("option", options("corruption"))
def test_every_corruption_is_the_same_in_every_evaluation(option):
    split, corruption = grey(600, (3, 3, 3)), built(option)

    def inputs(batch_size):
        batches = evaluation_batches(split, corruption, batch_size=batch_size, noise=(1, 2))
        return torch.cat([batch.input for batch in batches])

    once = inputs(600)
    assert once.shape == split.images.shape
    for batch_size in (600, 7, 255, 256, 257, 1000):
        assert torch.equal(inputs(batch_size), once)
    if not isinstance(corruption, NoCorruption):
        change = once - split.images
        assert len({tuple(row.flatten().tolist()) for row in change}) > 500
