"""Bounds on log p(x) where it is known exactly, and their gradients against those by hand."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from linear_gaussian import OBLIQUE, ORTHOGONAL, B, D, LinearGaussian
from parts import experiment, grey
from torch import nn

from vae_run.data.batches import Batch
from vae_run.models.distributions.kl import kl
from vae_run.models.priors import MixturePrior
from vae_run.objectives import ELBO, IWAE, ReweightedWakeSleep

WRONG = {"map_error": 0.1, "variance_factor": 2.0}
DOUBLY = "doubly_reparameterized"
CLAIMS = [
    *(IWAE(importance_samples=k) for k in (1, 2, 5, 20)),
    IWAE(importance_samples=5, gradient=DOUBLY),
    IWAE(importance_samples=4, groups=3),
    IWAE(importance_samples=5, elbo_share=0.3),
    ReweightedWakeSleep(importance_samples=7),
]
"""Objectives whose loss is minus a bound that the exact posterior attains at every sample."""


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def bound(objective, of, noise):
    """-loss of each image of the linear-Gaussian model `of`, [B]."""
    return -objective(of.model, Batch(of.x, of.x, noise), 0.0)["loss"].detach()


def log_weights(model, batch):
    """log w [K, B] one sample at a time, and log q(z|x) [K, B] at samples held constant."""
    q, p = model.encode(batch.input), model.latent_prior()
    each, density = [], []
    for noise in batch.noise:
        z = model.posterior.sample(q, noise)
        likelihood = model.decode(z).log_prob(batch.target)
        each.append(likelihood + p.log_prob(z) - q.log_prob(z))
        density.append(q.log_prob(z.detach()))
    return torch.stack(each), torch.stack(density)


# values


@pytest.mark.parametrize("claim", CLAIMS, ids=str)
@pytest.mark.parametrize(
    ("weights", "posterior"), [(ORTHOGONAL, "normal"), (OBLIQUE, "full_normal")]
)
def test_every_bound_with_the_exact_posterior_is_log_p_of_x(claim, weights, posterior):
    exact = LinearGaussian(weights, posterior=posterior)
    found = bound(claim, exact, torch.randn(claim.samples, B, D))
    torch.testing.assert_close(found, exact.log_marginal(), rtol=0, atol=3e-4)


def test_a_full_normal_attains_what_the_diagonal_one_cannot():
    full, diagonal = (LinearGaussian(OBLIQUE, posterior=name) for name in ("full_normal", "normal"))
    assert (full.gap().abs() < 1e-5).all()
    assert (diagonal.gap() > 0.05).all()
    with torch.no_grad():
        torch.testing.assert_close(full.elbo(), full.log_marginal(), rtol=0, atol=2e-4)


def test_bounds_rise_with_k_towards_log_p_of_x_and_stay_below():
    images, samples = 6000, (1, 2, 5, 20, 100)
    wrong = LinearGaussian(ORTHOGONAL, **WRONG, images=images)
    noise = torch.randn(samples[-1], images, D)
    found = [bound(IWAE(importance_samples=k), wrong, noise[:k]) for k in samples]
    for lower, higher in pairwise(found):  # paired over images
        difference = higher - lower
        assert difference.mean() > 4 * difference.std() / images**0.5
    short = [wrong.log_marginal() - each for each in found]
    error = [each.std() / images**0.5 for each in short]
    assert all(each.mean() > 4 * e for each, e in zip(short[:-1], error, strict=False))
    assert -4 * error[-1] < short[-1].mean() < 0.03
    assert (short[0] - wrong.gap()).mean().abs() < 4 * (short[0] - wrong.gap()).std() / images**0.5


def test_miwae_is_the_mean_of_its_groups_and_lies_between_elbo_and_iwae():
    wrong, noise = LinearGaussian(ORTHOGONAL, **WRONG), torch.randn(20, B, D)
    elbo = bound(IWAE(importance_samples=1, groups=20), wrong, noise)
    miwae = bound(IWAE(importance_samples=5, groups=4), wrong, noise)
    iwae = bound(IWAE(importance_samples=20), wrong, noise)
    groups = [bound(IWAE(importance_samples=5), wrong, some) for some in noise.split(5)]
    torch.testing.assert_close(miwae, torch.stack(groups).mean(0))
    with torch.no_grad():
        log_w, _ = log_weights(wrong.model, Batch(wrong.x, wrong.x, noise))
    torch.testing.assert_close(elbo, log_w.mean(0))
    torch.testing.assert_close(iwae, log_w.double().exp().mean(0).log().float())
    assert (elbo + 1e-3 < miwae).all()
    assert (miwae + 1e-3 < iwae).all()


def test_ciwae_interpolates_between_elbo_and_iwae():
    wrong, noise = LinearGaussian(ORTHOGONAL, **WRONG), torch.randn(8, B, D)
    elbo = bound(IWAE(importance_samples=1, groups=8), wrong, noise)
    iwae = bound(IWAE(importance_samples=8), wrong, noise)
    for share in (0.0, 0.25, 1.0):
        found = bound(IWAE(importance_samples=8, elbo_share=share), wrong, noise)
        torch.testing.assert_close(found, share * elbo + (1 - share) * iwae)


def test_surrogates_of_gradients_add_nothing_to_the_loss():
    made = experiment("likelihood=gaussian")
    x = grey(20).images
    batch = Batch(x, x, torch.randn(7, 20, 3))
    plain = IWAE(importance_samples=7)(made.model, batch, 0.0)
    for other in (
        IWAE(importance_samples=7, gradient=DOUBLY),
        ReweightedWakeSleep(importance_samples=7),
    ):
        found = other(made.model, batch, 0.0)
        for name in ("loss", "reconstruction", "kl"):
            torch.testing.assert_close(found[name], plain[name], rtol=1e-5, atol=1e-5)
    one = Batch(x, x, batch.noise[:1])
    elbo, score = (
        ELBO(gradient=name)(made.model, one, 0.0) for name in ("reparameterized", "score_function")
    )
    assert all(torch.equal(elbo[name], score[name]) for name in elbo)


# gradients by hand


def gradients(model, loss):
    """d mean(loss) / d parameters by the parameter's name; zeros where there is no path."""
    names, parameters = zip(*model.named_parameters(), strict=True)
    found = torch.autograd.grad(
        loss.mean(), parameters, allow_unused=True, materialize_grads=True, retain_graph=True
    )
    return dict(zip(names, found, strict=True))


