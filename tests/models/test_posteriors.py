"""Posteriors turn features into q(z|x), and standard noise into its samples."""

from __future__ import annotations

import pytest
import torch
from parts import composed, options
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from vae_run.config.check import check
from vae_run.models.distributions.kl import kl
from vae_run.models.posteriors import (
    DeltaPosterior,
    FlowPosterior,
    FullNormalPosterior,
    NormalPosterior,
)

B, D, F, K = 5, 3, 7, 2
ELSEWHERE = ("von_mises_fisher", "vector_quantized", "residual_vq", "fsq")
OPTIONS = [option for option in options("posterior") if option not in ELSEWHERE]
"""Those over all of R^D; test_spherical.py and test_quantized.py have the others."""
PRESETS = {"hierarchical": "ladder_vae", "ladder": "ladder_vae", "sparse": "sparse_ae"}
"""Presets with what some posteriors need beside them."""


def built(option, latent_dim=D):
    """The head of that option; a ladder has a prior of its own."""
    words = [f"model={PRESETS[option]}"] if option in PRESETS else ["objective=reconstruction"]
    settings = check(composed(*words, f"posterior={option}"))
    head = settings.build("posterior", features=F, latent_dim=latent_dim)
    if head.layered:
        head.attach(settings.build("prior", latent_dim=latent_dim))
    return head


@pytest.fixture
def features():
    torch.manual_seed(0)
    return torch.randn(B, F)


def test_normal_has_mean_and_log_variance_linear_in_the_features(features):
    head = NormalPosterior(features=F, latent_dim=D)
    q = head(features)
    both = features @ head.projection.weight.T + head.projection.bias
    torch.testing.assert_close(q.mean, both[:, :D])
    torch.testing.assert_close(q.variance, both[:, D:].exp())
    assert q.event_shape == (D,)


def test_normal_samples_are_mean_plus_scale_times_noise(features):
    head = NormalPosterior(features=F, latent_dim=D)
    q, noise = head(features), torch.randn(K, B, D)
    z = head.sample(q, noise)
    for k in range(K):
        torch.testing.assert_close(z[k], q.mean + q.stddev * noise[k])
        assert torch.equal(z[k], head.sample(q, noise[k]))


def test_delta_samples_are_the_code_whatever_the_noise(features):
    head = DeltaPosterior(features=F, latent_dim=D)
    q = head(features)
    code = features @ head.projection.weight.T + head.projection.bias
    torch.testing.assert_close(q.mean, code)
    assert torch.equal(head.sample(q, torch.randn(K, B, D)), q.mean.expand(K, B, D))


@pytest.mark.parametrize("option", OPTIONS)
def test_every_posterior_turns_noise_into_samples_of_its_own(option, features):
    head = built(option)
    q = head(features)
    assert q.mean.shape == (B, D)
    n = 20_000 if head.moments else 5
    z = head.sample(q, torch.randn(n, B, D))
    assert z.shape == (n, B, D)
    if head.moments:
        error = z.std(0) / n**0.5
        assert ((z.mean(0) - q.mean).abs() < 5 * error + 1e-6).all()
        torch.testing.assert_close(z.std(0), q.stddev, rtol=0.05, atol=1e-5)
    else:
        assert torch.equal(q.mean, head.sample(q, torch.zeros(B, D)))
        assert head.scale(q) is None
    z[0].square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())
    with torch.autocast("cpu", torch.bfloat16):
        assert head(features).mean.dtype == torch.float32
    if head.stochastic:
        assert q.log_prob(z[0]).shape == (B,)


STOCHASTIC = [option for option in OPTIONS if option not in ("delta", "sigmoid", "sparse")]


def moved(option, latent_dim=D, far=0.2):
    """The head of that option, its parameters moved far from where they start."""
    head = built(option, latent_dim)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(far * torch.randn_like(parameter))
    return head


@pytest.mark.parametrize("option", STOCHASTIC)
@pytest.mark.parametrize("latent_dim", [1, 2, D])
def test_log_prob_is_the_noises_less_the_log_determinant_of_the_jacobian(option, latent_dim):
    if option in ("hierarchical", "ladder") and latent_dim == 1:
        return  # two layers have two dimensions at least
    torch.manual_seed(1)
    head, features = moved(option, latent_dim), torch.randn(B, F)
    noise = torch.randn(B, latent_dim)
    z = head.sample(head(features), noise)
    for i in range(B):

        def push(u, i=i):
            return head.sample(head(features[[i]]), u[None])[0]

        jacobian = torch.autograd.functional.jacobian(push, noise[i])
        expected = Normal(0, 1).log_prob(noise[i]).sum() - jacobian.det().abs().log()
        found = head(features).log_prob(z)[i]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("option", STOCHASTIC)
