"""Pictures of codes: what is handed to them has known answers, and is where it should be."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from parts import SHAPE, experiment, grey
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    Normal,
    kl_divergence,
)

from vae_run import plots
from vae_run.evaluation import principal_components
from vae_run.evaluation.codes import evaluating
from vae_run.evaluation.few_images import shown_batch
from vae_run.evaluation.pictures.aggregate_posterior import _marginal
from vae_run.evaluation.pictures.anomaly_scores import SCORES
from vae_run.evaluation.pictures.codes import _projected_mixture
from vae_run.evaluation.pictures.interpolations import arc
from vae_run.evaluation.pictures.spectrum import principal_values
from vae_run.evaluation.selection import own_pictures
from vae_run.evaluation.view import View
from vae_run.plots import Density, Gaussian, Point, Scores
from vae_run.plots.canvas import BLUE, ORANGE, VERMILLION, Sheet, rgb
from vae_run.plots.dimensions import IDLE
from vae_run.plots.scatter import CLASSES, apart

Picture = NDArray[np.uint8]
NAN = float("nan")


def where(picture: Picture, colour: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """(rows, columns) of the pixels of a colour, those of keys in the heading left out."""
    y, x = np.nonzero((picture == rgb(colour)).all(axis=-1))
    below = y > 75
    return y[below], x[below]


def view_of(*words: str) -> View:
    made = experiment(*words)
    return replace(made.view(made.splits.val), train=made.splits.train)


class Given:
    """What a figure was given, in place of being drawn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        monkeypatch.setattr(f"vae_run.plots.{name}", self)

    def __call__(self, *arguments: Any, **keys: Any) -> Picture:
        self.arguments, self.keys = arguments, keys
        return np.zeros((1, 1, 3), dtype=np.uint8)


def drawn(view: View, name: str) -> Any:
    with evaluating(view.model):
        return own_pictures()[name](view)


def test_the_heights_of_the_bars_are_the_nats():
    picture = plots.kl_bars([1.0, 4.0, NAN, 2.0], [True, False, True, True], ["note"])
    heights = {}
    for name, colour in (("active", BLUE), ("idle", IDLE)):
        y, x = where(picture, colour)
        for column in np.unique(x):
            heights.setdefault(name, []).append((column, (y[x == column]).size))
    idle = [height for _, height in heights["idle"]]
    blue = [height for _, height in heights["active"]]
    tall = max(idle)
    assert max(blue) == pytest.approx(tall / 2, abs=2)
    assert sorted({round(height / tall, 1) for height in blue if height > 5}) == pytest.approx(
        [0.2, 0.5], abs=0.06
    )
    last_idle, first_blue = heights["idle"][-1][0], heights["active"][0][0]
    assert last_idle < first_blue, "the largest stands first"


def test_bars_of_nothing_and_of_many_dimensions_are_drawn():
    for nats in ([NAN], [0.0], [-0.1, 0.2], list(np.linspace(3, 0, 500))):
        picture = plots.kl_bars(nats, [n > 0.1 for n in nats], [])
        assert picture.shape[2] == 3


def test_kl_bars_are_the_closed_form_over_all_images(monkeypatch):
    view, given = view_of(), Given(monkeypatch, "kl_bars")
    drawn(view, "kl_per_dimension")
    nats, active, notes = given.arguments
    with evaluating(view.model):
        q = view.model.encode(view.split.images)
    prior = Independent(Normal(torch.zeros(3), torch.ones(3)), 1)
    assert sum(nats) == pytest.approx(float(kl_divergence(q, prior).double().mean()), rel=1e-5)
    assert active == (q.mean.double().var(0) > 0.01).tolist()
    assert "37 images" in notes[0]


@pytest.mark.parametrize("words", [("model=ae",), ("prior=flat",), ("posterior=full_normal",)])
def test_no_bars_where_the_kl_does_not_factorise(words):
    assert drawn(view_of(*words), "kl_per_dimension") is None


def test_spectra_are_eigenvalues_of_codes_and_pixels(monkeypatch):
    view, given = view_of(), Given(monkeypatch, "spectrum")
    drawn(view, "spectrum")
    codes, pca, _ = given.arguments
    with evaluating(view.model):
        means = view.model.encode(view.split.images).mean.double().numpy()
    pixels = view.split.images.flatten(1).double().numpy()
    for values, points in ((codes, means), (pca, pixels)):
        expected = np.linalg.eigvalsh(np.cov(points.T))[::-1][:3]
        assert values == pytest.approx(expected.tolist(), rel=1e-5)
    assert drawn(view_of("latent_dim=1"), "spectrum") is None


