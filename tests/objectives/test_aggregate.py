"""Objectives on the aggregate posterior: its estimates against sums over the whole data set."""

from __future__ import annotations

import math
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from parts import composed, experiment, grey
from torch.distributions import Independent, MultivariateNormal, Normal

from vae_run.config.check import check
from vae_run.data.batches import Batch
from vae_run.errors import ConfigError
from vae_run.objectives import DIP, ELBO, MMD, BetaTC
from vae_run.objectives.aggregate_posterior import (
    squared_mmd,
    stratified_log_weights,
    total_correlation_terms,
)
from vae_run.objectives.reconstruction import distance_from_orthonormal

N, D = 48, 3


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
    with torch.no_grad():
        yield


@pytest.fixture
def posteriors():
    """loc and scale [N, D] of a data set of N images; correlated, so that TC is not 0."""
    mixing = torch.tensor([[1.0, 0.8, 0.0], [0.0, 0.6, 0.0], [0.0, 0.0, 1.0]])
    return torch.randn(N, D) @ mixing, 0.3 + 0.5 * torch.rand(N, D)


def diagonal(loc, scale):
    return Independent(Normal(loc, scale), 1)


def standard():
    return diagonal(torch.zeros(D), torch.ones(D))


def exact_terms(loc, scale, z):
    """log q(z) [B] and sum_d log q(z_d) [B] of the whole data set, by a loop in float64."""
    loc, scale, z = (array.double().numpy() for array in (loc, scale, z))
    joint, product = [], []
    for point in z:
        densities = np.exp(-0.5 * ((point - loc) / scale) ** 2) / (scale * math.sqrt(2 * math.pi))
        joint.append(np.log(densities.prod(1).mean()))
        product.append(np.log(densities.mean(0)).sum())
    return torch.tensor(np.array(joint)).float(), torch.tensor(np.array(product)).float()


# total correlation


@pytest.mark.parametrize(("batch", "train"), [(2, 2), (5, 5), (5, 1000), (64, 50_000), (9, 4)])
def test_stratified_weights_sum_to_1_with_1_over_n_on_the_diagonal(batch, train):
    weights = stratified_log_weights(batch, train, torch.zeros(1).double()).exp()
    torch.testing.assert_close(weights.sum(1), torch.ones(batch).double())
    torch.testing.assert_close(weights.diagonal(), torch.full((batch,), 1 / train).double())
    others = weights[~torch.eye(batch).bool()]
    torch.testing.assert_close(others, others[:1].expand_as(others))
    assert not math.isclose(float(others[0]), 1 / train) or batch == train


def test_stratified_weights_are_those_of_chen_averaged_over_which_image_stands_for_the_rest():
    batch, train = 5, 40
    chen = torch.zeros(batch - 1, batch, batch)
    for i in range(batch):
        others = [j for j in range(batch) if j != i]
        for choice, last in enumerate(others):
            chen[choice, i, others] = 1 / (batch - 1)
            chen[choice, i, last] = (train - batch + 1) / (train * (batch - 1))
            chen[choice, i, i] = 1 / train
    found = stratified_log_weights(batch, train, chen).exp()
    torch.testing.assert_close(found, chen.mean(0))


def test_a_single_image_is_all_of_its_aggregate():
    assert stratified_log_weights(1, 1000, torch.zeros(1)).tolist() == [[0.0]]


