"""The corruptions of whole images, against independent computations of what they should give."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from parts import composed
from scipy import ndimage

from vae_run.config.check import check
from vae_run.corruptions import (
    Affine,
    Blur,
    Downsample,
    GaussianNoise,
    Grayscale,
    Inpainting,
    PatchShuffle,
)
from vae_run.errors import ConfigError

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 7, 9), (3, 32, 32)]
NEUTRAL = {
    "inpainting": 0,
    "grayscale": 0,
    "downsample": 1,
    "patch_shuffle": 1,
    "blur": 0,
    "affine": 0,
}
"""Every corruption that needs images, with the level at which it does nothing."""
SIGMAS = 4.5

over_shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)
over_options = pytest.mark.parametrize("option", list(NEUTRAL))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(*shape):
    return torch.rand(shape, generator=seeded(99))


def corrupted(corruption, x, seed=0):
    return corruption.apply(x, corruption.noise(x.shape, seeded(seed)))


def built(option, *words):
    return check(composed(f"corruption={option}", *words)).build("corruption")


def assert_uniform(counts):
    """Whether each of the counted outcomes is as likely, to 4.5 standard errors."""
    counts = counts.double()
    n, share = counts.sum(), 1 / counts.numel()
    assert ((counts - n * share).abs() <= SIGMAS * (n * share * (1 - share)) ** 0.5).all()


# All of them


@over_options
@over_shapes
def test_the_neutral_level_is_the_image_itself(option, shape):
    x = pictures(20, *shape)
    assert torch.equal(corrupted(built(option, f"corruption.level={NEUTRAL[option]}"), x), x)


@over_options
@over_shapes
def test_noise_follows_its_generator_and_the_image_stays(option, shape):
    corruption, x = built(option), pictures(20, *shape)
    before = x.clone()
    first, again, other = (corrupted(corruption, x, seed) for seed in (1, 1, 2))
    assert torch.equal(x, before)
    assert torch.equal(first, again)
    assert first.shape == x.shape
    assert torch.isfinite(first).all()
    drawn = corruption.noise(x.shape, seeded())
    assert torch.equal(first, other) == (drawn is None)
    if drawn is not None:
        assert drawn.shape[0] == 20
        assert drawn.unique(dim=0).shape == drawn.shape, "images share their noise"


@over_options
@over_shapes
def test_an_image_is_corrupted_without_regard_to_its_batch(option, shape):
    corruption, x = built(option), pictures(20, *shape)
    noise = corruption.noise(x.shape, seeded())
    whole = corruption.apply(x, noise)
    for size in (1, 3, 7):
        pieces = [
            corruption.apply(x[i : i + size], None if noise is None else noise[i : i + size])
            for i in range(0, 20, size)
        ]
        assert torch.equal(torch.cat(pieces), whole)


@over_options
@over_shapes
def test_many_runs_are_corrupted_at_once(option, shape):
    """vmap gives what a loop does, with batches or noise of one's own, and without a slow path."""
    corruption, x = built(option), pictures(3, 5, *shape)
    drawn = [corruption.noise(x.shape[1:], seeded(i)) for i in range(3)]
    noise = None if drawn[0] is None else torch.stack(drawn)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        own = torch.func.vmap(corruption.apply, (0, None if noise is None else 0))(x, noise)
        one = None if noise is None else torch.func.vmap(corruption.apply, (None, 0))(x[0], noise)
    assert torch.equal(
        own, torch.stack([corruption.apply(a, b) for a, b in zip(x, drawn, strict=True)])
    )
    if one is not None:
        assert torch.equal(one, torch.stack([corruption.apply(x[0], b) for b in drawn]))


@over_options
@over_shapes
def test_the_host_never_waits_for_the_device(option, shape):
    """Tensors without data have no values that a Python branch could ask for."""
    corruption = built(option)
    noise = corruption.noise(torch.Size((4, *shape)), seeded())
    x = torch.empty(4, *shape, device="meta")
    seen = corruption.apply(x, None if noise is None else noise.to("meta"))
    assert (seen.shape, seen.dtype, seen.device) == (x.shape, x.dtype, x.device)


@over_options
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_the_type_of_the_pixels_stays(option, dtype):
    x = pictures(4, 3, 7, 9).to(dtype)
    seen = corrupted(built(option), x)
    assert seen.dtype == dtype
    assert (seen.float() - corrupted(built(option), x.float())).abs().max() < 0.05


@over_options
def test_the_smallest_images(option):
    for shape in ((1, 1, 1), (2, 1, 3), (3, 2, 1)):
        x = pictures(5, *shape)
        seen = corrupted(built(option), x)
        assert seen.shape == x.shape
        assert torch.isfinite(seen).all()


