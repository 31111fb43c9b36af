"""Metrics against sums made by hand, and a bound whose exact mean is known."""

from __future__ import annotations

import math

import pytest
import torch
from parts import composed, experiment, grey
from torch.distributions import MultivariateNormal, kl_divergence

from vae_run.config.check import check
from vae_run.corruptions import NoCorruption
from vae_run.data.splits import Split
from vae_run.evaluation.codes import evaluating
from vae_run.evaluation.metrics.active_units import active_units
from vae_run.evaluation.metrics.mse import mse
from vae_run.evaluation.metrics.objective import objective
from vae_run.evaluation.view import View
from vae_run.models.build import build_model
from vae_run.objectives import ELBO


def measured(metric, view):
    with evaluating(view.model):
        return metric(view)


def test_objective_is_the_mean_over_images_of_the_training_objective():
    made = experiment("objective.beta=3", "corruption=masking", "likelihood=gaussian")
    view = made.view(made.splits.val)
    found = measured(objective, view)
    (whole,) = view.batches()
    with evaluating(made.model):
        terms = made.objective(made.model, whole, 0.0)
    for name in ("loss", "reconstruction", "kl"):
        assert found[name] == pytest.approx(terms[name].mean().item(), rel=1e-6)
    assert found["elbo"] == -(found["reconstruction"] + found["kl"])
    assert found["loss"] == pytest.approx(found["reconstruction"] + 3 * found["kl"], rel=1e-6)
    assert found["elbo"] > -found["loss"]


def test_objective_reads_the_warm_up():
    made = experiment("objective.beta=2", "objective.warmup_epochs=10")
    early, late = (measured(objective, made.view(made.splits.val, epoch)) for epoch in (5.0, 10.0))
    assert early["loss"] == pytest.approx(early["reconstruction"] + early["kl"], rel=1e-6)
    assert late["loss"] == pytest.approx(late["reconstruction"] + 2 * late["kl"], rel=1e-6)
    assert early["elbo"] == late["elbo"]


def test_objective_without_a_prior_has_no_kl_and_no_elbo():
    made = experiment("model=ae")
    assert set(measured(objective, made.view(made.splits.val))) == {"loss", "reconstruction"}


def test_the_elbo_over_a_split_is_the_mean_log_p_of_x():
    """PPCA: x = W z + noise with orthogonal columns, and the exact posterior in the model."""
    weights, sigma, n = torch.tensor([[1.0, 0.5], [1.0, -0.5], [0.5, 0.0]]), 0.5, 2000
    words = ["likelihood=gaussian", f"likelihood.sigma={sigma}", "network.widths=[]"]
    model = build_model(check(composed(*words, "latent_dim=2")), (3,))
    precision = torch.eye(2) + weights.T @ weights / sigma**2
    assert precision[0, 1] == 0
    with torch.no_grad():
        mean = precision.inverse() @ weights.T / sigma**2
        model.posterior.projection.weight.copy_(torch.cat([mean, torch.zeros(2, 3)]))
        bias = torch.cat([torch.zeros(2), -precision.diagonal().log()])
        model.posterior.projection.bias.copy_(bias)
        model.likelihood.projection[0].weight.copy_(weights)
        model.likelihood.projection[0].bias.zero_()
    marginal = MultivariateNormal(torch.zeros(3), weights @ weights.T + sigma**2 * torch.eye(3))
    torch.manual_seed(0)
    x = marginal.sample((n,))
    view = View(model, ELBO(), NoCorruption(), Split(x), latent_dim=2, batch_size=300)
    found = measured(objective, view)
    exact = marginal.log_prob(x).mean().item()
    # Only the reconstruction is sampled; its variance given x follows from the posterior's.
    s = (weights.square().sum(0) / precision.diagonal() / sigma**2).tolist()
    residual = (x @ weights - x @ mean.T @ weights.T @ weights) / sigma**2
    linear = (residual.square() / precision.diagonal()).sum(1).mean().item()
    error = math.sqrt((linear + sum(0.5 * v**2 for v in s)) / n)
    assert error < 0.03
    assert abs(found["elbo"] - exact) < 4 * error


def test_mse_is_per_pixel_and_against_the_clean_image():
    made = experiment("corruption=gaussian")
    split = made.splits.test
    view = made.view(split)
    (whole,) = view.batches()
    assert not torch.equal(whole.input, split.images)
    expected = (made.model.reconstruct(whole.input) - split.images).square().mean().item()
    assert measured(mse, view) == {"mse": pytest.approx(expected, rel=1e-6)}


def test_active_units_counts_the_dimensions_whose_means_vary():
    """Means are a linear map of the image; 0.01 is the threshold of their variance."""
    settings = check(composed("latent_dim=4", "network.widths=[]"))
    model, split = build_model(settings, (4,)), grey(500, (4,))
    unit = split.images.var(0)
    wanted = torch.tensor([0.0, 0.0099, 0.0101, 5.0])
    with torch.no_grad():
        model.posterior.projection.weight.zero_()
        model.posterior.projection.weight[:4] = torch.diag((wanted / unit).sqrt())
        # A spread of q, which a sample would show, is no activity.
        model.posterior.projection.bias.copy_(torch.tensor([9.0, 0, 0, 0, 3, 3, 3, 3]))
    view = View(model, ELBO(), NoCorruption(), split, latent_dim=4, batch_size=70)
    assert measured(active_units, view) == {"active_units": 2.0}


def test_active_units_needs_a_posterior_and_two_images():
    made = experiment("model=ae")
    assert measured(active_units, made.view(made.splits.val)) == {}
    made = experiment()
    assert measured(active_units, made.view(grey(1))) == {}


def test_kl_of_a_split_is_torchs():
    made = experiment()
    (whole,) = made.view(made.splits.val).batches()
    with evaluating(made.model):
        q, p = made.model.encode(whole.input), made.model.latent_prior()
        expected = kl_divergence(q, p).mean().item()
    found = measured(objective, made.view(made.splits.val))
    assert found["kl"] == pytest.approx(expected, rel=1e-6)
