"""The TwoNN estimate on points of known dimension, on doubles, and on the MNIST test images."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from parts import experiment

from vae_run.data.splits import Split
from vae_run.evaluation.codes import evaluating
from vae_run.evaluation.metrics import intrinsic_dimension as module
from vae_run.evaluation.metrics.intrinsic_dimension import intrinsic_dimension, twonn
from vae_run.evaluation.view import spaced

ESTIMATES = ("twonn", "mle_5", "mle_10", "mle_20")


def gaussian(n: int, d: int, ambient: int, seed: int = 0) -> np.ndarray:
    """n points of a d-dimensional Gaussian, turned into `ambient` dimensions."""
    random = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(random.normal(size=(ambient, d)))
    return random.normal(size=(n, d)) @ basis.T


@pytest.mark.parametrize("d", [1, 2, 5])
def test_a_gaussian_has_its_own_dimension_whatever_space_it_lies_in(d):
    n = 3000
    for ambient in (d, 20):
        assert abs(twonn(gaussian(n, d, ambient)) - d) < 4 * d / math.sqrt(n)


def test_neither_scale_nor_place_nor_order_matters():
    points = gaussian(500, 3, 6)
    moved = 7 + 1e-3 * points[::-1]
    assert twonn(moved) == pytest.approx(twonn(points), rel=1e-6)


def test_the_slope_is_that_of_the_papers_line():
    """Ratios 2, 3/2 and 4/3 thrice each, put together by hand: far triples on a line."""
    ratios = [2.0, 1.5, 4 / 3]
    points, expected = [], []
    for i, ratio in enumerate(ratios):  # x, x + 1, x + 1 + ratio: distances 1, ratio, and so on
        points += [[1e3 * i], [1e3 * i + 1], [1e3 * i + 1 + ratio]]
        expected += [1 + ratio, ratio, (1 + ratio) / ratio]
    logs = np.sort(np.log(expected))[: int(9 * 0.9)]
    height = [-math.log(1 - i / 9) for i in range(8)]
    slope = sum(x * y for x, y in zip(logs, height, strict=True)) / sum(x * x for x in logs)
    assert twonn(np.array(points)) == pytest.approx(slope, rel=1e-9)


def test_points_that_occur_more_than_once_count_once():
    points = gaussian(400, 2, 5)
    assert twonn(np.concatenate([points, points[:150], points[:20]])) == twonn(points)


def test_where_nothing_can_be_told_there_is_no_figure():
    assert twonn(np.zeros((50, 3))) is None  # one point
    assert twonn(np.array([[0.0], [0.0], [1.0]])) is None  # two
    assert twonn(np.eye(30)) is None  # all distances are equal
    assert twonn(np.array([[0.0], [1.0], [np.nan], [2.0]])) is None
    # Only the ends of five points on a line have a ratio other than 1: it is 2, log2(5/2) a slope.
    assert twonn(np.arange(5.0)[:, None]) == pytest.approx(math.log2(2.5), rel=1e-9)


def test_images_on_a_grid_of_grey_levels_have_ties_and_still_a_dimension():
    points = np.round(4 * gaussian(2000, 2, 2)).clip(-40, 40)
    found = twonn(points)
    assert found is not None
    assert 0 < found < math.inf


def test_the_metric_tells_the_images_dimension_and_the_codes():
    made = experiment("model=ae", "network.widths=[]", shape=(1, 4, 5))
    plane = torch.rand(600, 2, generator=torch.Generator().manual_seed(0))
    basis, _ = torch.linalg.qr(torch.randn(20, 2, generator=torch.Generator().manual_seed(1)))
    images = (0.5 + 0.3 * plane @ basis.T).reshape(-1, 1, 4, 5)
    with evaluating(made.model):
        found = intrinsic_dimension(made.view(Split(images)))
    names = [f"{of}_{estimate}" for of in ("data", "codes") for estimate in ESTIMATES]
    assert set(found) == set(names)
    assert found["data_twonn"] == pytest.approx(2, abs=4 * 2 / math.sqrt(600))
    # Three linear codes of a plane lie in a plane.
    assert found["codes_twonn"] == pytest.approx(2, abs=4 * 2 / math.sqrt(600))


def test_it_looks_at_no_more_images_than_memory_allows(monkeypatch):
    made = experiment("model=ae")
    monkeypatch.setattr(module, "MOST_IMAGES", 10)
    with evaluating(made.model):
        few = intrinsic_dimension(made.view(made.splits.train))
        assert few == intrinsic_dimension(made.view(made.splits.train.take(spaced(90, 10))))
        monkeypatch.setattr(module, "MOST_NUMBERS", 5 * 20)
        fewer = intrinsic_dimension(made.view(made.splits.train))
        assert fewer == intrinsic_dimension(made.view(made.splits.train.take(spaced(90, 5))))


@pytest.mark.scale
def test_the_test_images_of_mnist(mnist):
    """13.55, 12.68, 12.25 and 11.85, as computed independently of this program."""
    apart = module.distances(mnist.test.images.flatten(1).float().numpy(), 20)
    assert module._twonn(apart) == pytest.approx(13.55, abs=0.005)
    for k, expected in ((5, 12.68), (10, 12.25), (20, 11.85)):
        assert module._mle(apart, k) == pytest.approx(expected, abs=0.005)