def test_few_images_of_many_pixels_have_the_same_spectrum():
    points = torch.randn(12, 40, generator=torch.Generator().manual_seed(0)).double()
    expected = np.linalg.eigvalsh(np.cov(points.numpy().T))[::-1][:12]
    assert principal_values(points).tolist() == pytest.approx(expected, abs=1e-9)


def test_the_spectrum_is_drawn_as_shares():
    picture = plots.spectrum([8.0, 1.0, 1.0], [1.0, 1.0, 1.0], ["note"])
    y, x = where(picture, ORANGE)
    assert y.max() - y.min() < 10, "an even spectrum is flat"
    y, x = where(picture, BLUE)
    assert y[x == x.max()].mean() - y[x == x.min()].mean() > 150
    assert plots.spectrum([0.0, 0.0], [NAN, 1.0], []).shape[2] == 3


def test_marginals_stand_with_the_priors_density(monkeypatch):
    view, given = view_of("latent_dim=14"), Given(monkeypatch, "aggregate_posterior")
    drawn(view, "aggregate_posterior")
    marginals, notes, noun = given.arguments
    assert noun == "image"
    assert len(marginals) == 12
    assert notes[-1] == "12 of 14 dimensions"
    for marginal in marginals:
        assert len(marginal.samples) == 37
        at_zero = np.interp(0.0, marginal.x, marginal.density)
        assert at_zero == pytest.approx(1 / math.sqrt(2 * math.pi), rel=1e-3)
    kl = [float(marginal.name.split()[2]) for marginal in marginals]
    assert kl == sorted(kl, reverse=True)
    drawn(view_of("prior=flat"), "aggregate_posterior")
    assert all(m.density is None for m in given.arguments[0])


def test_a_density_from_samples_is_near_the_true_one():
    own = np.random.default_rng(0).normal(2.0, 0.5, 20_000)
    marginal = _marginal("z1", own[:100], own)
    true = np.exp(-0.5 * ((marginal.x - 2) / 0.5) ** 2) / (0.5 * math.sqrt(2 * math.pi))
    assert np.abs(marginal.density - true).max() < 0.08


def test_dots_are_at_their_places_in_the_colours_of_their_classes():
    rng = np.random.default_rng(0)
    left = rng.normal([-3, 2], 0.1, (40, 2))
    right = rng.normal([3, -2], 0.1, (40, 2))
    points = np.concatenate([left, right, [[NAN, 0.0]]])
    picture = plots.scatter(points, ["a"] * 40 + ["b"] * 41, ("z1", "z2"), ["note"])
    plot = picture[:, :580].astype(int)  # without the key; dots let a tenth of white through
    shades = [0.9 * rgb(colour) + 0.1 * 255 for colour in CLASSES[:2]]
    near = [np.abs(plot - shade).sum(-1) < 20 for shade in shades]
    (ya, xa), (yb, xb) = (np.nonzero(found) for found in near)
    assert np.median(xa) < 150 < 450 < np.median(xb)
    assert np.median(ya) < np.median(yb), "z2 grows upwards"


@pytest.mark.parametrize("labels", [None, [5] * 9, list(range(9)), ["x" * 80, *"bcdefghi"]])
def test_any_labels_can_be_drawn(labels):
    points = np.random.default_rng(0).normal(size=(9, 2))
    assert plots.scatter(points, labels, ("z1", "z2"), [""]).shape[2] == 3
    assert plots.scatter(points * 0, labels, ("z1", "z2"), [""]).shape[2] == 3


def test_classes_beyond_fifty_are_drawn_as_one():
    points = np.random.default_rng(0).normal(size=(120, 2))
    picture = plots.scatter(points, list(range(120)), ("z1", "z2"), ["note"])
    assert (np.abs(picture.astype(int) - rgb(BLUE)).sum(-1) < 40).any()


def test_an_ellipse_encloses_the_mass_that_it_names():
    covariance = np.array([[4.0, 1.5], [1.5, 1.0]])
    gaussian = Gaussian(np.array([1.0, -2.0]), covariance, (0.5, 0.95))
    drawn_points = np.random.default_rng(0).multivariate_normal([1.0, -2.0], covariance, 50_000)
    inverse = np.linalg.inv(covariance)
    for mass in gaussian.masses:
        curve = gaussian.ellipse(mass) - gaussian.mean
        distance = np.einsum("ni,ij,nj->n", curve, inverse, curve)
        assert distance == pytest.approx(distance[0]), "one Mahalanobis distance all around"
        centred = drawn_points - gaussian.mean
        inside = np.einsum("ni,ij,nj->n", centred, inverse, centred) < distance[0]
        assert inside.mean() == pytest.approx(mass, abs=0.01)
    furthest = 1 + 2 * math.sqrt(-2 * math.log(0.05))  # the standard deviation of x is 2
    assert gaussian.extent()[:, 0].max() == pytest.approx(furthest, rel=1e-3)