def test_with_all_images_in_the_batch_the_terms_are_exact(posteriors):
    loc, scale = posteriors
    q, z = diagonal(loc, scale), torch.normal(loc, scale)
    joint, product = exact_terms(loc, scale, z)
    information, correlation, dimensions = total_correlation_terms(q, standard(), z, N)
    torch.testing.assert_close(information, q.log_prob(z) - joint, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(correlation, joint - product, rtol=1e-4, atol=1e-4)
    prior = standard().log_prob(z)
    torch.testing.assert_close(dimensions, product - prior, rtol=1e-4, atol=1e-4)
    assert correlation.mean() > 0.1
    # Adding log-weights before the sum over latents counts them D times.
    weights = stratified_log_weights(N, N, z)
    each = Normal(loc, scale).log_prob(z[:, None])
    mistaken = (weights[..., None] + each).sum(-1).logsumexp(1)
    assert ((mistaken - joint).abs() > 1).all()


@pytest.mark.parametrize("train", [20, 1000])
def test_the_terms_sum_to_the_sampled_kl_whatever_the_estimate(posteriors, train):
    loc, scale = (each[:20] for each in posteriors)
    q, z = diagonal(loc, scale), torch.normal(loc, scale)
    total = sum(total_correlation_terms(q, standard(), z, train))
    sampled = q.log_prob(z) - standard().log_prob(z)
    torch.testing.assert_close(total, sampled, rtol=1e-5, atol=2e-5)


def first_column(log_w, train):
    """The mistake: 1/N in column 0, and on the diagonal what any other image gets."""
    moved = log_w.clone()
    moved.fill_diagonal_(float(log_w[0, 1]))
    moved[:, 0] = -math.log(train)
    return moved


def test_the_stratified_estimate_of_log_q_of_z_is_less_biased_than_naive_ones(posteriors):
    loc, scale = posteriors
    size, errors = 24, {"stratified": [], "uniform": [], "column 0": []}
    for _ in range(200):
        chosen = torch.randperm(N)[:size]
        few = diagonal(loc[chosen], scale[chosen])
        z = torch.normal(loc[chosen], scale[chosen])
        exact, _ = exact_terms(loc, scale, z)
        information, _, _ = total_correlation_terms(few, standard(), z, N)
        errors["stratified"].append(few.log_prob(z) - information - exact)
        log_density = few.log_prob(z[:, None])
        errors["uniform"].append(log_density.logsumexp(1) - math.log(size) - exact)
        column = first_column(stratified_log_weights(size, N, z), N)
        errors["column 0"].append((column + log_density).logsumexp(1) - exact)
    bias = {name: float(torch.cat(each).mean().abs()) for name, each in errors.items()}
    assert bias["stratified"] < 0.1
    assert torch.cat(errors["stratified"]).square().mean().sqrt() < 0.5
    for other in ("uniform", "column 0"):
        assert bias[other] > 1.3 * bias["stratified"], other


def test_the_stratified_estimate_of_q_of_z_is_unbiased(posteriors):
    """Of the density, not of its log, for images drawn without replacement around the first."""
    loc, scale = posteriors
    z, n, size = torch.normal(loc[0], scale[0])[None], 4000, 6
    exact, _ = exact_terms(loc, scale, z)
    weights = stratified_log_weights(size, N, z)[0].exp()
    density = diagonal(loc, scale).log_prob(z).exp()
    others = torch.stack([torch.randperm(N - 1)[: size - 1] + 1 for _ in range(n)])
    found = weights[0] * density[0] + (weights[1:] * density[others]).sum(1)
    assert (found.mean() - exact.exp()).abs() < 4 * found.std() / n**0.5
    assert found.std() > 0


@pytest.fixture
def encoded():
    """A small VAE, a batch of 30 images with two samples each, and its posteriors."""
    made = experiment("likelihood=gaussian")
    made.model.posterior.projection.weight *= 4  # codes that differ from image to image
    x = grey(30).images
    batch = Batch(x, x, torch.randn(2, 30, 3))
    return made.model, batch, made.model.encode(x)


def test_beta_tc_with_all_weights_1_is_the_elbo_with_its_kl_sampled(encoded):
    model, batch, q = encoded
    z = model.posterior.sample(q, batch.noise[0])
    sampled = q.log_prob(z) - model.latent_prior().log_prob(z)
    elbo = ELBO()(model, batch, 0.0)
    found = BetaTC(train_size=500, alpha=1.0, beta=1.0, gamma=1.0)(model, batch, 0.0)
    torch.testing.assert_close(found["loss"], elbo["reconstruction"] + sampled)
    assert torch.equal(found["kl"], elbo["kl"])


def test_beta_tc_weighs_each_term_by_its_own_number(encoded):
    model, batch, q = encoded
    z = model.posterior.sample(q, batch.noise[0])
    terms = total_correlation_terms(q, model.latent_prior(), z, 90)
    found = BetaTC(train_size=90, alpha=2.0, beta=5.0, gamma=0.5)(model, batch, 0.0)
    penalty = 2 * terms[0] + 5 * terms[1] + 0.5 * terms[2]
    torch.testing.assert_close(found["loss"], found["reconstruction"] + penalty)
    torch.testing.assert_close(found["mutual_information"], terms[0])
    torch.testing.assert_close(found["total_correlation"], terms[1])


def test_beta_tc_counts_the_training_images():
    assert experiment("objective=beta_tc", n=77).objective.train_size == 77


# DIP


@pytest.mark.parametrize("kind", [1, 2])
@pytest.mark.parametrize("posterior", ["normal", "full_normal"])
def test_dip_holds_the_covariance_that_numpy_gives_to_the_identity(kind, posterior):
    made = experiment("likelihood=gaussian", f"posterior={posterior}")
    made.model.posterior.projection.weight *= 4
    x = grey(30).images
    batch, q = Batch(x, x, torch.randn(1, 30, 3)), made.model.encode(x)
    covariance = np.cov(q.mean.double().numpy().T, bias=True)
    if kind == 2 and posterior == "normal":
        covariance += np.diag(q.variance.double().numpy().mean(0))
    elif kind == 2:
        assert isinstance(q, MultivariateNormal)
        covariance += q.covariance_matrix.double().numpy().mean(0)
    on = np.diag(covariance)
    off = covariance[~np.eye(3, dtype=bool)]
    expected = 3.0 * (off**2).sum() + 7.0 * ((on - 1) ** 2).sum()
    terms = DIP(kind=kind, off_diagonal=3.0, diagonal=7.0)(made.model, batch, 0.0)
    penalty = (terms["loss"] - terms["reconstruction"] - terms["kl"]).double()
    torch.testing.assert_close(penalty, torch.full((30,), expected).double(), rtol=1e-4, atol=1e-4)
    assert (off**2).sum() > 1e-3


# MMD


def by_loops(a, b):
    """MMD^2 of a and b [n, D] as Gretton et al. 2012, eq. 3, writes it, in float64."""
    a, b = a.double().numpy(), b.double().numpy()
    n, d = a.shape
    scales = [2.0 * d * s for s in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)]

    def kernel(x, y):
        return sum(c / (c + ((x - y) ** 2).sum()) for c in scales)

    pairs = [(i, j) for i in range(n) for j in range(n)]
    within = sum(kernel(a[i], a[j]) + kernel(b[i], b[j]) for i, j in pairs if i != j)
    return within / (n * (n - 1)) - 2 * sum(kernel(a[i], b[j]) for i, j in pairs) / n**2