@over_options
def test_vectors_are_refused_by_name(option):
    corruption, vectors = built(option), torch.rand(4, 7)
    with pytest.raises(ConfigError, match=rf"corruption={option} .*vectors of shape \[7\]"):
        corruption.noise(vectors.shape, seeded())
    with pytest.raises(ConfigError, match=rf"corruption={option} .*vectors of shape \[7\]"):
        corruption.apply(vectors, torch.rand(4, 1, 2))


@pytest.mark.parametrize(
    ("option", "word"),
    [
        ("inpainting", "level=1.1"),
        ("inpainting", "count=0"),
        ("grayscale", "level=-0.1"),
        ("downsample", "level=0"),
        ("downsample", "level=1.5"),
        ("patch_shuffle", "level=0"),
        ("blur", "level=-1"),
        ("blur", "level=1e9"),
        ("affine", "level=-1"),
        ("affine", "shift=2"),
    ],
)
def test_levels_out_of_range_are_refused_by_key(option, word):
    with pytest.raises(ConfigError, match=f"corruption.{word.split('=')[0]}: found"):
        built(option, f"corruption.{word}")


# Inpainting


@over_shapes
@pytest.mark.parametrize("level", [0.1, 0.3, 0.5, 0.9, 1.0])
def test_one_block_of_the_expected_side_is_filled(shape, level):
    side = int(level * min(shape[1:]) + 0.5)
    x = pictures(200, *shape)
    seen = corrupted(Inpainting(level=level, fill=-7.0), x)
    hole = seen == -7
    assert torch.equal(seen[~hole], x[~hole])
    assert (hole.flatten(1).sum(1) == shape[0] * side**2).all()
    assert (hole == hole[:, :1]).all(), "every channel loses the same pixels"
    for axis in (2, 3):
        lost = hole[:, 0].any(4 - axis)
        assert (lost.sum(1) == side).all()
        if side:
            first = lost.int().argmax(1)
            assert all(row[i : i + side].all() for row, i in zip(lost, first.tolist(), strict=True))


def test_a_block_lies_at_every_place_as_often():
    x = torch.ones(60_000, 1, 4, 6)
    hole = corrupted(Inpainting(level=0.5, fill=0.0), x)[:, 0] == 0
    place = hole.flatten(1).int().argmax(1)
    rows, columns = place // 6, place % 6
    assert rows.max() == 2
    assert columns.max() == 4
    assert_uniform(torch.bincount(rows * 5 + columns, minlength=15))


def test_blocks_are_drawn_apart_and_may_overlap():
    seen = corrupted(Inpainting(level=0.25, count=2, fill=1.0), torch.zeros(40_000, 1, 8, 8))
    lost = seen.flatten(1).sum(1)
    assert lost.max() == 8
    assert lost.min() == 4
    share = 1 / 49  # of equal places
    assert abs((lost == 4).double().mean() - share) < SIGMAS * (share / 40_000) ** 0.5


# Grayscale


def test_grey_has_the_weights_of_bt_601():
    pure = torch.eye(3).reshape(3, 3, 1, 1).expand(3, 3, 8, 8)
    grey = corrupted(Grayscale(), pure)
    for image, weight in zip(grey, (0.299, 0.587, 0.114), strict=True):
        assert torch.equal(image, torch.full((3, 8, 8), weight))
    mixed = corrupted(Grayscale(level=0.25), pure)
    torch.testing.assert_close(mixed, 0.75 * pure + 0.25 * grey)


@pytest.mark.parametrize("shape", [(3, 7, 9), (3, 32, 32)], ids=str)
def test_all_colour_is_gone_and_brightness_stays(shape):
    x = pictures(20, *shape)
    grey = corrupted(Grayscale(), x)
    assert torch.equal(grey, grey[:, :1].expand(20, *shape))
    luma = torch.einsum("bchw,c->bhw", x, torch.tensor([0.299, 0.587, 0.114]))
    torch.testing.assert_close(grey[:, 0], luma)
    torch.testing.assert_close(corrupted(Grayscale(), grey), grey)


def test_grey_images_have_no_colour_to_lose():
    x = pictures(20, 1, 28, 28)
    for level in (0.0, 0.3, 1.0):
        assert torch.equal(corrupted(Grayscale(level=level), x), x)
    pair = pictures(20, 2, 7, 9)
    mean = pair.mean(1, keepdim=True).expand_as(pair)
    torch.testing.assert_close(corrupted(Grayscale(), pair), mean)


# Downsample