def test_the_gaussian_fitted_to_codes_is_exact(monkeypatch):
    view, given = view_of("model=ae", "latent_dim=5"), Given(monkeypatch, "scatter")
    codes = torch.randn(200, 5, generator=torch.Generator().manual_seed(0)) @ torch.randn(5, 5)
    view.model.prior.fit(codes)
    drawn(view, "codes")
    _, _, _, notes, density = given.arguments
    assert "a Gaussian fitted to the codes" in notes[1]
    with evaluating(view.model):
        means = view.model.encode(view.split.images).mean.double()
    plane = torch.linalg.eigh(means.T.cov())[1].flip(-1)[:, :2]
    expected = plane.T @ codes.double().T.cov() @ plane
    assert np.abs(density.covariance) == pytest.approx(expected.abs().numpy(), rel=1e-3)


def test_the_projection_of_a_mixture_is_exact():
    torch.manual_seed(0)
    mixture = MixtureSameFamily(
        Categorical(logits=torch.tensor([0.0, 1.0])),
        Independent(Normal(torch.randn(2, 4) * 3, torch.rand(2, 4) + 0.2), 1),
    )
    plane = torch.linalg.qr(torch.randn(4, 2, dtype=torch.double))[0]
    projected = _projected_mixture(mixture, plane)
    flat = mixture.sample((20_000,)).double() @ plane
    assert projected.mean.numpy() == pytest.approx(flat.mean(0).numpy(), abs=0.1)
    assert projected.variance.numpy() == pytest.approx(flat.var(0).numpy(), rel=0.05)


@pytest.mark.parametrize("latent_dim", [2, 5])
def test_contours_enclose_the_mass_that_they_name(monkeypatch, latent_dim):
    view, given = view_of(f"latent_dim={latent_dim}"), Given(monkeypatch, "scatter")
    drawn(view, "codes")
    points, _, names, _, density = given.arguments
    assert points.shape == (37, 2)
    assert names[0].startswith("z0" if latent_dim == 2 else "first principal direction")
    assert density.mean.tolist() == [0, 0]
    assert density.covariance == pytest.approx(np.eye(2), abs=1e-12)
    assert density.masses == (0.5, 0.95)
    with evaluating(view.model):
        means = view.model.encode(view.split.images).mean.double()
    if latent_dim == 2:
        assert points == pytest.approx(means.numpy(), rel=1e-6)
    else:  # the plane of the largest variance, not shifted
        largest = torch.linalg.eigvalsh(means.T.cov())[-2:].sum()
        assert points.var(0, ddof=1).sum() == pytest.approx(float(largest), rel=1e-6)
        assert np.linalg.norm(points.mean(0)) <= float(means.mean(0).norm()) + 1e-9


def test_contours_are_drawn_around_the_codes():
    axis = np.linspace(-3, 3, 61)
    x, y = np.meshgrid(axis, axis)
    density = Density(axis, axis, np.exp(-(x**2 + y**2) / 2), {"50 %": 0.5})
    picture = plots.scatter(np.zeros((3, 2)), None, ("z1", "z2"), ["note"], density)
    dark = np.nonzero(picture[74:592, 70:588].astype(int).sum(-1) < 150)
    assert dark[0].max() - dark[0].min() == pytest.approx(dark[1].max() - dark[1].min(), abs=12)
    assert dark[0].max() - dark[0].min() > 300


FAMILIES = [
    ("model=ae", "latent_dim=2"),
    pytest.param(("prior=flat", "latent_dim=2"), marks=pytest.mark.scale),
    ("prior=mixture",),
    pytest.param(("prior=vamp", "latent_dim=2"), marks=pytest.mark.scale),
    ("posterior=flow",),
    ("model=hyperspherical_vae",),
    ("latent_dim=1",),
]


@pytest.mark.parametrize("words", FAMILIES, ids=" ".join)
def test_every_family_is_drawn_or_left_out(words):
    view = view_of(*words)
    found = {name: drawn(view, name) for name in own_pictures()}
    for name, picture in found.items():
        assert picture is None or (picture.dtype == np.uint8 and picture.std() > 1), name
    assert found["aggregate_posterior"] is not None
    assert (found["codes"] is None) == (view.latent_dim == 1)


