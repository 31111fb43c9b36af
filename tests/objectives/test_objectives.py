"""Objectives: the ELBO of a linear-Gaussian model, and what each loss is made of."""

from __future__ import annotations

import pytest
import torch
from linear_gaussian import OBLIQUE, ORTHOGONAL, B, D, LinearGaussian
from parts import composed, experiment, grey, options
from torch import nn
from torch.distributions import Independent, Normal, kl_divergence

from vae_run.config.check import check
from vae_run.data.batches import Batch, evaluation_batches
from vae_run.errors import ConfigError
from vae_run.objectives import (
    ELBO,
    Capacity,
    FreeBits,
    Reconstruction,
    RegularizedReconstruction,
    trained_loss,
)


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
    assert inexact.gap().mean() > 0.05
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
    made = experiment(f"model={preset}", "likelihood=gaussian", "trainer=gradient")
    noise = (made.objective.samples, made.settings.fixed.latent_dim)
    batches = evaluation_batches(grey(20), made.corruption, batch_size=20, noise=noise)
    with torch.enable_grad():
        terms = made.objective(made.model, next(batches), 0.0)
        trained_loss(terms).mean().backward()
    for term in terms.values():
        assert term.shape == (20,)
        assert term.isfinite().all()
    trained = [(n, p) for n, p in made.model.named_parameters() if p.requires_grad]
    for name, parameter in trained:  # a prior that is fitted afterwards may have others
        assert parameter.grad is not None, name
        if (preset, name) == ("vae_gan", "critic.layers.5.bias"):
            continue  # both halves of the hinge loss cancel while all logits are within the margin
        assert parameter.grad.abs().sum() > 0, name


# schedules and floors


def test_a_cyclical_beta_rises_again_in_each_cycle_and_ends_it_at_its_full_value():
    cyclical = ELBO(beta=4.0, warmup_epochs=2, cycle_epochs=5)
    found = [cyclical.beta_at(epoch) for epoch in (0, 1, 2, 4.9, 5, 5.5, 6, 7, 10, 11)]
    assert found == pytest.approx([0, 2, 4, 4, 4, 1, 2, 4, 4, 2])
    with pytest.raises(ConfigError, match="cycle_epochs"):
        ELBO(warmup_epochs=3, cycle_epochs=2)


def test_capacity_is_the_distance_of_the_kl_to_a_target_that_rises_by_epochs():
    made, rising = experiment(), Capacity(gamma=7.0, capacity=3.0, warmup_epochs=10)
    batch = first_batch(made)
    for epoch, target in ((0.0, 0.0), (4.0, 1.2), (10.0, 3.0), (50.0, 3.0)):
        terms = rising(made.model, batch, epoch)
        expected = terms["reconstruction"] + 7 * (terms["kl"] - target).abs()
        torch.testing.assert_close(terms["loss"], expected)


@pytest.mark.parametrize("option", ["capacity", "elbo"])
def test_evaluation_does_not_advance_a_schedule(option):
    made = experiment(f"objective={option}", "objective.warmup_epochs=10")
    batch, state = first_batch(made), vars(made.objective).copy()
    before = made.objective(made.model, batch, 4.0)["loss"]
    for _ in range(3):
        made.evaluation.measure(made.view(made.splits.val, epoch=4.0))
    assert vars(made.objective) == state
    assert torch.equal(made.objective(made.model, batch, 4.0)["loss"], before)


def test_free_bits_floor_each_dimension_of_each_image():
    made, floor = experiment(), 0.1
    with torch.no_grad():
        made.model.posterior.projection.weight *= 3
    batch = first_batch(made)
    terms, q = FreeBits(floor=floor)(made.model, batch, 0.0), made.model.encode(batch.input)
    each = 0.5 * (q.mean**2 + q.variance - q.variance.log() - 1)
    assert 0.1 < (each < floor).float().mean() < 0.9
    expected = terms["reconstruction"] + each.clamp(min=floor).sum(-1)
    torch.testing.assert_close(terms["loss"], expected)
    torch.testing.assert_close(terms["kl"], each.sum(-1))


def test_free_bits_do_not_depend_on_how_images_are_batched():
    made = experiment()
    whole = first_batch(made)
    together = FreeBits(floor=0.3)(made.model, whole, 0.0)["loss"]
    alone = [
        FreeBits(floor=0.3)(
            made.model, Batch(whole.input[[i]], whole.target[[i]], whole.noise[:, [i]]), 0.0
        )["loss"]
        for i in range(len(whole))
    ]
    torch.testing.assert_close(together, torch.cat(alone))


@pytest.mark.parametrize(("floor", "moves"), [(100.0, False), (0.0, True)])
def test_the_kl_has_no_gradient_below_the_floor(floor, moves):
    made = experiment()
    batch = first_batch(made)
    with torch.enable_grad():
        terms = FreeBits(floor=floor)(made.model, batch, 0.0)
        (terms["loss"] - terms["reconstruction"]).sum().backward()
    gradient = made.model.posterior.projection.weight.grad
    assert bool(gradient.abs().sum() > 0) is moves


# deterministic codes held in shape


def test_regularized_by_l2_is_reconstruction_code_and_weights():
    made = experiment("model=rae")
    objective = RegularizedReconstruction(code_weight=0.3, decoder_weight=0.02)
    batch = first_batch(made)
    terms, z = objective(made.model, batch, 0.0), made.model.encode(batch.input).mean
    decoder = [*made.model.decoder.parameters(), *made.model.likelihood.projection.parameters()]
    norm = sum(float(weight.double().square().sum()) for weight in decoder)
    expected = terms["reconstruction"] + 0.15 * (z**2).sum(-1) + 0.02 * norm
    torch.testing.assert_close(terms["loss"], expected)
    assert norm > 1