@pytest.mark.parametrize(
    ("shape", "level"), [((1, 8, 8), 4), ((1, 28, 28), 7), ((3, 32, 32), 2)], ids=str
)
def test_downsample_is_average_pooling_enlarged(shape, level):
    x = pictures(20, *shape)
    pooled = F.avg_pool2d(x, level)
    seen = corrupted(Downsample(level=level), x)
    assert torch.equal(seen[..., ::level, ::level], pooled)
    assert torch.equal(seen, F.interpolate(pooled, x.shape[2:], mode="nearest"))


@over_shapes
@pytest.mark.parametrize("level", [2, 3, 5, 8, 100])
def test_downsample_of_any_size_averages_what_there_is(shape, level):
    x = pictures(6, *shape)
    expected = x.clone()
    for top, left in itertools.product(range(0, shape[1], level), range(0, shape[2], level)):
        square = expected[..., top : top + level, left : left + level]
        square[...] = square.mean((2, 3), keepdim=True)
    torch.testing.assert_close(corrupted(Downsample(level=level), x), expected)


# Patches


def patches_of(x, down, across):
    h, w = x.shape[2] // down, x.shape[3] // across
    places = itertools.product(range(down), range(across))
    return torch.stack([x[..., i * h : i * h + h, j * w : j * w + w] for i, j in places], 1)


@over_shapes
@pytest.mark.parametrize("level", [2, 3, 4, 100])
def test_sorting_the_patches_restores_them(shape, level):
    x = pictures(20, *shape)
    down, across = min(level, shape[1]), min(level, shape[2])
    seen = corrupted(PatchShuffle(level=level), x)
    ours, theirs = (patches_of(images, down, across) for images in (seen, x))
    for own, clean in zip(ours, theirs, strict=True):
        assert torch.equal(own.flatten(1).unique(dim=0), clean.flatten(1).unique(dim=0))
    bottom, right = shape[1] // down * down, shape[2] // across * across
    assert torch.equal(seen[..., bottom:, :], x[..., bottom:, :])
    assert torch.equal(seen[..., right:], x[..., right:])


def test_the_smallest_noise_comes_first():
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    noise = torch.tensor([[0.9, 0.1, 0.2, 0.3]])
    # Patches, by row: 1, 2, 3 and 0.
    expected = [[2, 3, 8, 9], [6, 7, 12, 13], [10, 11, 0, 1], [14, 15, 4, 5]]
    assert PatchShuffle(level=2).apply(x, noise)[0, 0].tolist() == expected


def test_every_order_is_as_likely():
    x = torch.arange(4.0).reshape(1, 1, 2, 2).expand(48_000, 1, 2, 2)
    seen = corrupted(PatchShuffle(level=2), x).flatten(1)
    orders, counts = seen.unique(dim=0, return_counts=True)
    assert len(orders) == 24
    assert_uniform(counts)


# Blur


@over_shapes
@pytest.mark.parametrize("level", [0.1, 0.3, 1.0, 2.4])
def test_blur_is_scipys_gaussian_filter(shape, level):
    x = pictures(6, *shape)
    expected = ndimage.gaussian_filter(
        x.double().numpy(), level, axes=(2, 3), truncate=4.0, mode="nearest"
    )
    seen = corrupted(Blur(level=level), x)
    assert np.abs(seen.numpy() - expected).max() < 1e-6


def test_blur_leaves_a_plain_image_and_spreads_a_point():
    plain = torch.full((1, 3, 7, 9), 0.7)
    torch.testing.assert_close(corrupted(Blur(level=5.0), plain), plain)
    point = torch.zeros(1, 1, 61, 61)
    point[..., 30, 30] = 1
    spread = corrupted(Blur(level=3.0), point)[0, 0].double()
    place = torch.arange(61.0).double() - 30
    assert spread.sum() == pytest.approx(1, abs=1e-5)
    assert (spread.sum(0) * place**2).sum().sqrt() == pytest.approx(3, rel=2e-3)
    assert (spread.sum(1) * place**2).sum().sqrt() == pytest.approx(3, rel=2e-3)


# Affine

STILL = 0.5
"""The noise of no change; 1 is the greatest change one way, 0 the other."""


def moved(corruption, x, *, turn=STILL, zoom=STILL, down=STILL, right=STILL):
    return corruption.apply(x, torch.tensor([[turn, zoom, down, right]]).expand(len(x), 4))


@over_shapes
def test_still_noise_moves_nothing(shape):
    x = pictures(6, *shape)
    torch.testing.assert_close(moved(Affine(level=3.0), x), x, atol=1e-5, rtol=0)


