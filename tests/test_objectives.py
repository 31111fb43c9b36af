"""Objectives, above all the bound of a linear-Gaussian model, whose log p(x) is known.

p(z) = N(0, I), p(x|z) = N(W z + b, sigma^2 I), so p(x) = N(b, W W^T + sigma^2 I), and the posterior
is N(S W^T (x - b) / sigma^2, S) with S = (I + W^T W / sigma^2)^-1: diagonal, and so within reach of
the model's, only where the columns of W are orthogonal.
"""

from __future__ import annotations

import math

import pytest
import torch
from parts import composed, experiment, grey, options
from torch.distributions import MultivariateNormal, kl_divergence

from vae_run.config import check
from vae_run.data.batches import Batch, evaluation_batches
from vae_run.experiment import build_model
from vae_run.objectives import ELBO, Reconstruction

B, D, F, SIGMA = 6, 2, 5, 0.6
SHIFT = torch.tensor([0.3, -0.1, 0.0, 0.5, 1.0])
ORTHOGONAL = torch.tensor([[1.0, 0.5], [1.0, -0.5], [0.5, 0.0], [0.0, 1.2], [0.0, 0.0]])
OBLIQUE = ORTHOGONAL + torch.tensor([[0.0, 0.8], [0.0, 0.4], [0.0, 0.0], [0.0, 0.0], [0.6, 0.0]])


class LinearGaussian:
    """The model with weights W, and q(z|x) = N(A (x - b), diag(variance))."""

    def __init__(self, weights, *, map_error=0.0, variance_factor=1.0):
        words = ["likelihood=gaussian", f"likelihood.sigma={SIGMA}", "network.widths=[]"]
        self.model = build_model(check(composed(*words, f"latent_dim={D}")), (F,)).eval()
        exact = weights.double()
        precision = torch.eye(D).double() + exact.T @ exact / SIGMA**2
        self.covariance = precision.inverse()
        self.map = self.covariance @ exact.T / SIGMA**2
        # The best factorised posterior has the exact mean, and 1 / the precision's diagonal.
        variance = variance_factor / precision.diagonal()
        used = (self.map + map_error).float()
        layer, out = self.model.posterior.projection, self.model.likelihood.projection[0]
        with torch.no_grad():
            layer.weight.copy_(torch.cat([used, torch.zeros(D, F)]))
            layer.bias.copy_(torch.cat([-used @ SHIFT, variance.log().float()]))
            out.weight.copy_(weights)
            out.bias.copy_(SHIFT)
        marginal = exact @ exact.T + SIGMA**2 * torch.eye(F).double()
        self.marginal = MultivariateNormal(SHIFT.double(), marginal)
        self.x = self.marginal.sample((B,)).float()

    def log_marginal(self):
        """log p(x), exact, [B]."""
        return self.marginal.log_prob(self.x.double()).float()

    def gap(self):
        """KL(q(z|x) || p(z|x)), exact, [B]: how far the bound lies below log p(x)."""
        q = self.model.encode(self.x)
        mean = (self.x - SHIFT).double() @ self.map.T
        exact = MultivariateNormal(mean, self.covariance)
        full = MultivariateNormal(q.mean.double(), torch.diag_embed(q.variance.double()))
        return kl_divergence(full, exact).float()

    def bounds(self, noise):
        """-loss at beta = 1 for each noise [K, B, D], [K, B]."""
        batches = [Batch(self.x, self.x, each[None]) for each in noise]
        return torch.stack([-ELBO()(self.model, batch, 0.0)["loss"] for batch in batches])

    def elbo(self):
        """The exact mean over the posterior: +-sqrt(D) e_d are a cubature for a quadratic."""
        points = math.sqrt(D) * torch.cat([torch.eye(D), -torch.eye(D)])
        return self.bounds(points[:, None].expand(-1, B, -1)).mean(0)


@pytest.fixture(autouse=True)
def _no_gradients():
    torch.manual_seed(0)
    with torch.no_grad():
        yield


def test_every_sample_of_the_exact_posterior_gives_log_p_of_x():
    exact = LinearGaussian(ORTHOGONAL)
    model, x = exact.model, exact.x
    q = model.encode(x)
    z = model.posterior.sample(q, torch.randn(50, B, D))
    single = model.decode(z).log_prob(x) + model.latent_prior().log_prob(z) - q.log_prob(z)
    torch.testing.assert_close(single, exact.log_marginal().expand(50, B), rtol=0, atol=2e-4)


