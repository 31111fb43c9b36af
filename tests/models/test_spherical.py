"""Codes of length 1: the von Mises-Fisher posterior and its uniform prior."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from parts import composed, experiment, grey, options
from scipy import special, stats
from torch.distributions import kl_divergence
from torch.nn.functional import normalize

from vae_run.config.check import check
from vae_run.data.batches import Batch
from vae_run.errors import ConfigError
from vae_run.evaluation.evaluation import Evaluation
from vae_run.models.distributions.sphere import UniformSphere, VonMisesFisher, log_area, tail_rule

KAPPAS = (0.0, 0.01, 0.7, 5.0, 40.0, 1e3, 1e5)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def fisher(dimensions, kappa, count=1):
    """`count` distributions around random directions."""
    mu = normalize(torch.randn(count, dimensions), dim=-1)
    return VonMisesFisher(mu, torch.full((count,), float(kappa)), tail_rule())


def log_bessel(order, kappa):
    """log I_order(kappa) - kappa in float64; for a large order by its series."""
    direct = special.ive(order, kappa)
    if direct > 1e-300:
        return math.log(direct)
    k = np.arange(2000)
    terms = (2 * k + order) * math.log(kappa / 2) - special.gammaln(k + 1)
    return float(special.logsumexp(terms - special.gammaln(k + order + 1)) - kappa)


def log_constant(dimensions, kappa):
    """log of the density at mu, exact (Davidson et al. 2018, eq. 2)."""
    order = dimensions / 2 - 1
    if kappa == 0:
        return -log_area(dimensions)
    half = dimensions / 2 * math.log(2 * math.pi)
    return order * math.log(kappa) - half - log_bessel(order, kappa)


# densities


@pytest.mark.parametrize("dimensions", [2, 3, 5, 16, 50, 200])
def test_normaliser_and_kl_are_those_of_the_bessel_functions(dimensions):
    for kappa in KAPPAS:
        q = fisher(dimensions, kappa)
        exact = log_constant(dimensions, kappa)
        assert float(q.log_prob(q.mean)) == pytest.approx(exact, rel=3e-6, abs=3e-6)
        mean = 0.0
        if kappa:
            upper = log_bessel(dimensions / 2, kappa) - log_bessel(dimensions / 2 - 1, kappa)
            mean = math.exp(upper)
        kl = log_area(dimensions) + exact - kappa * (1 - mean)
        found = float(kl_divergence(q, UniformSphere(q.mean[0])))
        assert found == pytest.approx(kl, rel=1e-5, abs=2e-7 * (10 + dimensions)), kappa
        assert float(q.expectation.norm()) == pytest.approx(mean, abs=1e-5)


@pytest.mark.parametrize("dimensions", [3, 10])
def test_density_and_entropy_are_scipys(dimensions):
    q = fisher(dimensions, 7.0)
    scipys = stats.vonmises_fisher(q.mean[0].double().numpy(), 7.0)
    z = normalize(torch.randn(20, 1, dimensions), dim=-1)
    expected = scipys.logpdf(normalize(z.double(), dim=-1)[:, 0].numpy())
    torch.testing.assert_close(q.log_prob(z)[:, 0], torch.tensor(expected).float())
    assert float(q.entropy()) == pytest.approx(scipys.entropy(), abs=1e-5)


@pytest.mark.parametrize("kappa", [0.0, 2.0, 60.0])
def test_the_density_integrates_to_1_on_circle_and_sphere(kappa):
    angle = torch.arange(2000).double() * (2 * math.pi / 2000)
    circle = torch.stack([angle.cos(), angle.sin()], -1).float()
    total = fisher(2, kappa).log_prob(circle[:, None]).double().exp().sum() * 2 * math.pi / 2000
    assert float(total) == pytest.approx(1, abs=1e-5)
    height, weight = np.polynomial.legendre.leggauss(200)  # Archimedes: area is uniform in z
    turn = 2 * math.pi * np.arange(400) / 400
    ring = np.sqrt(1 - height**2)[:, None] * np.stack([np.cos(turn), np.sin(turn)])[:, None]
    points = np.stack([*ring, np.broadcast_to(height[:, None], ring[0].shape)], -1)
    flat = torch.tensor(points.reshape(-1, 3)).float()
    each = fisher(3, kappa).log_prob(flat[:, None]).double().exp().reshape(200, 400).numpy()
    assert float((each * weight[:, None]).sum()) * 2 * math.pi / 400 == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("dimensions", [2, 3, 5])
@pytest.mark.parametrize("kappa", [0.5, 4.0])
def test_the_density_integrates_to_1_by_monte_carlo(dimensions, kappa):
    q, p = fisher(dimensions, kappa), UniformSphere(torch.zeros(dimensions))
    weights = (q.log_prob(p.sample((30_000, 1))) - p.log_prob(q.mean)).double().exp()
    assert float(weights.mean()) == pytest.approx(1, abs=5 * float(weights.std()) / 30_000**0.5)


# samples


def cosine_law(dimensions, kappa):
    """Sorted cosines to mu with their distribution function, from a fine grid in float64."""
    y = 0.5 * math.asinh(2 * kappa / (dimensions - 1)) + np.linspace(-20, 20, 400_001)
    log = -2 * kappa / (1 + np.exp(2 * y)) - (dimensions - 1) * np.logaddexp(y, -y)
    mass = np.exp(log - log.max())
    total = mass.cumsum() - 0.5 * mass
    return y, total / mass.sum()


@pytest.mark.parametrize("dimensions", [2, 3, 16, 50])
def test_the_first_number_is_the_quantile_of_the_cosine(dimensions):
    noise = torch.linspace(-4, 4, 33)
    for kappa in KAPPAS:
        y, share = cosine_law(dimensions, kappa)
        found = fisher(dimensions, kappa)._inverse(noise[:, None])[:, 0]
        expected = np.interp(special.ndtr(noise.double().numpy()), share, y)
        inner = noise.abs() < 3.9  # the grid's own tails are coarser than float32's
        difference = (found - torch.tensor(expected).float())[inner].abs()
        assert float(difference.max()) < 1e-3, kappa


@pytest.mark.parametrize("dimensions", [2, 3, 50])
@pytest.mark.parametrize("kappa", [0.0, 200.0])
def test_samples_have_length_1_and_the_moments_of_the_law(dimensions, kappa):
    q, n = fisher(dimensions, kappa), 15_000
    z = q.push(torch.randn(n, 1, dimensions))[:, 0]
    torch.testing.assert_close(z.norm(dim=-1), torch.ones(n), rtol=0, atol=1e-5)
    error = z.std(0) / n**0.5
    assert ((z.mean(0) - q.expectation[0]).abs() < 5 * error + 1e-6).all()
    # Around mu every direction is as likely: the covariance is (1 - E[w^2]) / m off mu.
    mu = q.mean[0].detach()
    side = z - (z @ mu)[:, None] * mu
    expected = float(side.square().sum(-1).mean()) / (dimensions - 1)
    across = torch.eye(dimensions) - torch.outer(mu, mu)
    spread = 6 * expected / n**0.5 + 1e-9
    assert ((side.T @ side / n - expected * across).abs() < spread * 1.5).all()


@pytest.mark.parametrize("dimensions", [2, 3, 5, 50])
def test_kl_is_that_of_monte_carlo(dimensions):
    q, n = fisher(dimensions, 12.0), 10_000
    p = UniformSphere(q.mean[0])
    z = q.push(torch.randn(n, 1, dimensions))
    estimate = q.log_prob(z) - p.log_prob(z)
    error = estimate.std(0) / n**0.5
    assert ((estimate.mean(0) - kl_divergence(q, p)).abs() < 4 * error).all()


@pytest.mark.parametrize("dimensions", [2, 3, 5, 20])
def test_the_gradient_of_a_mean_is_that_of_its_exact_value(dimensions):
    """E[a.z + (b.z)^2] by sampling, against what its moments give, by mu's angle and by kappa."""
    n = 20_000
    a, b = torch.randn(dimensions), torch.randn(dimensions)
    start = normalize(torch.randn(dimensions), dim=-1)
    turn = normalize(torch.randn(dimensions), dim=-1)

    def exact(angle, kappa):
        mu = normalize(start.double() + angle * turn.double(), dim=-1)
        q = VonMisesFisher(mu[None], kappa[None], tail_rule().double())
        mean = q.expectation[0]  # A mu; E[z z^T] = A/kappa I + (1 - D A/kappa) mu mu^T
        share = (q.expectation * q.mean).sum() / kappa
        second = share * b.double().square().sum()
        return a.double() @ mean + second + (1 - dimensions * share) * (b.double() @ q.mean[0]) ** 2

    angle, kappa = torch.full((n,), 0.3), torch.full((n,), 6.0)
    angle.requires_grad_()
    kappa.requires_grad_()
    mu = normalize(start + angle[:, None] * turn, dim=-1)
    z = VonMisesFisher(mu, kappa, tail_rule()).push(torch.randn(n, dimensions))
    value = z @ a + (z @ b).square()
    found = torch.stack(torch.autograd.grad(value.sum(), (angle, kappa)))
    step = 1e-4
    here = torch.tensor([0.3, 6.0]).double()
    for i in range(2):
        shift = step * torch.eye(2).double()[i]
        slope = float((exact(*(here + shift)) - exact(*(here - shift))) / (2 * step))
        error = float(found[i].std()) / n**0.5
        assert abs(float(found[i].mean()) - slope) < 4 * error + 1e-4
        assert abs(slope) > 3 * error, "no signal to compare"