@over_shapes
def test_shifts_of_whole_pixels_are_exact(shape):
    _, height, width = shape
    x = pictures(6, *shape)
    for down, right in ((2, 0), (0, 3), (-1, 2), (3, -3)):
        expected = torch.zeros_like(x)
        to = [slice(max(0, s), n + min(0, s)) for s, n in ((down, height), (right, width))]
        of = [slice(max(0, -s), n - max(0, s)) for s, n in ((down, height), (right, width))]
        expected[..., to[0], to[1]] = x[..., of[0], of[1]]
        seen = moved(
            Affine(level=0.5, shift=1.0),
            x,
            down=0.5 + down / height,
            right=0.5 + right / width,
        )
        torch.testing.assert_close(seen, expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32)], ids=str)
def test_a_quarter_turn_is_exact(shape):
    x = pictures(6, *shape)
    seen = moved(Affine(level=2.0, degrees=45.0), x, turn=1.0)
    torch.testing.assert_close(seen, x.rot90(-1, (2, 3)), atol=1e-4, rtol=0)


def test_angles_and_distances_hold_in_images_that_are_not_square():
    x = torch.zeros(1, 1, 7, 15)
    x[..., 3, 9] = 1  # two to the right of the middle
    expected = torch.zeros_like(x)
    expected[..., 5, 7] = 1  # two below
    seen = moved(Affine(degrees=90.0), x, turn=1.0)
    torch.testing.assert_close(seen, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("zoom", "factor"), [(1.0, 1.5), (0.75, 1.5**0.5), (0.0, 1 / 1.5)])
def test_zoom_multiplies_every_length(zoom, factor):
    place = torch.arange(41.0) - 20
    blob = torch.exp(-(place[:, None] ** 2 + place**2) / (2 * 3.0**2))[None, None]
    seen = moved(Affine(level=0.5, zoom=1.0), blob, zoom=zoom)
    expected = torch.exp(-(place[:, None] ** 2 + place**2) / (2 * (3.0 * factor) ** 2))
    torch.testing.assert_close(seen[0, 0], expected, atol=0.03, rtol=0)  # bilinear
    assert seen.sum() / blob.sum() == pytest.approx(factor**2, rel=0.01)


@over_shapes
def test_affine_is_scipys_interpolation(shape):
    """Every pixel against scipy's affine_transform, built from the meaning of the four numbers."""
    _, height, width = shape
    corruption = Affine(level=1.3, degrees=20.0, shift=0.2, zoom=0.3)
    x = pictures(10, *shape)
    noise = corruption.noise(x.shape, seeded(5))
    seen = corruption.apply(x, noise)
    middle = np.array([(height - 1) / 2, (width - 1) / 2])
    for image, out, u in zip(x, seen, (2 * noise.double() - 1).numpy(), strict=True):
        angle, factor = np.radians(1.3 * 20 * u[0]), (1 + 1.3 * 0.3) ** u[1]
        forward = factor * np.array(
            [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
        )
        back = np.linalg.inv(forward)
        shift = 1.3 * 0.2 * np.array([height, width]) * u[2:]
        for channel, found in zip(image, out, strict=True):
            expected = ndimage.affine_transform(
                channel.double().numpy(),
                back,
                middle - back @ (middle + shift),
                order=1,
                mode="grid-constant",
            )
            assert np.abs(found.numpy() - expected).max() < 2e-5


def test_small_moves_keep_mass_and_vanish_with_the_level():
    place = torch.arange(28.0) - 13.5
    blob = torch.exp(-(place[:, None] ** 2 + place**2) / (2 * 4.0**2)).expand(500, 1, 28, 28)
    changes = []
    for level in (0.01, 0.1, 1.0):
        seen = corrupted(Affine(level=level), blob)
        mass = seen.flatten(1).sum(1) / blob[0].sum()
        assert ((mass / 1.1 ** (2 * level)).max() < 1.01) & (
            (mass * 1.1 ** (2 * level)).min() > 0.97
        )
        changes.append((seen - blob).square().mean().sqrt().item())
    assert changes[0] < changes[1] / 5 < changes[2] / 25


def test_moves_are_uniform_between_both_signs():
    n = 20_000
    x = torch.zeros(n, 1, 9, 9)
    x[..., 4, 4] = 1
    place = torch.arange(9.0) - 4
    seen = corrupted(Affine(shift=1 / 9, degrees=0.0, zoom=0.0), x)[:, 0]
    for axis in (2, 3):
        where = (seen.sum(4 - axis) * place).sum(1) / seen.sum((1, 2))
        assert where.abs().max() < 1.01
        assert abs(where.mean()) < SIGMAS * (1 / 3 / n) ** 0.5
        assert where.square().mean() == pytest.approx(1 / 3, rel=0.03)


def test_corruptions_of_pixels_still_take_vectors():
    assert corrupted(GaussianNoise(), torch.rand(4, 7)).shape == (4, 7)
