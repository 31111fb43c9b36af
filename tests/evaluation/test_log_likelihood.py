"""Importance sampling against the linear-Gaussian model's exact log p(x)."""

from __future__ import annotations

import math
import resource
import sys
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from linear_gaussian import OBLIQUE, ORTHOGONAL, D, LinearGaussian
from parts import composed, experiment

from vae_run.config.check import check
from vae_run.corruptions import NoCorruption
from vae_run.data.splits import Split
from vae_run.errors import ConfigError
from vae_run.evaluation.codes import evaluating
from vae_run.evaluation.metrics import log_likelihood as module
from vae_run.evaluation.metrics.log_likelihood import each_image, log_likelihood
from vae_run.evaluation.metrics.objective import objective
from vae_run.evaluation.view import View, spaced
from vae_run.models.build import build_model
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.objectives import ELBO

IMAGES = 700  # more than two chunks of noise, the last one not full


def view_of(linear: LinearGaussian, samples: int) -> View:
    split = Split(linear.x)
    return View(linear.model, ELBO(), NoCorruption(), split, D, importance_samples=samples)


def measured(view: View) -> dict[str, float]:
    with evaluating(view.model):
        return log_likelihood(view)


def test_with_the_exact_posterior_every_k_gives_the_exact_log_likelihood():
    linear = LinearGaussian(ORTHOGONAL, images=IMAGES)
    exact = linear.log_marginal().double()
    for samples in (1, 3, 40):
        found = measured(view_of(linear, samples))
        assert found["log_likelihood"] == pytest.approx(exact.mean().item(), abs=1e-4)
        stderr = (exact.std() / math.sqrt(IMAGES)).item()
        assert found["log_likelihood_stderr"] == pytest.approx(stderr, rel=1e-3)
        assert found["effective_sample_size"] == pytest.approx(samples, rel=1e-3)


def test_with_a_wrong_posterior_the_bound_rises_to_the_exact_value_from_below():
    torch.manual_seed(0)
    linear = LinearGaussian(OBLIQUE, images=IMAGES, map_error=0.1, variance_factor=1.5)
    exact = linear.log_marginal().double().mean().item()
    found = [measured(view_of(linear, samples)) for samples in (1, 5, 50, 1000)]
    gaps = [exact - values["log_likelihood"] for values in found]
    assert gaps[0] > 2 * gaps[1] > 4 * gaps[2] > 0
    assert gaps[2] > gaps[3]
    assert abs(gaps[3]) < 0.05
    sizes = [values["effective_sample_size"] for values in found]
    assert sizes[0] == pytest.approx(1)
    assert sizes == sorted(sizes)
    assert sizes[-1] < 1000


def test_image_by_image_the_differences_shrink_with_k():
    """Paired: of the same images, how far the bound lies below the exact log p(x)."""
    torch.manual_seed(0)
    linear = LinearGaussian(OBLIQUE, images=IMAGES, map_error=0.1, variance_factor=1.5)
    exact = linear.log_marginal().double()
    missing = []
    for samples in (1, 10, 100, 1000):
        view = view_of(linear, samples)
        with evaluating(view.model):
            missing.append(exact - each_image(view)[0])
    for fewer, more in pairwise(missing):
        assert more.square().mean() < 0.3 * fewer.square().mean()
        gain = fewer - more
        assert gain.mean() > 4 * gain.std() / math.sqrt(IMAGES)
    assert missing[-1].abs().median() < 0.05


def test_one_sample_is_an_elbo():
    """log w of one sample has the ELBO's mean; over many images they agree within noise."""
    linear = LinearGaussian(OBLIQUE, images=20_000)
    view = view_of(linear, 1)
    with evaluating(view.model):
        elbo = objective(view)["elbo"]
        found = log_likelihood(view)
    assert found["log_likelihood"] == pytest.approx(elbo, abs=0.02)


@pytest.mark.parametrize("batch_size", [1, 7, 300, 5000])
def test_neither_the_batch_nor_other_images_change_a_figure(batch_size):
    linear = LinearGaussian(OBLIQUE, images=300)
    whole = view_of(linear, 21)
    found = measured(replace(whole, batch_size=batch_size))
    assert found == pytest.approx(measured(whole), rel=1e-6)
    few = measured(replace(whole, limit=100, batch_size=batch_size))
    alone = Split(linear.x[spaced(300, 100)])
    assert few == pytest.approx(measured(replace(whole, split=alone)), rel=1e-6)


def test_the_sums_hold_weights_beyond_the_range_of_floats():
    log_w = torch.tensor([[-3000.0, 900.0], [-2000.0, 905.0], [-2001.0, 100.0]]).double()
    sums = module._Weights()
    for piece in log_w.split(1):
        sums.add(piece)
    expected = torch.logsumexp(log_w, 0) - math.log(3)
    torch.testing.assert_close(sums.log_mean(), expected)
    w = log_w.softmax(0)
    torch.testing.assert_close(sums.effective(), 1 / w.square().sum(0))


def test_memory_does_not_grow_with_k(monkeypatch):
    """The most codes decoded at once stays the same."""
    linear = LinearGaussian(ORTHOGONAL, images=300)
    seen = []
    original = LatentVariableModel.decoder_features

    def spy(model, z):
        seen.append(z.shape[0] * z.shape[1])
        return original(model, z)

    monkeypatch.setattr(LatentVariableModel, "decoder_features", spy)
    measured(replace(view_of(linear, 500), batch_size=512))
    assert max(seen) == 512
    assert sum(seen) == 500 * 300


@pytest.mark.skipif(sys.platform != "linux", reason="it is glibc's habit")
def test_memory_is_used_again_and_not_fetched_anew_for_every_piece():
    """Of 150 MB of tensors that come and go, the pages that the system has to provide."""
    model = build_model(check(composed("network.widths=[64]")), (1, 28, 28)).eval()
    split = Split((torch.rand(256, 1, 28, 28) < 0.1).float())
    view = View(model, ELBO(), NoCorruption(), split, 16, importance_samples=48)
    measured(view)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    measured(view)
    pages = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert pages * resource.getpagesize() < 15e6


def test_families_without_a_bound_have_none_and_say_so_when_asked():
    made = experiment("model=ae")
    assert measured(made.view(made.splits.val)) == {}
    with pytest.raises(ConfigError, match=r"log_likelihood: a deterministic code"):
        check(composed("model=ae", "evaluation.metrics=[log_likelihood]"))
    with pytest.raises(ConfigError, match=r"log_likelihood: there is no p\(x\)"):
        check(composed("prior=flat", "evaluation.metrics=[log_likelihood]"))