def test_the_elbo_with_the_exact_posterior_is_log_p_of_x():
    exact = LinearGaussian(ORTHOGONAL)
    torch.testing.assert_close(exact.gap(), torch.zeros(B), rtol=0, atol=1e-5)
    torch.testing.assert_close(exact.elbo(), exact.log_marginal(), rtol=0, atol=1e-4)


def test_the_elbo_averaged_over_random_samples_is_log_p_of_x():
    exact, n = LinearGaussian(ORTHOGONAL), 3000
    found = exact.bounds(torch.randn(n, B, D))
    error = found.std(0) / n**0.5
    assert (error < 0.1).all()
    assert ((found.mean(0) - exact.log_marginal()).abs() < 4 * error).all()


@pytest.mark.parametrize(
    ("weights", "wrong"),
    [
        (OBLIQUE, {}),
        (ORTHOGONAL, {"map_error": 0.1}),
        (ORTHOGONAL, {"variance_factor": 2.0}),
        (ORTHOGONAL, {"variance_factor": 0.5}),
    ],
    ids=["oblique columns", "wrong mean", "too wide", "too narrow"],
)
def test_the_elbo_lies_below_log_p_of_x_by_the_posteriors_divergence(weights, wrong):
    inexact = LinearGaussian(weights, **wrong)
    assert (inexact.gap() > 1e-3).all()
    expected = inexact.log_marginal() - inexact.gap()
    torch.testing.assert_close(inexact.elbo(), expected, rtol=0, atol=1e-4)


# loss, beta and warm-up


def first_batch(made, n=20):
    return next(evaluation_batches(grey(n), made.corruption, batch_size=n, noise=(1, 3)))


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 4.0])
def test_loss_is_reconstruction_plus_beta_kl(beta):
    made = experiment(f"objective.beta={beta}")
    terms = made.objective(made.model, first_batch(made), 0.0)
    assert terms["loss"].shape == (20,)
    assert (terms["kl"] > 0).all()
    expected = terms["reconstruction"] + beta * terms["kl"]
    torch.testing.assert_close(terms["loss"], expected, rtol=1e-6, atol=0)


def test_terms_are_what_the_models_distributions_give():
    made = experiment("corruption=gaussian", "likelihood=gaussian")
    batch = first_batch(made)
    assert not torch.equal(batch.input, batch.target)
    q = made.model.encode(batch.input)
    z = q.mean + q.stddev * batch.noise[0]
    expected = -made.model.decode(z).log_prob(batch.target)
    terms = made.objective(made.model, batch, 0.0)
    torch.testing.assert_close(terms["reconstruction"], expected)
    torch.testing.assert_close(terms["kl"], kl_divergence(q, made.model.latent_prior()))


def test_reconstruction_has_no_kl():
    made = experiment("model=ae")
    terms = Reconstruction()(made.model, first_batch(made), 0.0)
    assert set(terms) == {"loss", "reconstruction"}
    assert torch.equal(terms["loss"], terms["reconstruction"])


def test_beta_rises_linearly_over_the_warm_up():
    warm = ELBO(beta=4.0, warmup_epochs=10)
    found = [warm.beta_at(epoch) for epoch in (0, 2.5, 5, 9.99, 10, 1000)]
    assert found == pytest.approx([0, 1, 2, 3.996, 4, 4])
    assert ELBO(beta=0.5).beta_at(0) == 0.5


def test_the_loss_reads_the_warm_up_and_the_kl_does_not():
    made = experiment("objective.beta=2", "objective.warmup_epochs=4")
    batch = first_batch(made)
    early, late = (made.objective(made.model, batch, epoch) for epoch in (1.0, 7.0))
    for terms, beta in ((early, 0.5), (late, 2.0)):
        torch.testing.assert_close(terms["loss"], terms["reconstruction"] + beta * terms["kl"])
    assert torch.equal(early["kl"], late["kl"])


def test_an_image_does_not_change_the_terms_of_another():
    made = experiment()
    whole = first_batch(made)
    part = Batch(whole.input[:7], whole.target[:7], whole.noise[:, :7])
    terms, few = (made.objective(made.model, batch, 0.0) for batch in (whole, part))
    for name in terms:
        torch.testing.assert_close(terms[name][:7], few[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("preset", options("model"))
def test_every_family_gives_finite_terms_and_a_gradient_to_every_parameter(preset):
    made = experiment(f"model={preset}", "likelihood=gaussian")
    batches = evaluation_batches(
        grey(20), made.corruption, batch_size=20, noise=(made.objective.samples, 3)
    )
    with torch.enable_grad():
        terms = made.objective(made.model, next(batches), 0.0)
        terms["loss"].mean().backward()
    for term in terms.values():
        assert term.shape == (20,)
        assert term.isfinite().all()
    for name, parameter in made.model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