def parallel(one, other):
    """|a - b| / |b| of two gradients, all parameters in one."""
    a, b = (torch.cat([g.flatten() for g in each.values()]) for each in (one, other))
    return float((a - b).norm() / b.norm())


@pytest.fixture
def small():
    """A small model with a Gaussian likelihood, and a batch with 6 samples an image."""
    made = experiment("likelihood=gaussian")
    x = grey(12).images
    return made.model, Batch(x, x, torch.randn(6, 12, 3))


def test_the_gradient_of_iwae_is_that_of_the_self_normalised_log_weights(small):
    model, batch = small
    log_w, _ = log_weights(model, batch)
    weights = log_w.detach().exp() / log_w.detach().exp().sum(0)  # over K, an image at a time
    torch.testing.assert_close(weights.sum(0), torch.ones(12))
    expected = gradients(model, -(weights * log_w).sum(0))
    loss = IWAE(importance_samples=6)(model, batch, 0.0)["loss"]
    assert parallel(gradients(model, loss), expected) < 1e-5
    mistakes = {
        "not detached": -(log_w.softmax(0) * log_w).sum(0),
        "over the batch": -(log_w.detach().softmax(1) * log_w).sum(0),
        "losses as weights": -((-log_w).detach().softmax(0) * log_w).sum(0),
    }
    for name, mistaken in mistakes.items():
        assert parallel(gradients(model, mistaken), expected) > 0.01, name


def test_wake_sleep_weighs_the_gradients_of_log_p_and_log_q(small):
    model, batch = small
    log_w, density = log_weights(model, batch)
    weights = log_w.detach().exp() / log_w.detach().exp().sum(0)
    loss = ReweightedWakeSleep(importance_samples=6)(model, batch, 0.0)["loss"]
    found = gradients(model, loss)
    encoder = gradients(model, -(weights * density).sum(0))
    decoder = gradients(model, -(weights * log_w).sum(0))
    for name, gradient in found.items():
        side = encoder if name.startswith(("encoder", "posterior")) else decoder
        torch.testing.assert_close(gradient, side[name], rtol=1e-4, atol=1e-5)
        assert gradient.abs().sum() > 0