def test_the_gradient_of_one_sample_is_that_of_finite_differences():
    noise, mu = torch.randn(200, 4), normalize(torch.randn(200, 4), dim=-1)
    for kappa in (0.5, 8.0, 300.0):
        k = torch.full((200,), kappa, requires_grad=True)
        z = VonMisesFisher(mu, k, tail_rule()).push(noise)
        (found,) = torch.autograd.grad((z * mu).sum(), k)
        wide = tail_rule().double(), noise.double(), normalize(mu.double(), dim=-1)
        ends = [
            (VonMisesFisher(wide[2], k.detach().double() * scale, wide[0]).push(wide[1]) * wide[2])
            .sum(-1)
            for scale in (1 - 1e-4, 1 + 1e-4)
        ]  # fmt: skip
        expected = ((ends[1] - ends[0]) / (2e-4 * kappa)).float()
        torch.testing.assert_close(found, expected, rtol=2e-2, atol=1e-4 / kappa)


@pytest.mark.parametrize("dimensions", [2, 16, 50])
@pytest.mark.parametrize("kappa", [0.0, 1.0, 1e4, 1e7])
def test_nothing_overflows(dimensions, kappa):
    mu = torch.randn(60, dimensions)
    mu[0] = torch.eye(dimensions)[0]
    mu[1] = -torch.eye(dimensions)[0]
    mu = normalize(mu, dim=-1).requires_grad_()
    k = torch.full((60,), kappa, requires_grad=True)
    q = VonMisesFisher(mu, k, tail_rule())
    z = q.push(4 * torch.randn(60, dimensions))  # far into the tails, too
    value = q.log_prob(z) + q.entropy() + z.sum(-1)
    assert value.isfinite().all()
    slopes = torch.autograd.grad(value.sum(), (mu, k))
    assert all(slope.isfinite().all() for slope in slopes)


