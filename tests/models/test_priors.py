"""Priors against scipy and grids, and the Gaussian that is fitted to codes."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from parts import composed, experiment, options
from scipy import stats
from torch.distributions import Independent, Normal

from vae_run.config.check import check
from vae_run.config.renamed import updated
from vae_run.errors import CheckpointError, ConfigError
from vae_run.models.build import build_model
from vae_run.models.distributions.kl import kl
from vae_run.models.posteriors import FlowPosterior, FullNormalPosterior, NormalPosterior
from vae_run.models.priors import FittedGaussian, FlatPrior, StandardNormal, VampPrior
from vae_run.runs.identity import identity

D = 3


@pytest.fixture
def codes():
    generator = torch.Generator().manual_seed(0)
    mixing = torch.tensor([[2.0, 0.5, 0.0], [0.0, 1.0, -0.7], [0.0, 0.0, 0.1]])
    return torch.randn(500, D, generator=generator) @ mixing + torch.tensor([1.0, -2.0, 5.0])


def test_standard_normal_is_scipys():
    z = torch.linspace(-3, 3, 12).reshape(4, D)
    expected = stats.multivariate_normal.logpdf(z.double().numpy(), np.zeros(D), np.eye(D))
    found = StandardNormal(latent_dim=D)().log_prob(z)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float32))


def test_fitted_gaussian_has_the_mean_and_covariance_of_the_codes(codes):
    prior = FittedGaussian(latent_dim=D)
    prior.fit(codes)
    p, array = prior(), codes.double().numpy()
    covariance = torch.tensor(np.cov(array.T), dtype=torch.float32)
    torch.testing.assert_close(p.mean, codes.mean(0))
    torch.testing.assert_close(p.covariance_matrix, covariance, rtol=1e-4, atol=1e-5)
    expected = stats.multivariate_normal.logpdf(array[:5], array.mean(0), np.cov(array.T))
    torch.testing.assert_close(
        p.log_prob(codes[:5]), torch.tensor(expected, dtype=torch.float32), rtol=1e-3, atol=1e-3
    )


def test_fitted_gaussian_goes_with_the_weights(codes):
    prior, other = FittedGaussian(latent_dim=D), FittedGaussian(latent_dim=D)
    prior.fit(codes)
    other.load_state_dict(prior.state_dict())
    assert torch.equal(other().scale_tril, prior().scale_tril)
    assert torch.equal(other().mean, prior().mean)


def test_fitted_gaussian_before_it_is_fitted_says_so():
    with pytest.raises(CheckpointError, match="nothing was fitted to its codes"):
        FittedGaussian(latent_dim=D)()


@pytest.mark.parametrize(
    "few",
    [
        torch.zeros(10, D),
        torch.ones(1, D),
        torch.arange(10.0)[:, None] * torch.tensor([[1.0, -2.0, 0.0]]),
    ],
    ids=["all alike", "a single one", "on a line"],
)
def test_fitted_gaussian_takes_codes_without_spread(few):
    prior = FittedGaussian(latent_dim=D)
    prior.fit(few)
    drawn = prior().sample((100,))
    assert drawn.isfinite().all()
    nowhere = few.std(0, unbiased=False) == 0
    spread = few.std().nan_to_num().clamp(min=1e-4)
    assert ((drawn - few.mean(0)).abs()[:, nowhere] < 0.1 * spread).all()


def encode(x):
    """A posterior of images [C, 1, 1, 2] for priors that ask for one."""
    mean = torch.nn.functional.pad(x.flatten(1), (0, D - 2))
    return Independent(Normal(3 * mean, 0.5), 1)


OVER_INDICES = ("fitted_codes", "fitted_autoregressive")  # test_index_priors.py has them


@pytest.mark.parametrize("option", [o for o in options("prior") if o not in OVER_INDICES])
def test_every_prior_samples_codes_that_have_a_density(option, codes):
    presets = {"spherical": "hyperspherical_vae", "hierarchical": "hierarchical_vae"}
    chosen = [f"model={presets[option]}"] if option in presets else []
    objective = "reconstruction" if option.startswith("fitted") else "elbo"
    quick = ["prior.steps=50"] if option == "fitted_flow" else []
    settings = check(composed(*chosen, f"objective={objective}", f"prior={option}", *quick))
    prior = settings.build("prior", latent_dim=D, event_shape=(1, 1, 2), encode=encode)
    assert prior.description
    if prior.fitted_to_codes:
        prior.fit(codes)
    assert prior().event_shape == (D,)
    if not prior.proper:
        return
    z = prior().sample((50,))
    assert z.shape == (50, D)
    assert prior().log_prob(z).shape == (50,)
    assert prior().log_prob(z).isfinite().all()
    assert prior().log_prob(z.expand(3, 50, D)).shape == (3, 50)


# densities integrate to 1


def built(option, latent_dim, *words):
    """The prior of a small model, its parameters moved far from where they start."""
    torch.manual_seed(0)
    words = ("network.widths=[8]", "network.activation=tanh", f"prior={option}", *words)
    model = build_model(check(composed(*words, f"latent_dim={latent_dim}")), (1, 4, 5))
    with torch.no_grad():
        for parameter in model.prior.parameters():
            far = 0.1 if option == "flow" else 0.5  # a flow's densities soon have spikes
            parameter.add_(far * torch.randn_like(parameter))
        model.posterior.projection.weight.mul_(3)
    return model


@pytest.mark.parametrize("latent_dim", [1, 2])
@pytest.mark.parametrize("option", ["standard_normal", "mixture", "vamp", "flow"])
def test_the_density_integrates_to_1_and_is_that_of_the_samples(option, latent_dim):
    p = built(option, latent_dim).latent_prior()
    line = torch.linspace(-9, 9, 361 if latent_dim == 2 else 50_001)
    step = float(line[1] - line[0])
    z = torch.cartesian_prod(*[line] * latent_dim).reshape(-1, latent_dim)
    with torch.no_grad():
        mass = p.log_prob(z).double().exp() * step**latent_dim
        drawn = p.sample((20_000,))
    assert float(mass.sum()) == pytest.approx(1, abs=2e-3)
    for power in (1, 2):
        expected = (mass[:, None] * z**power).sum(0)
        error = (drawn**power).std(0) / 20_000**0.5
        assert (((drawn**power).mean(0) - expected).abs() < 5 * error + 1e-3).all(), power


def test_a_prior_flow_is_far_from_the_standard_normal():
    """So the test above integrates something."""
    z, far = torch.randn(200, 2), built("flow", 2).latent_prior()
    standard = StandardNormal(latent_dim=2)()
    assert (far.log_prob(z) - standard.log_prob(z)).abs().mean() > 0.2


def test_the_mixture_is_the_weighted_sum_of_its_normals():
    prior = built("mixture", 2, "prior.components=4").prior
    z, weights = torch.randn(50, 2), prior.logits.exp() / prior.logits.exp().sum()
    scale = 1e-3 + (1 + prior.rho.exp()).log()
    each = stats.norm.pdf(z[:, None].numpy(), *(p.detach().numpy() for p in (prior.loc, scale)))
    expected = np.log((weights.detach().numpy() * each.prod(2)).sum(1))
    torch.testing.assert_close(prior().log_prob(z), torch.tensor(expected, dtype=torch.float32))
    assert weights.max() > 1.2 * weights.min()


@pytest.mark.parametrize("option", ["mixture", "vamp", "flow"])
def test_trained_priors_get_a_gradient_at_every_parameter(option):
    made = experiment(f"prior={option}", "likelihood=gaussian")
    batch = next(made.view(made.splits.val).batches())
    made.objective(made.model, batch, 0.0)["loss"].mean().backward()
    for name, parameter in made.model.prior.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


# the VampPrior


@pytest.mark.parametrize("posterior", ["normal", "full_normal"])
def test_vamp_is_the_mixture_of_the_posteriors_of_its_pseudo_inputs(posterior):
    model = built("vamp", 2, "prior.components=7", f"posterior={posterior}")
    z, p = torch.randn(40, 2), model.latent_prior()
    pseudo = model.prior.pseudo_inputs.sigmoid()
    assert pseudo.shape == (7, 1, 4, 5)
    each = torch.stack([model.encode(u[None]).log_prob(z) for u in pseudo])
    expected = each.double().exp().mean(0).log().float()
    torch.testing.assert_close(p.log_prob(z), expected, rtol=1e-4, atol=1e-4)
    p.log_prob(z).sum().backward()
    for part in (model.encoder, model.posterior, model.prior):
        assert all(w.grad is not None and w.grad.abs().sum() > 0 for w in part.parameters())


def test_vamp_leaves_the_encoder_to_the_model_and_is_copied_with_it():
    model = built("vamp", 2, "prior.components=7")
    assert [name for name in model.state_dict() if name.startswith("prior")] == [
        "prior.pseudo_inputs"
    ]
    plain = built("standard_normal", 2)
    assert set(model.state_dict()) == {*plain.state_dict(), "prior.pseudo_inputs"}
    z, other = torch.randn(5, 2), copy.deepcopy(model)
    before = other.latent_prior().log_prob(z)
    with torch.no_grad():
        model.posterior.projection.bias += 1.0
    assert torch.equal(other.latent_prior().log_prob(z), before)
    assert not torch.allclose(model.latent_prior().log_prob(z), before)


def test_vamp_takes_a_flow_posterior():
    words = ("prior=vamp", "prior.components=7", "posterior=flow", "latent_dim=2")
    model = build_model(check(composed(*words, "network.widths=[8]")), (1, 4, 5))
    p = model.latent_prior()
    z = p.sample((30,))
    pseudo = model.prior.pseudo_inputs.sigmoid()
    each = torch.stack([model.encode(u[None]).log_prob(z) for u in pseudo])
    torch.testing.assert_close(p.log_prob(z), each.logsumexp(0) - math.log(7))


# the flat prior


def test_under_the_flat_prior_the_kl_is_the_negative_entropy():
    torch.manual_seed(0)
    p, features = FlatPrior(latent_dim=D)(), torch.randn(4, 6)
    normal = NormalPosterior(features=6, latent_dim=D)(features)
    expected = -(0.5 * (2 * math.pi * math.e * normal.variance).log()).sum(-1)
    torch.testing.assert_close(kl(normal, p, torch.empty(4, D)), expected)
    full = FullNormalPosterior(features=6, latent_dim=D)(features)
    expected = -0.5 * (2 * math.pi * math.e * full.covariance_matrix).logdet()
    torch.testing.assert_close(kl(full, p, torch.empty(4, D)), expected, rtol=1e-4, atol=1e-4)
    head = FlowPosterior(features=6, latent_dim=D, hidden=[16])
    q = head(features)
    z = head.sample(q, torch.randn(9, 4, D))
    torch.testing.assert_close(kl(q, p, z), q.log_prob(z).mean(0))


def test_the_flat_prior_refuses_to_be_sampled_by_name():
    made = experiment("prior=flat")
    with pytest.raises(ConfigError, match="prior=flat is improper"):
        made.model.sample(3)


def test_the_flat_prior_has_an_entropy_but_no_kl_and_no_elbo():
    made = experiment("prior=flat", "likelihood=gaussian")
    found = made.evaluation.measure(made.view(made.splits.val))
    assert {"loss", "reconstruction", "negative_entropy"} <= set(found)
    assert not {"kl", "elbo", "log_likelihood"} & set(found)
    assert found["loss"] == pytest.approx(found["reconstruction"] + found["negative_entropy"])


@pytest.mark.parametrize("option", options("objective"))
def test_the_flat_prior_is_refused_by_name_where_a_bound_or_samples_are_needed(option):
    if option in ("elbo", "beta_elbo", "reconstruction", "regularized", "sparse", "contractive"):
        needed = [f"model={option}_ae"] if option in ("sparse", "contractive") else []
        check(composed(*needed, f"objective={option}", "prior=flat"))
    else:
        with pytest.raises(ConfigError, match=r"prior=flat is improper|prior=standard_normal"):
            check(composed(f"objective={option}", "prior=flat"))


def test_free_pseudo_inputs_leave_the_unit_interval_and_start_at_the_data():
    words = ("prior=vamp", "prior.pseudo_inputs=free", "likelihood=gaussian")
    made = experiment(*words, "prior.components=400")
    free = made.model.prior.free_inputs.detach()
    x = made.splits.train.images
    assert free.shape == (400, 1, 4, 5)
    torch.testing.assert_close(free.mean(0), x.mean(0), rtol=0, atol=0.1)
    torch.testing.assert_close(free.std(0), x.std(0), rtol=0.2, atol=0)
    with torch.no_grad():
        made.model.prior.free_inputs.fill_(-2.0)
        z, q = torch.randn(5, 3), made.model.encode(torch.full((1, 1, 4, 5), -2.0))
        torch.testing.assert_close(made.model.latent_prior().log_prob(z), q.log_prob(z))


def test_pseudo_inputs_of_pixels_are_refused_for_data_that_are_none():
    prior = VampPrior(event_shape=(2,), encode=encode)
    mean, spread = torch.zeros(2), torch.ones(2)
    prior.start_at(mean, spread, (0.0, 1.0))
    for extent in ((-2.1, 3.0), (0.0, 255.0)):
        with pytest.raises(ConfigError, match=r"prior=vamp: .*prior\.pseudo_inputs=free"):
            prior.start_at(mean, spread, extent)
    free = VampPrior(event_shape=(2,), encode=encode, pseudo_inputs="free")
    free.start_at(mean, spread, (-2.1, 3.0))
    assert prior.state_dict().keys().isdisjoint(free.state_dict()), "never taken for each other"


def test_a_vamp_prior_of_an_earlier_run_keeps_its_sigmoid_and_its_identity():
    now = composed("prior=vamp")
    earlier = copy.deepcopy(now)
    del earlier["prior"]["pseudo_inputs"]
    assert identity(earlier) == identity(now)
    assert identity(composed("prior=vamp", "prior.pseudo_inputs=free")) != identity(now)
    model = build_model(check(updated(earlier)), (1, 4, 5))
    assert not model.prior.free
