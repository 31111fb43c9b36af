"""Kinds of normalising flows: densities, directions, masks, and the inverse of planes."""

from __future__ import annotations

import pytest
import torch
from parts import composed
from test_samplers import banana, banana_log_prob
from torch.distributions import Normal

from vae_run.config.check import check
from vae_run.errors import ConfigError
from vae_run.models.distributions.planar_flow import Plane
from vae_run.models.distributions.spline_flow import Flow, FlowDistribution
from vae_run.models.posteriors import FlowPosterior
from vae_run.models.priors import FittedFlow, FittedGaussian, FlowPrior

KINDS = ("iaf", "maf", "planar")
B, D, F = 4, 3, 5


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def moved(kind: str, latent_dim: int = D, *, far: float = 0.3) -> FlowPosterior:
    head = FlowPosterior(features=F, latent_dim=latent_dim, kind=kind, hidden=[16])
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(far * torch.randn_like(parameter))
    return head


@pytest.mark.parametrize("latent_dim", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_densities_of_codes_from_elsewhere_integrate_to_1(kind: str, latent_dim: int) -> None:
    prior = FlowPrior(latent_dim=latent_dim, kind=kind, hidden=[16])
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    line = torch.linspace(-12, 12, 401 if latent_dim == 2 else 20_001)
    step = float(line[1] - line[0])
    z = torch.cartesian_prod(*[line] * latent_dim).reshape(-1, latent_dim)
    q = moved(kind, latent_dim, far=0.1)(torch.randn(1, F))
    with torch.no_grad():
        for density in (prior().log_prob(z), q.log_prob(z[:, None])):
            assert float(density.double().exp().sum()) * step**latent_dim == pytest.approx(
                1, abs=3e-3
            )


@pytest.mark.parametrize("latent_dim", [1, D])
@pytest.mark.parametrize("kind", KINDS)
def test_the_density_of_a_sample_is_that_of_its_noise_less_the_log_determinant(
    kind: str, latent_dim: int
) -> None:
    head, features = moved(kind, latent_dim), torch.randn(B, F)
    noise, q = torch.randn(B, latent_dim), head(features)
    z = head.sample(q, noise)
    for i in range(B):

        def push(u: torch.Tensor, i: int = i) -> torch.Tensor:
            return head.sample(head(features[[i]]), u[None])[0]

        jacobian = torch.autograd.functional.jacobian(push, noise[i])
        expected = Normal(0, 1).log_prob(noise[i]).sum() - jacobian.det().abs().log()
        torch.testing.assert_close(q.log_prob(z)[i], expected, rtol=1e-4, atol=1e-4)
        elsewhere = q.log_prob(z.clone())[i]
        torch.testing.assert_close(elsewhere, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["iaf", "planar"])
def test_a_remembered_density_has_the_gradients_of_one_by_the_inverse(kind: str) -> None:
    head, features, noise = moved(kind), torch.randn(B, F), torch.randn(7, B, D)
    slopes = []
    for remembered in (True, False):
        q = head(features)
        z = head.sample(q, noise)
        density = q.log_prob(z if remembered else z.clone())
        assert density.shape == (7, B)
        slopes.append(torch.autograd.grad(density.square().sum(), tuple(head.parameters())))
    for own, expected in zip(*slopes, strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-2, atol=1e-2 * float(expected.norm()))


def test_codes_held_constant_have_a_density_by_the_inverse_without_gradient_through_them() -> None:
    head, features = moved("iaf"), torch.randn(B, F)
    q = head(features)
    z = head.sample(q, torch.randn(B, D))
    held = z.detach()
    assert isinstance(q, FlowDistribution)
    assert q.pushed is not None
    slope = torch.autograd.grad(q.log_prob(held).sum(), tuple(head.parameters()))
    again = torch.autograd.grad(head(features).log_prob(held).sum(), tuple(head.parameters()))
    for own, expected in zip(slope, again, strict=True):
        torch.testing.assert_close(own, expected)


@pytest.mark.parametrize("kind", ["iaf", "maf"])
@pytest.mark.parametrize("features", [0, F])
def test_masks_are_autoregressive(kind: str, features: int) -> None:
    """The Jacobian of one transformation is lower triangular, with all entries below used."""
    flow = Flow(6, features, 1, [32], kind)
    context = torch.randn(F) if features else None
    q = flow(context)
    jacobian = torch.autograd.functional.jacobian(q.push, torch.randn(6))
    assert float(jacobian.triu(1).abs().max()) < 1e-6
    assert float(jacobian[torch.tril_indices(6, 6).unbind()].abs().min()) > 0


def test_an_inverse_autoregressive_flow_is_the_inverse_of_a_masked_one() -> None:
    masked, inverse = Flow(D, 0, 2, [16], "maf"), Flow(D, 0, 2, [16], "iaf")
    inverse.load_state_dict(masked.state_dict())
    noise = torch.randn(50, D)
    torch.testing.assert_close(inverse().push(masked().push(noise)), noise, rtol=0, atol=1e-4)


def test_planes_are_inverted_also_where_they_nearly_fold() -> None:
    """Papers' u with w.u far below -1 is moved so that the map stays invertible."""
    w, u, b = torch.randn(200, D), 4 * torch.randn(200, D), torch.randn(200, 1)
    plane, z = Plane.of(w, u, b), torch.randn(200, D)
    assert float(((w * u).sum(-1) < -1).float().mean()) > 0.2
    assert float(plane.slope.min()) > -1
    y, ladj = plane.forward(z)
    assert bool(ladj.isfinite().all())
    steep = ladj.exp() < 0.05  # there rounding of y is a larger change of z
    torch.testing.assert_close(plane.inverse(y)[~steep], z[~steep], rtol=0, atol=2e-3)
    torch.testing.assert_close(plane.forward(plane.inverse(y))[0], y, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ["maf", "planar"])
def test_a_fitted_flow_of_each_kind_is_closer_than_the_gaussian_it_starts_at(kind: str) -> None:
    train, test = banana(600), banana(600)
    gaussian = FittedGaussian(latent_dim=2)
    gaussian.fit(train)
    shape = {"kind": kind, "transforms": 4, "hidden": [16], "steps": 100}
    flow = FittedFlow(latent_dim=2, **shape)
    flow.fit(train)
    best, start = float(banana_log_prob(test).mean()), float(gaussian().log_prob(test).mean())
    found = float(flow().log_prob(test).mean())
    assert start + 0.1 * (best - start) < found < best + 0.02
    other = FittedFlow(latent_dim=2, **shape)
    other.load_state_dict(flow.state_dict())
    torch.testing.assert_close(other().log_prob(test), flow().log_prob(test))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["posterior=flow", "posterior.kind=maf"], "^posterior.kind: found maf.*kind=iaf"),
        (["prior=flow", "prior.kind=iaf"], "^prior.kind: found iaf.*kind=maf"),
        (["model=ae", "prior=fitted_flow", "prior.kind=iaf"], "^prior.kind: found iaf"),
        (["posterior=flow", "posterior.kind=glow"], "^posterior.kind: found 'glow'.*'planar'"),
    ],
)
def test_slow_directions_are_refused_by_name(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check(composed(*words))
