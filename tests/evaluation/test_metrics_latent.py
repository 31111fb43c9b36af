"""Mutual information and the aggregate posterior's gap where both are known, on Gaussians."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from parts import composed, experiment, grey
from torch.distributions import Independent, Normal

from vae_run.config.check import check
from vae_run.corruptions import NoCorruption
from vae_run.data.splits import Split
from vae_run.evaluation.codes import evaluating
from vae_run.evaluation.metrics import latent as module
from vae_run.evaluation.metrics.latent import latent, pairwise
from vae_run.evaluation.metrics.objective import objective
from vae_run.evaluation.view import View
from vae_run.models.build import build_model
from vae_run.objectives import ELBO


def measured(metric, view):
    with evaluating(view.model):
        return metric(view)


def linear(images, weights, scales, posterior="normal"):
    """The view of `images` [N, F] with q(z|x) = N(W x, diag(scales^2)), W [D, F]."""
    words = [f"latent_dim={len(weights)}", "network.widths=[]", f"posterior={posterior}"]
    words += ["likelihood=gaussian"]
    model = build_model(check(composed(*words)), images.shape[1:]).eval()
    with torch.no_grad():
        head = model.posterior.projection
        head.weight.zero_()
        head.bias.zero_()
        head.weight[: len(weights)] = weights
        head.bias[len(weights) : 2 * len(weights)] = 2 * torch.tensor(scales).log()
    return View(model, ELBO(), NoCorruption(), Split(images), latent_dim=len(weights))


def gaussian(n, features=1, seed=0):
    return torch.randn(n, features, generator=torch.Generator().manual_seed(seed))


def kl_of(view):
    return measured(objective, view)["kl"]


@pytest.mark.parametrize("posterior", ["normal", "full_normal"])
def test_images_whose_posteriors_do_not_meet_are_told_apart(posterior):
    """I = log N exactly; what is left of the KL is the gap."""
    images = torch.tensor([[-3.0], [-1.0], [1.0], [3.0]]).repeat_interleave(2, 0)
    images[1::2] += 0.5
    view = linear(images, torch.tensor([[10.0], [0.0]]), [0.1, 1.0], posterior)
    found = measured(latent, view)
    assert found["mutual_information"] == pytest.approx(math.log(8), rel=1e-6)
    assert found["aggregate_gap"] == pytest.approx(kl_of(view) - math.log(8), rel=1e-5)


def test_codes_that_say_nothing_carry_no_information():
    view = linear(gaussian(300), torch.zeros(2, 1), [0.5, 2.0])
    found = measured(latent, view)
    assert found["mutual_information"] == pytest.approx(0, abs=1e-6)
    exact = sum(0.5 * (s**2 - 1) - math.log(s) for s in (0.5, 2.0))
    assert found["aggregate_gap"] == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("a", [0.3, 0.8])
def test_the_channel_of_gaussians(a):
    """x ~ N(0, 1), z = a x + s e: I = 1/2 log(1 + a^2 / s^2), and no gap where a^2 + s^2 = 1.

    Of 2,000 images, whose log is 7.6, the bias is small beside the noise of a sample.
    """
    s = math.sqrt(1 - a**2)
    view = linear(gaussian(2000), torch.tensor([[a]]), [s])
    found = measured(latent, view)
    exact = 0.5 * math.log(1 + a**2 / s**2)
    assert found["mutual_information"] == pytest.approx(exact, abs=0.02)
    assert found["aggregate_gap"] == pytest.approx(0, abs=0.005)
    total = found["mutual_information"] + found["aggregate_gap"]
    assert total == pytest.approx(kl_of(view), rel=1e-6)


def test_the_aggregate_posterior_that_is_wider_than_the_prior_leaves_a_gap():
    """q(z) = N(1, 4 + 0.25): the gap is a KL between two normals."""
    images = gaussian(2000)
    images = (images - images.mean()) / images.std() + 0.5
    view = linear(images, torch.tensor([[2.0]]), [0.5])
    found = measured(latent, view)
    variance = 4.25
    exact = 0.5 * (variance + 1.0 - math.log(variance) - 1)
    assert found["aggregate_gap"] == pytest.approx(exact, abs=0.05)
    exact = 0.5 * math.log(variance / 0.25)
    assert found["mutual_information"] == pytest.approx(exact, abs=0.05)


def test_more_images_can_be_told_apart_by_more_nats():
    """The bound log N, and that the estimate rises to it."""
    found = []
    for n in (10, 100, 1000):
        view = linear(gaussian(n, 8), 20 * torch.eye(8), [0.1] * 8)
        found.append(measured(latent, view)["mutual_information"])
        assert found[-1] == pytest.approx(math.log(n), rel=1e-3)


def test_densities_of_all_pairs_are_torchs():
    z = gaussian(7, 3, 1)
    loc, scale = 30 * gaussian(5, 3, 2), 0.01 + gaussian(5, 3, 3).abs()
    q = Independent(Normal(loc, scale), 1)
    exact = Independent(Normal(loc.double(), scale.double()), 1).log_prob(z[:, None].double())
    torch.testing.assert_close(pairwise(q, z), exact, rtol=1e-9, atol=0)


def test_families_without_a_kl_have_none_of_its_parts():
    for words in (("model=ae",), ("prior=flat",)):
        made = experiment(*words)
        assert set(measured(latent, made.view(made.splits.val))) == {"code_correlation"}
    made = experiment("latent_dim=1")
    found = measured(latent, made.view(made.splits.val))
    assert set(found) == {"mutual_information", "aggregate_gap"}


@pytest.mark.parametrize(
    "words",
    [("posterior=flow",), ("prior=mixture",), ("posterior=von_mises_fisher", "prior=spherical")],
    ids=str,
)
def test_every_kind_of_density_is_split_in_two(words, monkeypatch):
    monkeypatch.setattr(module, "MOST_OTHERS", 41)
    made = experiment(*words)
    view = made.view(made.splits.test)
    found = measured(latent, view)
    total = found["mutual_information"] + found["aggregate_gap"]
    assert total == pytest.approx(kl_of(view), rel=1e-5, abs=1e-6)
    assert 0 <= found["mutual_information"] <= math.log(41)


def test_correlation_of_codes():
    """Two dimensions the same, one the opposite of both, one alone, one that never moves."""
    x = gaussian(500, 2)
    basis, _ = torch.linalg.qr(x - x.mean(0))  # uncorrelated
    weights = torch.tensor([[1.0, 0], [2, 0], [-1, 0], [0, 1], [0, 0]])
    view = linear(basis * 10, weights, [1.0] * 5)
    found = measured(latent, view)["code_correlation"]
    assert found == pytest.approx(3 / 6, abs=1e-5)  # of 6 pairs, 3 are wholly correlated
    alone = linear(basis * 10, torch.eye(2), [1.0] * 2)
    assert measured(latent, alone)["code_correlation"] == pytest.approx(0, abs=1e-5)


def test_figures_depend_neither_on_the_batch_size_nor_on_the_time():
    made = experiment("corruption=gaussian")
    view = made.view(grey(300))
    whole = measured(latent, view)
    assert set(whole) == {"mutual_information", "aggregate_gap", "code_correlation"}
    torch.rand(10)
    assert measured(latent, view) == whole
    for batch_size in (7, 299):
        found = measured(latent, replace(view, batch_size=batch_size))
        assert found == pytest.approx(whole, rel=1e-6)
