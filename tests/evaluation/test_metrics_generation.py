"""Distances between known Gaussians, sets that overlap in known shares, and a model that copies."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch
from parts import composed, experiment, grey

from vae_run.config.check import check
from vae_run.data.splits import Split
from vae_run.errors import ConfigError, DataError
from vae_run.evaluation.codes import evaluating
from vae_run.evaluation.metrics import fid as fid_module
from vae_run.evaluation.metrics.fid import as_bytes, fid, place, prepare
from vae_run.evaluation.metrics.generation import frechet, generation, overlap
from vae_run.evaluation.random_features import FEATURES, RandomConv
from vae_run.evaluation.samples import generated

NAMES = ("precision", "recall", "density", "coverage")


def normal(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def with_moments(mean: torch.Tensor, covariance: torch.Tensor, seed: int) -> torch.Tensor:
    """Points whose sample mean and covariance are exactly these."""
    points = normal(50, len(mean), seed)
    points = points - points.mean(0)
    white = torch.linalg.solve_triangular(
        torch.linalg.cholesky(torch.cov(points.T)), points.T, upper=False
    ).T
    return mean + white @ torch.linalg.cholesky(covariance).T


def test_frechet_of_known_gaussians():
    mean = torch.tensor([1.0, -2.0, 0.5]).double()
    a = with_moments(torch.zeros(3).double(), torch.diag(torch.tensor([1.0, 4, 9])).double(), 0)
    b = with_moments(mean, torch.diag(torch.tensor([4.0, 4, 1])).double(), 1)
    # |m|^2 plus, where covariances commute, the squared differences of standard deviations
    assert frechet(a, b) == pytest.approx(5.25 + 1 + 0 + 4, rel=1e-9)
    assert frechet(b, a) == pytest.approx(frechet(a, b), rel=1e-9)
    assert frechet(a, a) == pytest.approx(0, abs=1e-9)


def test_frechet_where_covariances_do_not_commute():
    """For 2 x 2, tr (S_a S_b)^(1/2) = sqrt(tr S_a S_b + 2 sqrt(det S_a S_b))."""
    s_a = torch.tensor([[2.0, 1.0], [1.0, 3.0]]).double()
    s_b = torch.tensor([[1.0, -0.5], [-0.5, 0.75]]).double()
    a, b = (with_moments(torch.zeros(2).double(), s, i) for i, s in enumerate((s_a, s_b)))
    product = s_a @ s_b
    root = (product.trace() + 2 * product.det().sqrt()).sqrt()
    expected = float(s_a.trace() + s_b.trace() - 2 * root)
    assert frechet(a, b) == pytest.approx(expected, rel=1e-9)


def test_frechet_of_fewer_points_than_dimensions():
    a = normal(5, 20)
    assert frechet(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet(a, a + 1) == pytest.approx(20, rel=1e-6)


def test_identical_and_distant_sets():
    a = normal(300, 6)
    same = overlap(a, a)
    assert same == pytest.approx(dict.fromkeys(NAMES, 1.0))
    assert set(overlap(a, a + 100).values()) == {0.0}
    # Radii are 0 among copies, and open balls of radius 0 are empty.
    assert overlap(a.repeat(6, 1), a.repeat(6, 1)) == dict.fromkeys(NAMES, 0.0)


@pytest.mark.parametrize("fakes", ["copies", "other points", "one point"])
def test_it_agrees_with_the_formulas_of_naeem_et_al(fakes):
    """Open balls, as `compute_prdc` of prdc 0.2 has them, with k = 3 and 5."""
    real = normal(60, 5, 1)
    fake = {"copies": real, "other points": normal(50, 5, 2), "one point": real[:1].repeat(60, 1)}
    apart = torch.cdist(real, fake[fakes], compute_mode="donot_use_mm_for_euclid_dist")

    def radii(points, k):
        own = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
        return own.sort(dim=1).values[:, k]

    narrow, wide = radii(real, 3)[:, None], radii(real, 5)[:, None]
    assert overlap(real, fake[fakes]) == pytest.approx(
        {
            "precision": float((apart < narrow).any(0).double().mean()),
            "recall": float((apart < radii(fake[fakes], 3)).any(1).double().mean()),
            "density": float((apart < wide).sum(0).double().mean() / 5),
            "coverage": float((apart.min(1).values < wide[:, 0]).double().mean()),
        }
    )


def test_two_samples_of_one_gaussian():
    """Density and coverage have known means: 1 and 1 - 2^-5 (Naeem et al. 2020, section 3.3)."""
    found = overlap(normal(1500, 8, 1), normal(1500, 8, 2))
    assert found["density"] == pytest.approx(1, abs=0.06)
    assert found["coverage"] == pytest.approx(1 - 2**-5, abs=0.02)


def test_dropped_modes_cost_recall_and_strange_ones_precision():
    near, far = normal(200, 4, 1), normal(200, 4, 2) + 50
    other = normal(200, 4, 3)
    found = overlap(torch.cat([near, far]), other)
    assert found["recall"] < 0.5
    assert found["coverage"] < 0.5
    assert found["precision"] > 0.9
    found = overlap(near, torch.cat([other, far]))
    assert found["precision"] < 0.5
    assert found["density"] < 0.6
    assert found["coverage"] > 0.9


def test_overlap_on_a_line_counted_by_hand():
    """Radii (third neighbours) of 0..9 are 2 or 3; 11.5 lies 2.5 from 9, whose radius is 3."""
    real = torch.arange(10.0).double()[:, None]
    fake = torch.tensor([[11.5], [12.5], [13.5], [30.0]]).double()
    found = overlap(real, fake)
    assert found["precision"] == 1 / 4
    # Radii of fake: 18.5, 17.5, 16.5 and 18.5: all ten lie within 18.5 of 11.5.
    assert found["recall"] == 1
    # Fifth neighbours: of 9 it is 4, at distance 5; of 8 at 4, 7 at 3, ... 11.5 is within those of
    # 9 and 8 (2.5, 3.5), 12.5 within those of 9 (3.5), 13.5 of 9 (4.5).
    assert found["density"] == pytest.approx(4 / (5 * 4))
    assert found["coverage"] == 2 / 10


def test_features_are_the_same_everywhere_and_see_what_they_should():
    torch.manual_seed(1)
    one, other = RandomConv(3), RandomConv(3)
    images = grey(4, (3, 9, 7)).images
    assert one(images).shape == (4, FEATURES)
    assert torch.equal(one(images), other(images))
    assert not torch.allclose(one(images), one(images.flip(3)))
    assert not list(one.parameters())


def view(*words: str, n: int = 60):
    made = experiment(*words, n=n, shape=(1, 8, 8))
    return made.view(made.splits.test)


def measured(metric, view):
    with evaluating(view.model):
        return metric(view)


def test_it_tells_whose_samples_they_are_and_how_many():
    made = view()
    torch.manual_seed(5)
    state = torch.get_rng_state()
    found = measured(generation, made)
    assert torch.equal(torch.get_rng_state(), state)
    assert set(found) == {
        *(f"{name}_random_conv" for name in NAMES),
        *("frechet_random_conv", "frechet_random_conv_train", "generated_images"),
    }
    assert found["generated_images"] == 41
    assert found["frechet_random_conv"] > 2 * found["frechet_random_conv_train"]
    assert measured(generation, replace(made, batch_size=7)) == found


def test_samples_that_are_the_images_are_perfect(monkeypatch):
    made = view()
    monkeypatch.setattr(
        "vae_run.evaluation.metrics.generation.generated",
        lambda few: (b.target for b in few.batches()),
    )
    found = measured(generation, made)
    assert found["frechet_random_conv"] == pytest.approx(0, abs=1e-5)
    for name in ("precision", "recall", "coverage"):
        assert found[f"{name}_random_conv"] == 1


def test_samples_come_from_the_prior_and_from_the_labels_of_the_images():
    made = view()
    with evaluating(made.model):
        images = torch.cat(list(generated(replace(made, batch_size=16))))
    assert images.shape == (41, 1, 8, 8)
    split = made.split
    labelled = replace(split, labels=torch.arange(len(split)) % 2)
    conditional = experiment("condition=label", n=60, shape=(1, 8, 8))
    # Classes are those of training: 60 images, each a class of its own.
    with evaluating(conditional.model):
        images = torch.cat(list(generated(conditional.view(labelled))))
        again = torch.cat(
            list(generated(conditional.view(replace(labelled, labels=1 - labelled.labels))))
        )
    assert images.shape == again.shape == (41, 1, 8, 8)
    assert not torch.equal(images, again)


def test_binary_pixels_are_drawn_and_grey_ones_are_means():
    made = view()
    binary = replace(made.split, images=(made.split.images > 0.5).to(torch.uint8))
    with evaluating(made.model):
        grey_samples = torch.cat(list(generated(made)))
        drawn = torch.cat(list(generated(replace(made, split=binary))))
    assert 0 < grey_samples.min() < grey_samples.max() < 1
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    spread = (grey_samples * (1 - grey_samples)).sum().sqrt() / drawn.numel()
    assert abs(drawn.mean() - grey_samples.mean()) < 4 * spread
    gaussian = view("likelihood=gaussian")
    with evaluating(gaussian.model):
        means = torch.cat(list(generated(replace(gaussian, split=binary))))
    assert len(means.unique()) > 2


def test_nothing_without_a_density_to_draw_from():
    assert measured(generation, view("model=ae")) == {}  # not fitted yet
    assert measured(generation, view("prior=flat")) == {}
    made = view()
    assert measured(generation, replace(made, limit=5)) == {}
    flat = experiment(shape=(7,))
    assert measured(generation, flat.view(flat.splits.test)) == {}
    with pytest.raises(ConfigError, match="generation: a flat prior has no samples"):
        check(composed("evaluation=generation", "prior=flat"))


def test_nothing_where_pixels_would_be_clipped():
    made = view("likelihood=gaussian")
    below = replace(made.split, images=made.split.images - 0.01)
    for metric in (generation, fid):  # fid ends before it asks for its libraries and weights
        assert measured(metric, replace(made, split=below)) == {}
    assert measured(generation, replace(made, train=below)) == {}
    assert measured(generation, made) != {}


def test_bytes_are_rounded_and_have_three_colours():
    images = torch.tensor([[0.0, 0.5 / 255 + 1e-4, 0.999, 1.0, -0.3, 1.7]]).reshape(1, 1, 2, 3)
    found = as_bytes(images)
    assert found.dtype == torch.uint8
    assert found.shape == (1, 3, 2, 3)
    assert found[0, 2].flatten().tolist() == [0, 1, 255, 255, 0, 255]
    levels = torch.arange(256) / 255
    assert torch.equal(
        as_bytes(levels.reshape(1, 1, 16, 16))[0, 0].flatten(), torch.arange(256).byte()
    )


@pytest.fixture
def libraries(monkeypatch, tmp_path):
    """torchmetrics and torch-fidelity as if installed, no network, and an empty torch.hub."""
    monkeypatch.setattr(fid_module, "find_spec", lambda name: name)
    monkeypatch.setattr(fid_module, "reachable", lambda *_: False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub" / "checkpoints"


def test_fid_without_weights_names_the_file_and_its_place(libraries, vae_run):
    with pytest.raises(DataError) as caught:
        measured(fid, view())
    assert str(libraries) in str(caught.value)
    assert fid_module.WEIGHTS in str(caught.value)
    finished = vae_run("evaluation=fid", "trainer.epochs=1", "hydra.run.dir=run")
    assert finished.code == 3
    assert fid_module.WEIGHTS in finished.said
    assert "epoch" not in finished.said  # found out before training


def test_fid_refuses_other_weights(libraries):
    libraries.mkdir(parents=True)
    place().write_bytes(b"other")
    with pytest.raises(DataError, match=r"damaged, its SHA-256 does not begin with 6726825d"):
        prepare()


def test_fid_without_its_libraries_says_what_to_install(monkeypatch):
    monkeypatch.setattr(fid_module, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install torchmetrics torch-fidelity"):
        prepare()


@pytest.mark.skipif(
    not (find_spec("torchmetrics") and find_spec("torch_fidelity")), reason="needs torch-fidelity"
)
def test_fid_of_a_set_with_itself_is_nothing(libraries, monkeypatch):
    """With random weights in place of the trained ones."""
    from torch_fidelity import feature_extractor_inceptionv3 as inception

    torch.manual_seed(0)
    monkeypatch.setattr(inception, "load_state_dict_from_url", lambda *_, **__: None)
    monkeypatch.setattr(inception.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
    weights = inception.FeatureExtractorInceptionV3("x", ["64"]).state_dict()
    monkeypatch.undo()
    monkeypatch.setenv("TORCH_HOME", str(libraries.parents[1]))
    libraries.mkdir(parents=True)
    torch.save(weights, place())
    digest = hashlib.sha256(place().read_bytes()).hexdigest()
    named = place().with_name(f"weights-{digest[:8]}.pth")
    place().rename(named)
    monkeypatch.setattr(fid_module, "WEIGHTS", named.name)
    images = grey(3, (1, 8, 8)).images
    made = replace(view(), split=Split(images))
    monkeypatch.setattr(fid_module, "generated", lambda few: iter([images]))
    found = measured(fid, made)
    assert found["fid"] == pytest.approx(0, abs=1e-3)
    assert found["fid_images"] == 3
