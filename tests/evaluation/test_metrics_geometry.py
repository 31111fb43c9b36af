"""Neighbourhoods kept, torn or folded, dimensions from neighbours, and the time to encode."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from parts import composed, experiment

from vae_run.config.check import check
from vae_run.corruptions import NoCorruption
from vae_run.data.splits import Split
from vae_run.evaluation.codes import evaluating
from vae_run.evaluation.metrics import geometry as module
from vae_run.evaluation.metrics.encode_time import encode_time
from vae_run.evaluation.metrics.geometry import NEIGHBOURS, geometry, kept
from vae_run.evaluation.metrics.intrinsic_dimension import mle
from vae_run.evaluation.view import View
from vae_run.models.build import build_model
from vae_run.objectives import ELBO


def normal(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


def ranks(points: np.ndarray) -> np.ndarray:
    """Which neighbour j is of i, by distance from 1 on; i itself is 0."""
    apart = np.square(points[:, None] - points[None]).sum(-1)
    np.fill_diagonal(apart, -1)
    return apart.argsort(1).argsort(1)


def by_definition(points: np.ndarray, mapped: np.ndarray) -> float:
    """The trustworthiness as Venna & Kaski (2001) write it."""
    true, on_map, n = ranks(points), ranks(mapped), len(points)
    k = min(NEIGHBOURS, (n - 1) // 2)
    wrong = (on_map > 0) & (on_map <= k) & (true > k)
    return 1 - 2 * float((true[wrong] - k).sum()) / (n * k * (2 * n - 3 * k - 1))


@pytest.mark.parametrize("n", [4, 5, 20, 150])
def test_trustworthiness_is_as_defined_and_continuity_its_mirror(n):
    points = normal(n, 6)
    mapped = points[:, :2] + 0.3 * normal(n, 2, 1)
    expected = by_definition(points, mapped), by_definition(mapped, points)
    assert kept(points, mapped) == pytest.approx(expected, rel=1e-12)


def test_trustworthiness_by_hand():
    """Of five points on a line with two neighbours each, the map exchanges the ends."""
    points = np.array([[0.0], [1.0], [2.1], [3.3], [4.6]])
    mapped = np.array([[4.6], [1.0], [2.1], [3.3], [0.0]])
    # Wrong neighbours on the map with their true ranks: of the first point the third (2, right) and
    # the fourth (3); of the second the last (4); of the fourth the first (4); of the last the
    # second (3) and third (2, right). Each counts its rank less 2.
    penalty = (3 - 2) + (4 - 2) + (4 - 2) + (3 - 2)
    assert by_definition(points, mapped) == kept(points, mapped)[0]
    assert kept(points, mapped)[0] == pytest.approx(1 - 2 * penalty / (5 * 2 * (10 - 6 - 1)))


def test_a_torn_map_is_trustworthy_a_folded_one_continuous():
    line = np.linspace(0, 1, 400)
    points = np.stack([line, 0.01 * np.sin(9 * line)], 1)
    torn = (line + 5 * (line > 0.5))[:, None]
    folded = np.abs(line - 0.5)[:, None]
    trustworthiness, continuity = kept(points, torn)
    assert trustworthiness > 0.999
    assert continuity < trustworthiness
    trustworthiness, continuity = kept(points, folded)
    assert continuity > 0.99
    assert trustworthiness < 0.8
    assert kept(points, points) == (1.0, 1.0)


def test_a_map_of_chance_keeps_nothing():
    assert kept(normal(600, 5), normal(600, 2, 1)) == pytest.approx((0.5, 0.5), abs=0.03)


def view(d: int = 2, n: int = 120) -> View:
    """An autoencoder whose code is the first d of 6 pixels, on images that spread most there."""
    model = build_model(check(composed("model=ae", f"latent_dim={d}", "network.widths=[]")), (6,))
    with torch.no_grad():
        model.posterior.projection.weight.copy_(torch.eye(d, 6))
        model.posterior.projection.bias.zero_()
    spread = np.array([1, 0.7, 0.02, 0.02, 0.02, 0.02])
    splits = [Split(torch.from_numpy(normal(n, 6, seed) * spread).float()) for seed in (0, 1)]
    return View(model, ELBO(), NoCorruption(), splits[1], d, train=splits[0])


def measured(metric, made):
    with evaluating(made.model):
        return metric(made)


def test_codes_stand_beside_pca_and_tsne():
    made = view()
    found = measured(geometry, made)
    kinds = ("trustworthiness", "continuity")
    assert set(found) == {f"{of}{kind}" for of in ("", "pca_", "tsne_") for kind in kinds}
    assert all(0.9 < value <= 1 for value in found.values())
    # The code is PCA's but for a turn and what 120 images leave of the directions.
    assert found["trustworthiness"] == pytest.approx(found["pca_trustworthiness"], abs=0.002)
    codes, pixels = made.split.images[:, :2].numpy(), made.split.images.numpy()
    assert found["trustworthiness"] == pytest.approx(by_definition(pixels, codes))
    assert measured(geometry, replace(made, batch_size=7)) == found


def test_tsne_is_drawn_in_two_dimensions_alone():
    found = measured(geometry, view(d=3))
    assert not any(name.startswith("tsne") for name in found)
    assert "pca_continuity" in found


def test_it_looks_at_few_images_and_at_no_fewer_than_four(monkeypatch):
    made = view(d=3)
    monkeypatch.setattr(module, "MOST_IMAGES", 50)
    few = measured(geometry, made)
    assert few == measured(geometry, made)
    monkeypatch.setattr(module, "MOST_NUMBERS", 6 * 40)
    assert measured(geometry, made) != few
    assert measured(geometry, replace(made, limit=3)) == {}


def test_encode_time_is_of_one_image():
    made = view()
    (name, one), *others = measured(encode_time, made).items()
    assert (name, others) == ("encode_microseconds", [])
    assert 0 < one < 1e5
    made = experiment()
    assert measured(encode_time, made.view(made.splits.test))[name] > 0


@pytest.mark.parametrize("d", [1, 3, 6])
def test_the_maximum_likelihood_dimension_of_uniform_points(d):
    """On a torus, where there is no edge: k - 2 in place of k - 1 takes away the bias."""
    n, k = 1500, 10
    angles = 2 * np.pi * np.random.default_rng(0).random((n, d))
    points = np.concatenate([np.cos(angles), np.sin(angles)], 1)
    curved = {1: 0.05, 3: 0.1, 6: 0.8}[
        d
    ]  # at this density, neighbours in 6-D are far on the circles
    assert mle(points, k) == pytest.approx(d, abs=curved + 4 * d / (n * (k - 1)) ** 0.5)


def test_the_maximum_likelihood_dimension_by_hand():
    points = np.array([[0.0], [1.0], [3.0], [10.0]])
    # two neighbours: 0: 1, 3; 1: 1, 2; 3: 2, 3; 10: 7, 9
    logs = np.log([3 / 1, 2 / 1, 3 / 2, 9 / 7])
    assert mle(points, 2) == pytest.approx(1 / logs.mean(), rel=1e-12)
    assert mle(np.concatenate([points, points]), 2) == pytest.approx(1 / logs.mean(), rel=1e-12)


def test_no_maximum_likelihood_dimension_of_too_few_points():
    assert mle(normal(5, 2), 5) is None
    assert mle(np.zeros((9, 2)), 5) is None
    assert mle(np.eye(30), 5) is None  # all distances are equal
    assert mle(np.array([[0.0], [np.nan], [1.0]]), 2) is None