def test_squared_mmd_is_the_double_loop():
    a, b = torch.randn(9, D), 0.5 + 2 * torch.randn(9, D)
    assert float(squared_mmd(a, b)) == pytest.approx(by_loops(a, b), abs=1e-5)
    assert float(squared_mmd(a[:1], b[:1])) == 0.0


def test_squared_mmd_is_unbiased_for_equal_laws_and_grows_with_a_shift():
    n, means = 1000, []
    for shift in (0.0, 0.5, 1.0, 2.0):
        found = torch.vmap(squared_mmd)(torch.randn(n, 20, D), torch.randn(n, 20, D) + shift)
        means.append((float(found.mean()), float(found.std()) / n**0.5))
    assert abs(means[0][0]) < 4 * means[0][1]
    for (low, _), (high, error) in pairwise(means):
        assert high - low > 20 * error


def test_wae_compares_deterministic_codes_with_the_prior():
    made = experiment("model=wae", "likelihood=gaussian")
    x = grey(30).images
    batch = Batch(x, x, torch.randn(2, 30, 3))
    other = Batch(x, x, torch.cat([torch.randn(1, 30, 3), batch.noise[1:]]))
    terms = MMD(weight=50.0)(made.model, batch, 0.0)
    assert set(terms) == {"loss", "reconstruction", "mmd"}
    distance = squared_mmd(made.model.encode(x).mean, batch.noise[1])
    torch.testing.assert_close(terms["mmd"], distance.expand(30))
    torch.testing.assert_close(terms["loss"], terms["reconstruction"] + 50 * distance)
    assert torch.equal(MMD(weight=50.0)(made.model, other, 0.0)["loss"], terms["loss"])