def test_anomalies_are_counted_with_their_roc_curve(monkeypatch):
    view, given = view_of(), Given(monkeypatch, "anomaly_scores")
    assert drawn(view, "anomaly_scores") is None
    drawn(replace(view, others=grey(29, SHAPE, 9)), "anomaly_scores")
    panels, notes, noun = given.arguments
    assert noun == "images"
    assert [panel.title for panel in panels] == list(SCORES.values())
    for panel in panels:
        normal, strange = panel.normal, panel.anomalous
        assert (len(normal), len(strange)) == (37, 29)
        wins = (strange[:, None] > normal).mean() + (strange[:, None] == normal).mean() / 2
        assert panel.auroc == pytest.approx(wins)
        false, true = panel.roc
        assert np.trapezoid(true, false) == pytest.approx(wins), "the area under the curve"
    assert notes[:1] == ["37 test images of the classes trained on, 29 of the others"]


def test_anomalous_scores_lie_to_the_right_above_an_axis(axes):
    rng = np.random.default_rng(0)
    curve = np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 1.0])
    panels = [Scores("score", rng.normal(0, 1, 500), rng.normal(8, 1, 500), 1.0, curve)]
    picture = plots.anomaly_scores(panels, ["note"])
    _, normal = where(picture, BLUE)
    _, strange = where(picture, VERMILLION)
    assert normal.max() < np.median(strange)
    histogram, roc = axes
    assert histogram.get_ylabel() == "% of the images"
    assert (roc.get_xlim(), roc.get_ylim()) == ((0, 100), (0, 100))
    assert roc.lines[-1].get_ydata().tolist() == [0, 100, 100]
    nothing = Scores("t", np.zeros(1), np.array([NAN]), 0.5, curve)
    assert plots.anomaly_scores([nothing], []).shape[2] == 3


def test_the_frontier_has_rate_to_the_right_and_distortion_upwards():
    points = [Point("4", 2.0, 90.0), Point("0.5", 20.0, 70.0), Point("nan", NAN, 1.0)]
    picture = plots.frontier({"": points}, ["note"])
    y, x = where(picture, BLUE)
    assert y[x <= x.min() + 3].mean() < y[x >= x.max() - 3].mean()
    assert plots.frontier({"a": points, "b": []}, []).shape[2] == 3


def test_intervals_stand_around_the_points_of_the_frontier(axes):
    points = [Point("4", 2.0, 90.0, 0.5, 3.0), Point("1", 9.0, 80.0)]
    plots.frontier({"": points}, ["note"])
    bars = [each for each in axes[0].collections if hasattr(each, "get_segments")]
    ends = np.concatenate([np.array(s) for each in bars for s in each.get_segments() if len(s)])
    known = ends[np.isfinite(ends).all(1)]
    assert {(1.5, 90.0), (2.5, 90.0), (2.0, 87.0), (2.0, 93.0)} <= set(map(tuple, known.tolist()))


def test_names_of_classes_do_not_cover_each_other():
    places, sizes = np.zeros((6, 2)), np.full((6, 2), [20.0, 18.0])
    found = apart(places, sizes)
    for i in range(6):
        for j in range(i):
            assert (np.abs(found[i] - found[j]) >= sizes[i] - 1e-6).any()
    far = np.array([[0.0, 0.0], [100.0, 0.0]])
    assert np.array_equal(apart(far, sizes[:2]), far), "what is apart stays where it is"


def test_only_active_dimensions_are_traversed(monkeypatch):
    view, given = view_of("latent_dim=6"), Given(monkeypatch, "traversals")
    head = view.model.posterior.projection
    with torch.no_grad():
        head.weight[:6] *= torch.tensor([0.0, 9.0, 0.0, 0.0, 9.0, 0.0])[:, None]
    drawn(view, "traversals")
    images, _, names, note = given.arguments
    assert len(images) == 2
    assert sorted(name.split()[0] for name in names) == ["z1", "z4"]
    assert "the 2 active of 6 dimensions" in note
    with torch.no_grad():
        head.weight[:6] = 0
    drawn(view, "traversals")
    assert len(given.arguments[0]) == 1
    assert "none of 6 dimensions is active" in given.arguments[3]
    code, same = view_of("model=ae", "latent_dim=6"), torch.tensor([1.0, 0, 1, 1, 0, 1])
    with torch.no_grad():
        code.model.posterior.projection.weight *= same[:, None]
    drawn(code, "traversals")
    assert len(given.arguments[0]) == 4