# the parts


def test_a_float32_model_trains_and_its_terms_are_the_distributions():
    made = experiment("model=hyperspherical_vae", "likelihood=gaussian")
    x = grey(20).images
    batch = Batch(x, x, torch.randn(1, 20, 3))
    terms = made.objective(made.model, batch, 0.0)
    q = made.model.encode(x)
    assert (q.concentration >= 1).all()
    torch.testing.assert_close(q.mean.norm(dim=-1), torch.ones(20))
    torch.testing.assert_close(terms["kl"], kl_divergence(q, made.model.latent_prior()))
    assert made.model.sample(5).shape == (5, 1, 4, 5)
    torch.testing.assert_close(made.model.latent_prior().sample((9,)).norm(dim=-1), torch.ones(9))


def test_a_collapsed_posterior_has_no_active_units_though_its_directions_differ():
    made = experiment("model=hyperspherical_vae", "posterior.floor=0", "likelihood=gaussian")
    view = made.view(made.splits.val)
    with torch.no_grad():
        made.model.posterior.projection.weight[:-1] *= 100
        made.model.posterior.projection.bias[-1] = -30.0
    found = made.evaluation.measure(view, ["active_units", "objective"])
    assert found["active_units"] == 0
    assert found["kl"] < 1e-4
    with torch.no_grad():
        made.model.posterior.projection.bias[-1] = 100.0
    assert made.evaluation.measure(view, ["active_units"])["active_units"] > 0


