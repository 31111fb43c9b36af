"""Codes of several stochastic layers: chains of conditionals, their bounds, what reads them."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from parts import composed, experiment, grey
from torch import nn
from torch.distributions import MultivariateNormal, Normal

from vae_run.config.check import check
from vae_run.data.batches import Batch
from vae_run.errors import ConfigError
from vae_run.evaluation.codes import evaluating
from vae_run.evaluation.metrics.active_units import active_units
from vae_run.evaluation.pictures.traversals import traversals, widest
from vae_run.models.build import build_model
from vae_run.models.distributions.kl import kl
from vae_run.models.distributions.layered import LayeredNormal, layer_sizes
from vae_run.models.networks.conditional import ConditionalNormal
from vae_run.objectives import IWAE

PRESETS = ("hierarchical_vae", "ladder_vae")
SHAPE, THREE = (1, 4, 5), [3, 2, 1]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def of_three_layers(preset: str) -> nn.Module:
    """A model with codes of 3 + 2 + 1 dimensions, its parameters moved from where they start."""
    words = ("latent_dim=6", f"posterior.layers={THREE}", "posterior.hidden=[[5],[]]")
    small = ("network.widths=[8]", "network.activation=tanh", "likelihood=gaussian")
    model = build_model(check(composed(f"model={preset}", *words, *small)), SHAPE)
    with torch.no_grad():
        for parameter in (*model.posterior.parameters(), *model.prior.parameters()):
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.requires_grad_(False)


def log_normal(moments: tuple[torch.Tensor, torch.Tensor], z: torch.Tensor) -> torch.Tensor:
    loc, log_variance = moments
    return Normal(loc, (0.5 * log_variance).exp()).log_prob(z).sum(-1)


# densities


def test_the_density_of_the_hierarchy_is_the_sum_of_its_conditionals() -> None:
    model, x = of_three_layers("hierarchical_vae"), torch.rand(4, *SHAPE)
    head, z = model.posterior, torch.randn(7, 4, 6)
    z1, z2, z3 = z.split(THREE, -1)
    first, second = head.conditionals
    expected = log_normal(head.projection.moments(model.encoder(x)), z1)
    expected += log_normal(first.moments(z1), z2) + log_normal(second.moments(z2), z3)
    torch.testing.assert_close(model.encode(x).log_prob(z), expected)
    below, above = model.prior.conditionals
    expected = log_normal(below.moments(z2), z1) + log_normal(above.moments(z3), z2)
    expected += Normal(0, 1).log_prob(z3).sum(-1)
    torch.testing.assert_close(model.latent_prior().log_prob(z), expected)


def test_the_ladder_multiplies_the_estimate_of_the_image_with_the_prior() -> None:
    """q(z1|z2,x) / (N(z1; m, s^2) p(z1|z2)) does not depend on z1, nor that of z2 on z2."""
    model, x = of_three_layers("ladder_vae"), torch.rand(4, *SHAPE)
    head, features = model.posterior, model.encoder(x)
    q, p = model.encode(x), model.latent_prior()
    estimates = []
    for number, (block, own) in enumerate(zip([None, *head.blocks], head.heads, strict=True)):
        features = features if block is None else block(features)
        estimates.append(own.moments(features))
        assert estimates[-1][0].shape == (4, THREE[number])
    one, other = torch.randn(2, 4, 6)
    for layer, place in ((0, slice(0, 3)), (1, slice(3, 5))):
        changed = one.clone()
        changed[:, place] = other[:, place]
        found = []
        for z in (one, changed):
            parts, drawn = z.split(THREE, -1), 2 - layer  # drawn from the top
            inner = log_normal(estimates[layer], parts[layer])
            conditional, below = q.conditionals(z)[drawn], p.conditionals(z)[drawn]
            inner = inner + below.log_prob(parts[layer]).sum(-1)
            found.append(conditional.log_prob(parts[layer]).sum(-1) - inner)
        torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)
    top = q.conditionals(one)[0]
    torch.testing.assert_close(top.loc, estimates[-1][0])


@pytest.mark.parametrize("preset", PRESETS)
def test_samples_are_drawn_layer_after_layer_from_given_noise(preset: str) -> None:
    model, x = of_three_layers(preset), torch.rand(4, *SHAPE)
    q, noise = model.encode(x), torch.randn(5, 4, 6)
    z = model.posterior.sample(q, noise)
    own = zip(q.conditionals(z), q._in_order(z), q._in_order(noise), strict=True)
    for given, layer, drawn in own:
        torch.testing.assert_close(layer, given.loc + given.scale * drawn)
    assert torch.equal(q.mean, q.push(torch.zeros(4, 6)))


@pytest.mark.parametrize("preset", PRESETS)
def test_the_kl_is_that_of_monte_carlo_and_0_where_q_is_p(preset: str) -> None:
    model, x, n = of_three_layers(preset), torch.rand(3, *SHAPE), 40_000
    q, p = model.encode(x), model.latent_prior()
    z = model.posterior.sample(q, torch.randn(n, 3, 6))
    sampled = q.log_prob(z) - p.log_prob(z)
    error = sampled.std(0) / math.sqrt(n)
    assert ((kl(q, p, z) - sampled.mean(0)).abs() < 4 * error).all()
    if preset == "ladder_vae":  # each term in closed form given the layer above, so less noise
        assert (q.kl(p, z).std(0) < 0.8 * sampled.std(0)).all()
    drawn = p.sample((9,))
    assert drawn.shape == (9, 6)
    torch.testing.assert_close(kl(p, p, drawn), torch.zeros(9))


# the exact marginal of a linear chain


class LinearChain:
    """z2 ~ N(0, 1), z1 = a z2 + N(0, s^2), x = w z1 + N(0, sigma^2 I), with the exact posterior.

    With one dimension in each layer all conditionals of p(z|x) are normal, and q can be exact.
    """

    slope, noise, sigma = 0.8, 0.5, 0.6
    weights = torch.tensor([1.0, -0.5, 0.7])

    def __init__(self, preset: str, *, variance_factor: float = 1.0, error: float = 0.0) -> None:
        words = ("latent_dim=2", "posterior.hidden=[]", "network.widths=[]")
        likelihood = ("likelihood=gaussian", f"likelihood.sigma={self.sigma}")
        self.model = build_model(check(composed(f"model={preset}", *words, *likelihood)), (3,))
        spread = self.slope**2 + self.noise**2  # of z1 under p
        own = (
            float(self.weights.square().sum()) / self.sigma**2
        )  # precision of the image's estimate
        towards = self.weights / float(self.weights.square().sum())  # x -> the estimate of z1
        given_x = 1 / (own + 1 / spread)
        up = self.slope / spread  # E[z2|z1]
        model, posterior = self.model, self.model.posterior
        with torch.no_grad():
            self._set(model.prior.conditionals[0].head, torch.tensor([self.slope]), self.noise**2)
            model.likelihood.projection[0].weight.copy_(self.weights[:, None])
            model.likelihood.projection[0].bias.zero_()
            if preset == "hierarchical_vae":
                variance = variance_factor * given_x
                self._set(posterior.projection, given_x * own * towards + error, variance)
                above = 1 - self.slope**2 / spread
                head = posterior.conditionals[0].head
                self._set(head, torch.tensor([up]), variance_factor * above)
            else:
                self._set(posterior.heads[0], towards + error, variance_factor / own)
                shown = 1 / own + self.noise**2  # variance of the estimate of z1 around a z2
                precision = 1 + self.slope**2 / shown
                mean = self.slope / shown / precision * towards
                self._set(posterior.heads[1], mean + error, variance_factor / precision)
        covariance = spread * torch.outer(self.weights, self.weights)
        covariance = covariance.double() + self.sigma**2 * torch.eye(3).double()
        self.marginal = MultivariateNormal(torch.zeros(3).double(), covariance)
        self.x = self.marginal.sample((6,)).float()

    @staticmethod
    def _set(head: nn.Linear, weight: torch.Tensor, variance: float) -> None:
        head.weight.copy_(torch.stack([weight, torch.zeros_like(weight)]))
        head.bias.copy_(torch.tensor([0.0, math.log(variance)]))

    def bound(self, objective: IWAE, noise: torch.Tensor) -> torch.Tensor:
        batch = Batch(self.x, self.x, noise)
        return -objective(self.model, batch, 0.0)["loss"].detach()

    def log_marginal(self) -> torch.Tensor:
        return self.marginal.log_prob(self.x.double()).float()


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("k", [1, 7])
def test_the_bound_with_the_exact_posterior_is_log_p_of_x_at_every_sample(
    preset: str, k: int
) -> None:
    exact = LinearChain(preset)
    found = exact.bound(IWAE(importance_samples=k), torch.randn(k, 6, 2))
    torch.testing.assert_close(found, exact.log_marginal(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("preset", PRESETS)
def test_bounds_of_a_wrong_posterior_rise_with_k_to_log_p_of_x(preset: str) -> None:
    wrong, draws = LinearChain(preset, variance_factor=2.0, error=0.2), 3000
    found = []
    for k in (1, 5, 50):
        noise = torch.randn(draws * k, 6, 2)
        found.append(wrong.bound(IWAE(importance_samples=k, groups=draws), noise).mean())
    below = [float(wrong.log_marginal().mean() - each) for each in found]
    assert below[0] > 2 * below[1] > 8 * below[2] > -0.02
    assert abs(below[2]) < 0.02


def test_gradients_of_a_sampled_bound_go_through_both_layers() -> None:
    """Of the last layer alone: the first one moves it, and has a gradient by it."""
    made = experiment("model=hierarchical_vae", "likelihood=gaussian").model
    z = made.posterior.sample(made.encode(torch.rand(5, *SHAPE)), torch.randn(5, 3))
    z[:, -1].sum().backward()
    parts = (made.encoder, made.posterior.projection, made.posterior.conditionals)
    assert all(float(p.grad.abs().sum()) > 0 for part in parts for p in part.parameters())


# what the code means to the rest


@pytest.mark.parametrize("preset", PRESETS)
def test_the_decoder_reads_the_first_layer_alone(preset: str) -> None:
    model, z = of_three_layers(preset), torch.randn(4, 6)
    other = torch.cat([z[:, :3], torch.randn(4, 3)], 1)
    assert torch.equal(model.decode(z).mean, model.decode(other).mean)
    assert not torch.allclose(model.decode(z).mean, model.decode(z + 0.1).mean)
    given = check(composed(f"model={preset}", "latent_dim=6", "condition=label"))
    conditional = build_model(given, SHAPE, classes=[0, 1, 2])
    assert conditional.decode(z, 1).mean.shape == (4, *SHAPE)
    assert conditional.decoder[0].in_features == 4 + 3, "2/3 of 6 dimensions, and the classes"


def test_a_copied_ladder_has_a_prior_of_its_own_which_stands_once_in_its_state() -> None:
    model = of_three_layers("ladder_vae")
    assert not any("prior" in name for name in model.posterior.state_dict())
    x, other = torch.rand(2, *SHAPE), copy.deepcopy(model)
    z, before = torch.randn(2, 6), other.encode(x).mean
    density = other.encode(x).log_prob(z)
    for parameter in model.prior.parameters():
        parameter.add_(1.0)
    assert torch.equal(other.encode(x).mean, before)
    assert torch.equal(other.encode(x).log_prob(z), density)
    assert not torch.allclose(model.encode(x).log_prob(z), density)


def test_the_expected_code_is_exact_for_linear_layers_and_close_to_many_samples_else() -> None:
    linear = LinearChain("hierarchical_vae")
    q = linear.model.encode(linear.x)
    torch.testing.assert_close(linear.model.posterior.expectation(q), q.mean)
    curved, x = of_three_layers("hierarchical_vae"), torch.rand(5, *SHAPE)
    q = curved.encode(x)
    many = curved.posterior.sample(q, torch.randn(50_000, 5, 6))
    off = curved.posterior.expectation(q) - many.mean(0)
    assert (off.abs() < 0.6 * many.std(0)).all()
    torch.testing.assert_close(curved.posterior.expectation(q)[:, :3], q.mean[:, :3])


def test_active_units_are_counted_in_each_layer() -> None:
    made = experiment("model=hierarchical_vae", "latent_dim=6", "posterior.hidden=[]")
    head, view = made.model.posterior, made.view(made.splits.val)
    with torch.no_grad():  # three of four dimensions are read from the image, one of two from them
        head.projection.weight[:3] *= 20
        head.projection.weight[3:] = 0
        conditional = head.conditionals[0]
        assert isinstance(conditional, ConditionalNormal)
        conditional.head.weight[0] = torch.tensor([1.0, 0, 0, 0])
        conditional.head.weight[1] = torch.tensor([0, 0, 0, 1.0])
    with evaluating(made.model):
        found = active_units(view)
    assert found == {"active_units": 4, "active_units_layer_1": 3, "active_units_layer_2": 1}


def test_a_traversal_of_the_upper_layer_moves_the_lower_one_by_the_prior() -> None:
    model, z = of_three_layers("hierarchical_vae"), torch.randn(5, 6)
    below, above = model.prior.conditionals
    assert torch.equal(model.prior.carried(z, 2), z)
    carried = model.prior.carried(z, 4)
    torch.testing.assert_close(carried[:, :3], below.moments(z[:, 3:5])[0])
    assert torch.equal(carried[:, 3:], z[:, 3:])
    carried = model.prior.carried(z, 5)
    torch.testing.assert_close(carried[:, 3:5], above.moments(z[:, 5:])[0])
    torch.testing.assert_close(carried[:, :3], below.moments(carried[:, 3:5])[0])
    spread = torch.tensor([0.1, 0.3, 0.2, 9.0, 0.5, 7.0])
    active = torch.ones(6, dtype=torch.bool)
    assert widest(spread, active, (3, 2, 1)).tolist() == [1, 2, 0, 3, 4, 5]
    active[torch.tensor([0, 2, 5])] = False
    assert widest(spread, active, (3, 2, 1)).tolist() == [1, 3, 4, 5], "one of a layer without any"
    made = experiment("model=ladder_vae")
    with evaluating(made.model):
        assert traversals(made.view(made.splits.val)) is not None


@pytest.mark.parametrize("objective", ["iwae", "capacity"])
def test_two_layers_learn_by_every_bound(objective: str) -> None:
    made = experiment("model=hierarchical_vae", f"objective={objective}", "likelihood=gaussian")
    x = grey(20).images
    batch = Batch(x, x, torch.randn(made.objective.samples, 20, 3))
    optimizer = torch.optim.Adam(made.model.parameters(), 1e-2)
    losses = []
    for _ in range(25):
        optimizer.zero_grad()
        loss = made.objective(made.model, batch, 0.0)["loss"].mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 1


# keys


def test_layers_left_out_are_two_thirds_and_a_third() -> None:
    found = [layer_sizes(None, size) for size in (2, 3, 16, 150)]
    assert found == [(1, 1), (2, 1), (11, 5), (100, 50)]
    settings = check(composed("model=ladder_vae", "latent_dim=150", "posterior.hidden=[7]"))
    assert settings.parts["prior"]["hidden"] == [7], "the prior follows the posterior"
    assert isinstance(build_model(settings, SHAPE).latent_prior(), LayeredNormal)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("posterior.layers=[10,5]", r"^posterior.layers: found \[10, 5\].*Set latent_dim=15"),
        ("latent_dim=1", "^latent_dim: found 1, but two layers"),
        ("posterior.layers=[16]", "^posterior.layers: found"),
        ("posterior.hidden=[[5],[5]]", "^posterior.hidden: found 2 lists of widths"),
        ("posterior.activation=tan", "^posterior.activation: torch has no activation 'tan'"),
        ("prior=standard_normal", "^prior: found StandardNormal.*Use prior=hierarchical"),
        ("prior=vamp", "^prior: found VampPrior.*Use prior=hierarchical"),
        ("posterior=normal", "^prior=hierarchical: is a prior of codes of several layers"),
        ("prior.layers=[8,8]", r"^prior.layers: found \[8, 8\].*\[11, 5\]"),
        ("prior.hidden=[[5],[5]]", "^prior.hidden: found 2 lists"),
        ("latent_shape=[4,2,2] network=conv", "^latent_shape: found.*layers of codes are vectors"),
        ("objective=reconstruction", "^prior: found HierarchicalPrior, whose parameters"),
        ("objective=beta_tc", "^objective=beta_tc: needs a posterior and a prior that factorise"),
        ("objective=dip", "^objective=dip: needs the mean and covariance"),
        ("objective=reweighted_wake_sleep", "LadderPosterior has the prior's parameters"),
        (
            "objective=iwae objective.partial=true objective.groups=2",
            "^objective.partial: LadderPosterior and HierarchicalPrior have parameters in common",
        ),
        ("evaluation.metrics=[posterior_scale]", "LadderPosterior does not know its variance"),
    ],
)
def test_what_layers_cannot_be_is_refused_by_name(words: str, message: str) -> None:
    def built() -> None:
        build_model(check(composed("model=ladder_vae", *words.split())), SHAPE)

    with pytest.raises(ConfigError, match=message):
        built()


def test_the_second_half_of_table_1_has_the_papers_architecture() -> None:
    settings = check(composed("experiment=iwae_table1_two_layers"))
    model = build_model(settings, (1, 28, 28))
    shapes = [
        tuple(m.weight.shape)
        for part in (model.posterior, model.prior, model.decoder)
        for m in part.modules()
        if isinstance(m, nn.Linear)
    ]
    upward = [(200, 200), (100, 100), (100, 100), (100, 100)]
    downward = [(100, 50), (100, 100), (200, 100), (200, 100), (200, 200)]
    assert shapes == [*upward, *downward]
    assert settings.parts["trainer"]["batch_size"] == 20
    assert settings.parts["objective"]["importance_samples"] == 5