# the direction of the KL: what wake-sleep covers and the ELBO does not


class Folded(nn.Module):
    """p(x|z) = N(z^2, 0.5^2), p(z) = N(0, 1): at x = 4 the posterior has modes near +-2."""

    def __init__(self, loc, scale):
        super().__init__()
        words = ("latent_dim=1", "posterior=normal", "prior=standard_normal")
        settings = check(composed(*words))
        self.posterior = settings.build("posterior", features=1, latent_dim=1)
        self.prior = settings.build("prior", latent_dim=1)
        self.posterior.projection.bias.copy_(torch.tensor([loc, 2 * torch.tensor(scale).log()]))

    def encode(self, x):
        return self.posterior(torch.zeros_like(x))

    def decode(self, z):
        return Independent(Normal(z.square(), 0.5), 1)

    def latent_prior(self):
        return self.prior()


def exact_moments(x=4.0):
    """E|z| and E z^2 under p(z|x), by a sum over a grid."""
    z = torch.linspace(-6, 6, 20_001).double()
    weight = torch.softmax(-0.5 * z**2 - 0.5 * ((x - z**2) / 0.5) ** 2, 0)
    return float((weight * z.abs()).sum()), float((weight * z**2).sum())


def trained(objective, model, steps=400, rate=0.1, images=32):
    x = torch.full((images, 1), 4.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    with torch.enable_grad():
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
            batch = Batch(x, x, torch.randn(objective.samples, images, 1))
            optimizer.zero_grad()
            objective(model, batch, 0.0)["loss"].mean().backward()
            optimizer.step()
    q = model.encode(x[:1])
    return float(q.mean), float(q.stddev)


@pytest.mark.scale
def test_wake_sleep_covers_both_modes_and_the_elbo_takes_one():
    near, second = exact_moments()
    settings = check(composed("objective=reweighted_wake_sleep", "objective.importance_samples=50"))
    covering = trained(settings.build("objective"), Folded(0.5, 1.0))
    # KL(p to q) is least for the normal with the posterior's own mean, 0, and variance.
    assert covering[0] == pytest.approx(0.0, abs=0.2)
    assert covering[1] == pytest.approx(second**0.5, rel=0.02)
    seeking = trained(ELBO(), Folded(0.5, 1.0))
    assert abs(seeking[0]) == pytest.approx(near, abs=0.03)
    assert 0.1 < seeking[1] < 0.25  # that of one mode is 0.13, and noise in training widens it
    below = [float(Normal(*found).cdf(torch.tensor(0.0))) for found in (covering, seeking)]
    assert 0.45 < below[0] < 0.55
    assert min(below[1], 1 - below[1]) < 1e-6


# many models at once


class Loss(nn.Module):
    """The terms as a module's forward, which `functional_call` asks for."""

    def __init__(self, model, objective):
        super().__init__()
        self.model, self.objective = model, objective

    def forward(self, *batch):
        return dict(self.objective(self.model, Batch(*batch), 1.0))


def stacked(*words, count=3):
    """Losses of `count` models that differ in their seed, and a batch for each."""
    made = [experiment("likelihood=gaussian", f"seed={seed}", *words) for seed in range(count)]
    losses = [Loss(each.model, each.objective) for each in made]
    batches = [
        (grey(20, seed=seed).images,) * 2 + (torch.randn(made[0].objective.samples, 20, 3),)
        for seed in range(count)
    ]
    return losses, batches


BATCHED = [
    *([f"objective={o}"] for o in options("objective") if o not in ("sparse", "contractive")),
    ["model=sparse_ae", "latent_dim=8", "objective.k=2"],
    ["model=contractive_ae"],
    ["objective=iwae", "objective.gradient=doubly_reparameterized"],
    ["objective=elbo", "objective.gradient=score_function"],
    *([f"prior={option}"] for option in ("flat", "mixture", "vamp", "flow")),
    *([f"posterior={option}"] for option in ("full_normal", "flow")),
    *(["posterior=flow", f"posterior.kind={kind}"] for kind in ("iaf", "planar")),
    ["prior=flow", "prior.kind=maf"],
    ["objective=iwae", "objective.partial=true", "objective.groups=2"],
    *([f"model={name}", "objective=iwae"] for name in ("hierarchical_vae", "ladder_vae")),
    ["objective=iwae", "posterior=full_normal", "prior=vamp"],
    ["model=hyperspherical_vae"],
    ["model=wae"],
    ["model=rae"],
    ["model=residual_vq", "posterior.codes=4"],
    ["model=rae", "objective.regularizer=gradient_penalty", "objective.decoder_weight=10"],
]


@pytest.mark.parametrize("words", BATCHED, ids=" ".join)
def test_models_batched_by_vmap_have_the_losses_and_gradients_of_each_alone(words):
    losses, batches = stacked(*words)
    parameters, buffers = torch.func.stack_module_state(losses)

    def loss(weights, constants, batch):
        terms = torch.func.functional_call(losses[0], (weights, constants), batch)
        return terms["loss"].mean(), terms

    inputs = tuple(torch.stack(each) for each in zip(*batches, strict=True))
    gradient = torch.func.grad(loss, has_aux=True)
    slopes, terms = torch.func.vmap(gradient)(parameters, buffers, inputs)
    for i, (one, batch) in enumerate(zip(losses, batches, strict=True)):
        with torch.enable_grad():
            alone = one(*batch)
            alone["loss"].mean().backward()
        for name, term in alone.items():
            torch.testing.assert_close(terms[name][i], term.detach(), rtol=1e-5, atol=1e-5)
        for name, parameter in one.named_parameters():
            expected = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            torch.testing.assert_close(slopes[name][i], expected, rtol=1e-4, atol=1e-5)