@pytest.mark.parametrize("latent_dim", [2, 4])
def test_every_picture_is_drawn_of_codes_on_the_sphere(latent_dim, monkeypatch):
    made = experiment("model=hyperspherical_vae", f"latent_dim={latent_dim}")
    decoded = []
    keep = type(made.model).decode
    monkeypatch.setattr(
        type(made.model), "decode", lambda self, z, *a: (decoded.append(z), keep(self, z, *a))[1]
    )
    names = ["reconstructions", "samples", "manifold", "traversals", "interpolations"]
    with torch.no_grad():
        drawn = Evaluation(figures=names).draw(made.view(made.splits.val))
    assert set(drawn) == set(names) - ({"manifold"} if latent_dim > 2 else set())
    for z in decoded:
        length = z.norm(dim=-1)
        torch.testing.assert_close(length, torch.ones_like(length), rtol=0, atol=1e-5)


def test_it_stays_in_float32_under_autocast():
    head = experiment("model=hyperspherical_vae").model.posterior
    features, noise = torch.randn(9, 8), torch.randn(9, 3)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        q = head(features)
        z, kl = head.sample(q, noise), kl_divergence(q, UniformSphere(noise[0]))
        density = q.log_prob(z)
    assert z.dtype == kl.dtype == density.dtype == torch.float32
    torch.testing.assert_close(z, q.push(noise))
    torch.testing.assert_close(density, q.log_prob(z))


def test_the_doubly_reparameterized_gradient_takes_it():
    words = ("objective=iwae", "objective.gradient=doubly_reparameterized")
    made = experiment("model=hyperspherical_vae", *words, "likelihood=gaussian")
    x = grey(10).images
    batch = Batch(x, x, torch.randn(5, 10, 3))
    made.objective(made.model, batch, 0.0)["loss"].mean().backward()
    assert all(p.grad.isfinite().all() for p in made.model.parameters())


def test_the_vamp_prior_of_it_is_a_mixture_on_the_sphere():
    made = experiment("model=hyperspherical_vae", "prior=vamp", "prior.components=7")
    p = made.model.latent_prior()
    z = UniformSphere(torch.zeros(3)).sample((20_000,))
    with torch.no_grad():
        mass = (p.log_prob(z).double() + log_area(3)).exp()
        assert float(mass.mean()) == pytest.approx(1, abs=5 * float(mass.std()) / 20_000**0.5)
        assert p.sample((4,)).norm(dim=-1).tolist() == pytest.approx([1] * 4, abs=1e-5)


# pairs that have no KL


@pytest.mark.parametrize("prior", [p for p in options("prior") if p not in ("spherical", "vamp")])
def test_a_prior_over_all_of_space_is_refused(prior):
    objective = "reconstruction" if prior.startswith("fitted") else "elbo"
    words = ("posterior=von_mises_fisher", f"prior={prior}", f"objective={objective}")
    with pytest.raises(ConfigError, match=r"^prior: found \w+, .*Use prior=spherical"):
        check(composed(*words))


APART = ("von_mises_fisher", "hierarchical", "ladder")  # the last two have a prior of layers


@pytest.mark.parametrize("posterior", [p for p in options("posterior") if p not in APART])
def test_a_posterior_over_all_of_space_is_refused(posterior):
    objective = "sparse" if posterior == "sparse" else "reconstruction"
    words = (f"posterior={posterior}", "prior=spherical", f"objective={objective}")
    message = r"^prior=spherical: is bounded.*infinite.*posterior=von_mises_fisher"
    with pytest.raises(ConfigError, match=message):
        check(composed(*words))


def test_one_dimension_has_no_directions():
    with pytest.raises(ConfigError, match=r"^latent_dim: found 1, .*2 dimensions"):
        check(composed("model=hyperspherical_vae", "latent_dim=1"))