# gradients of many draws of one image


def draws(objective, of, n):
    """Gradients of n losses of the first image: by the head's output [n, P], and the decoder's."""
    head = of.model.posterior.projection
    outputs = []

    def keep(_, __, output):
        output.retain_grad()
        outputs.append(output)

    handle = head.register_forward_hook(keep)
    x = of.x[:1].expand(n, -1)
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(objective.samples, n, D, generator=generator)
    of.model.zero_grad()
    objective(of.model, Batch(x, x, noise), 0.0)["loss"].sum().backward()
    handle.remove()
    decoder = [p.grad.clone() for p in of.model.likelihood.projection.parameters()]
    return outputs[0].grad, decoder


def agree(one, other, n):
    """Whether the means of two correlated sets of draws [n, P] agree within 4 standard errors."""
    difference = one - other
    return ((difference.mean(0)).abs() < 4 * difference.std(0) / n**0.5).all()


def test_doubly_reparameterized_gradients_have_the_same_mean_and_less_variance():
    n, wrong = 4000, LinearGaussian(ORTHOGONAL, **WRONG)
    plain, decoder = draws(IWAE(importance_samples=64), wrong, n)
    doubly, doubly_decoder = draws(IWAE(importance_samples=64, gradient=DOUBLY), wrong, n)
    assert agree(plain, doubly, n)
    assert (doubly.mean(0).abs() > 4 * doubly.std(0) / n**0.5).all(), "no signal to compare"
    assert (plain.var(0) > 10 * doubly.var(0)).all()
    for one, other in zip(decoder, doubly_decoder, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("groups", [1, 3])
def test_grouped_doubly_reparameterized_gradients_have_the_same_mean(groups):
    n, wrong = 6000, LinearGaussian(ORTHOGONAL, **WRONG)
    each = {"importance_samples": 4, "groups": groups}
    plain, _ = draws(IWAE(**each), wrong, n)
    doubly, _ = draws(IWAE(**each, gradient=DOUBLY), wrong, n)
    assert agree(plain, doubly, n)
    assert (plain.mean(0).abs() > 4 * plain.std(0) / n**0.5).any(), "no signal to compare"


@pytest.mark.parametrize("sampled", [False, True], ids=["kl in closed form", "kl sampled"])
def test_score_function_gradients_have_the_same_mean_and_more_variance(sampled):
    n, wrong = 40_000, LinearGaussian(ORTHOGONAL, **WRONG)
    if sampled:
        wrong.model.prior = MixturePrior(latent_dim=D, components=3)
    path, decoder = draws(ELBO(), wrong, n)
    score, score_decoder = draws(ELBO(gradient="score_function"), wrong, n)
    assert agree(path, score, n)
    assert (path.mean(0).abs() > 4 * path.std(0) / n**0.5).all()
    assert (score.var(0) > 3 * path.var(0)).all()
    assert all(torch.equal(one, other) for one, other in zip(decoder, score_decoder, strict=True))


def test_the_gradient_of_a_sampled_kl_is_the_closed_forms_in_the_mean():
    """Of a mixture with one component, N(0, I), torch knows no closed form."""
    n, wrong = 20_000, LinearGaussian(ORTHOGONAL, **WRONG)
    head, same = wrong.model.posterior, MixturePrior(latent_dim=D, components=1)
    with torch.no_grad():
        same.loc.zero_()
        same.rho.fill_(math.log(math.expm1(1 - 1e-3)))
    raw = torch.tensor([0.4, -1.0, -0.5, 0.3]).repeat(n, 1).requires_grad_()
    head.projection = nn.Identity()
    q = head(raw)
    z = head.sample(q, torch.randn(n, D))
    sampled, exact = kl(q, same(), z), kl(q, wrong.model.latent_prior(), z)
    assert (sampled - exact).mean().abs() < 4 * sampled.std() / n**0.5
    slopes = [
        torch.autograd.grad(each.sum(), raw, retain_graph=True)[0] for each in (sampled, exact)
    ]
    assert agree(*slopes, n)