def test_the_density_of_every_posterior_integrates_to_1(option):
    torch.manual_seed(1)
    q = moved(option, 2, far=0.1)(torch.randn(1, F))
    line = torch.linspace(-12, 12, 601)
    with torch.no_grad():
        density = q.log_prob(torch.cartesian_prod(line, line)[:, None]).double().exp()
    assert float(density.sum()) * float(line[1] - line[0]) ** 2 == pytest.approx(1, abs=2e-3)


def test_full_normal_samples_have_the_covariance_of_its_factor(features):
    head, n = moved("full_normal"), 200_000
    q = head(features)
    factor = q.scale_tril
    raw = features @ head.projection.weight.T + head.projection.bias
    for i in range(B):
        by_hand = torch.diag((0.5 * raw[i, D : 2 * D]).exp())
        by_hand[1, 0], by_hand[2, 0], by_hand[2, 1] = raw[i, 2 * D :]
        torch.testing.assert_close(factor[i], by_hand)
    with torch.no_grad():
        z = head.sample(q, torch.randn(n, B, D))
    for i in range(B):
        found, expected = torch.cov(z[:, i].T), (factor[i] @ factor[i].T).detach()
        spread = expected.diagonal().sqrt()
        assert ((found - expected).abs() < 0.02 * spread[:, None] * spread).all()


def test_kl_of_a_full_normal_is_torchs_and_that_of_monte_carlo(features):
    head, n = moved("full_normal"), 100_000
    q = head(features)
    p = Independent(Normal(torch.tensor([0.5, -1.0, 0.0]), torch.tensor([0.7, 1.0, 2.0])), 1)
    with torch.no_grad():
        z = head.sample(q, torch.randn(n, B, D))
        found = kl(q, p, torch.full_like(z[0], torch.nan))
        estimate = q.log_prob(z) - p.log_prob(z)
    error = estimate.std(0) / n**0.5
    assert ((found - estimate.mean(0)).abs() < 4 * error).all()
    full = MultivariateNormal(p.mean, torch.diag_embed(p.variance))
    torch.testing.assert_close(found, kl_divergence(q, full).detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("option", STOCHASTIC)
def test_densities_and_samples_stay_in_float32_under_autocast(option, features):
    head = moved(option)
    noise = torch.randn(K, B, D)
    with torch.no_grad():
        with torch.autocast("cpu", torch.bfloat16):
            q = head(features)
            z = head.sample(q, noise)
            density = q.log_prob(z)
        assert z.dtype == density.dtype == torch.float32
        torch.testing.assert_close(z, head.sample(q, noise), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(density, q.log_prob(z), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("option", ["normal", "full_normal", "hierarchical"])
def test_a_detached_posterior_has_the_same_density_and_a_gradient_through_z_alone(option, features):
    head = moved(option)
    q = head(features)
    z = head.sample(q, torch.randn(B, D)).detach().requires_grad_()
    held = head.detached(q)
    torch.testing.assert_close(held.log_prob(z), q.log_prob(z))
    slope, expected = (torch.autograd.grad(each.log_prob(z).sum(), z)[0] for each in (held, q))
    torch.testing.assert_close(slope, expected)
    held.log_prob(z).sum().backward()
    assert all(parameter.grad is None for parameter in head.parameters())


@pytest.mark.parametrize("latent_dim", [1, 2, 16])
def test_a_flow_takes_features_of_any_size(latent_dim):
    torch.manual_seed(0)
    head = FlowPosterior(features=64, latent_dim=latent_dim, hidden=[64, 64])
    for size in (1.0, 30.0, 1e3, 1e6, 1e12):
        features = (size * torch.randn(500, 64)).requires_grad_()
        q, noise = head(features), torch.randn(500, latent_dim)
        z = head.sample(q, noise)
        head.zero_grad()
        (q.log_prob(z) + z.square().sum(-1)).sum().backward()
        assert z.isfinite().all(), size
        assert q.mean.isfinite().all(), size
        assert features.grad.isfinite().all(), size
        assert all(p.grad.isfinite().all() for p in head.parameters()), size
        if size <= 30:
            torch.testing.assert_close(q.transform(z), noise, rtol=0, atol=0.01)


def test_a_full_normal_of_one_dimension_is_the_normal():
    torch.manual_seed(0)
    features, full = torch.randn(B, F), FullNormalPosterior(features=F, latent_dim=1)
    plain = NormalPosterior(features=F, latent_dim=1)
    plain.projection.load_state_dict(full.projection.state_dict())
    noise = torch.randn(K, B, 1)
    a, b = full(features), plain(features)
    torch.testing.assert_close(full.sample(a, noise), plain.sample(b, noise))
    torch.testing.assert_close(a.log_prob(noise[0]), b.log_prob(noise[0]))


def test_codes_of_sigmoids_lie_between_0_and_1_and_others_are_brought_there(features):
    head = built("sigmoid")
    codes = head(features).mean
    torch.testing.assert_close(codes, head.projection(features).sigmoid())
    assert head.nearest(torch.tensor([-0.5, 0.3, 1.7])).tolist() == pytest.approx([0, 0.3, 1])