def test_info_vae_compares_samples_and_weighs_the_kl(encoded):
    model, batch, q = encoded
    terms = MMD(weight=50.0, kl_weight=0.2)(model, batch, 0.0)
    distance = squared_mmd(q.mean + q.stddev * batch.noise[0], batch.noise[1])
    torch.testing.assert_close(terms["kl"], ELBO()(model, batch, 0.0)["kl"])
    expected = terms["reconstruction"] + 50 * distance + 0.2 * terms["kl"]
    torch.testing.assert_close(terms["loss"], expected)


# parts that do not go together


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["objective=beta_tc", "posterior=full_normal"], "objective=beta_tc"),
        (["objective=beta_tc", "posterior=flow"], "objective=beta_tc"),
        (["objective=beta_tc", "prior=mixture"], "objective=beta_tc"),
        (["objective=free_bits", "posterior=full_normal"], "objective=free_bits"),
        (["objective=free_bits", "prior=vamp"], "objective=free_bits"),
        (["objective=dip", "posterior=flow"], "objective=dip"),
        (["objective=mmd", "prior=mixture"], "objective=mmd"),
        (["model=wae", "objective.kl_weight=1"], "objective.kl_weight"),
        (["model=ae", "prior=vamp"], "prior=vamp"),
        (
            ["model=iwae", "posterior=flow", "objective.gradient=doubly_reparameterized"],
            "objective.gradient",
        ),
        (
            ["model=iwae", "objective.elbo_share=.5", "objective.gradient=doubly_reparameterized"],
            "objective.gradient",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_parts_that_lack_what_an_objective_needs_are_refused_by_name(words, named):
    with pytest.raises(ConfigError, match=named):
        check(composed(*words))


def test_products_of_codes_are_not_rounded_under_autocast():
    """bfloat16 has 8 bits, with which the penalty of a covariance near I is noise."""
    z = torch.randn(400, D)
    q = diagonal(z, torch.full_like(z, 0.1))
    model = SimpleNamespace(
        encode=lambda x: q,
        latent_prior=standard,
        posterior=SimpleNamespace(sample=lambda q, noise: z),
        decode=lambda z: diagonal(z, torch.ones_like(z)),
    )
    for objective in (DIP(kind=1, off_diagonal=1e4), DIP(kind=2, off_diagonal=1e4)):
        batch = Batch(z, z, torch.zeros(1, 400, D))
        expected = objective(model, batch, 0.0)["loss"]
        with torch.autocast("cpu", torch.bfloat16):
            found = objective(model, batch, 0.0)["loss"]
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-4)
    columns = torch.linalg.qr(torch.randn(50, 4)).Q
    with torch.autocast("cpu", torch.bfloat16):
        assert float(distance_from_orthonormal(columns)) < 1e-10


def test_covariances_of_full_posteriors_are_not_rounded_under_autocast():
    made = experiment("objective=dip", "posterior=full_normal", "objective.off_diagonal=1000")
    batch = next(made.view(made.splits.val).batches())
    q = made.model.encode(batch.input)
    made.model.encode = lambda x: MultivariateNormal(q.mean, scale_tril=q.scale_tril)
    expected = made.objective(made.model, batch, 0.0)
    with torch.autocast("cpu", torch.bfloat16):
        found = made.objective(made.model, batch, 0.0)
    penalties = [t["loss"] - t["reconstruction"] - t["kl"] for t in (found, expected)]
    torch.testing.assert_close(*penalties, rtol=1e-4, atol=1e-4)