def test_a_conditional_model_has_a_plane_for_each_class(monkeypatch):
    view, given = view_of("latent_dim=2", "condition=label"), Given(monkeypatch, "manifolds")
    drawn(view, "manifold")
    planes, axis, names, note = given.arguments
    classes = view.model.classes.tolist()[:12]
    assert planes.shape == (len(classes), 7, 7, *SHAPE)
    assert names == [str(label) for label in classes]
    assert note.endswith(f"12 of {len(view.model.classes)} classes")
    corner = torch.stack([axis[0, 0], axis[1, 6]])[None]
    with evaluating(view.model):
        for label, plane in zip(classes, planes, strict=True):
            expected = view.model.decode(corner, torch.tensor([label])).mean
            assert torch.allclose(plane[6, 0], expected[0], atol=1e-5)
    one = Given(monkeypatch, "manifold")
    drawn(replace(view, manifold_label=classes[1]), "manifold")
    assert f"class {classes[1]}" in one.arguments[2]


def test_of_deterministic_codes_no_prior_is_named(monkeypatch):
    view, keys = view_of("model=ae"), []
    view.model.prior.fit(torch.randn(50, 3))
    monkeypatch.setattr(Sheet, "key", lambda self, x, y, entries, **_: keys.append(entries))
    monkeypatch.setattr(Sheet, "text", lambda self, x, y, string, **_: keys.append(string))
    drawn(view, "aggregate_posterior")
    said = " ".join(" ".join(each) if isinstance(each, dict) else each for each in keys)
    assert "a Gaussian fitted to the codes" in said
    assert "prior" not in said
    assert "q(z|x)" not in said
    assert "Distribution of the codes" in said


def test_components_are_those_of_a_linear_decoder(monkeypatch):
    view, given = (
        view_of("model=linear_ae", "likelihood=gaussian", "network.widths=[]"),
        Given(monkeypatch, "samples"),
    )
    decoder = view.model
    drawn(view, "components")
    cells, *_ = given.arguments
    with evaluating(decoder):
        zero, unit = decoder.decode(torch.eye(4, 3).roll(1, 0)).mean[:2]
    added = unit - zero
    expected = 0.5 + 0.5 * added / added.abs().max()
    assert any(torch.allclose(cell, expected, atol=1e-4) for cell in cells[1:])
    assert drawn(view_of("model=ae"), "components") is None, "that of a deep decoder are not"


def test_the_scree_plot_has_the_eigenvalues_of_the_training_images(monkeypatch):
    view, given = view_of(), Given(monkeypatch, "scree")
    drawn(view, "scree")
    shares, kept, notes = given.arguments
    pixels = view.train.images.flatten(1).double().numpy()
    values = np.linalg.eigvalsh(np.cov(pixels.T))[::-1]
    assert kept == 3
    assert shares == pytest.approx((values / values.sum())[: len(shares)].tolist(), abs=1e-6)
    assert f"{sum(shares[:3]):.1%}".replace("%", " %") in notes[0]
    monkeypatch.setattr(principal_components, "MOST_PIXELS", 10)
    found, total = principal_components.leading_values(view.train, 4)
    exact = np.cov(pixels.T, bias=True)
    assert total == pytest.approx(np.trace(exact), rel=1e-5)
    assert found.tolist() == pytest.approx(np.linalg.eigvalsh(exact)[::-1][:4].tolist(), rel=0.02)


def test_an_arc_turns_evenly_about_the_origin():
    start, end = torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([[0.0, 2.0, 0.0]])
    t = torch.tensor([0.0, 1 / 3, 0.5, 1.0])[:, None]
    expected = [[math.cos(a) * 2, math.sin(a) * 2, 0] for a in (0, math.pi / 6, math.pi / 4)]
    found = arc(start, end, t)
    assert torch.allclose(found, torch.tensor([*expected, [0.0, 2.0, 0.0]]), atol=1e-6)
    assert torch.allclose(arc(start, 3 * start, t), start * (1 + 2 * t))
    assert torch.isfinite(arc(start, -start, t)).all()
    assert torch.isfinite(arc(start, 0 * start, t)).all()


def test_both_ways_between_images_stand_below_each_other(monkeypatch):
    view, given = view_of(), Given(monkeypatch, "interpolations")
    drawn(view, "interpolations")
    images, note, names = given.arguments
    assert names == ["linear", "spherical"] * 6
    assert note.startswith("linear and spherical")
    assert torch.equal(images[0::2, 0], images[1::2, 0]), "both begin at one image"
    assert torch.allclose(images[0::2, -1], images[1::2, -1], atol=1e-6)
    assert not torch.allclose(images[0::2, 5], images[1::2, 5])
    with evaluating(view.model):
        first = view.model.reconstruct(shown_batch(view, 16).target[:6])
    assert torch.allclose(images[0::2, 0], first, atol=1e-5)
    drawn(view_of("model=ae"), "interpolations")
    assert given.arguments[2] == []
