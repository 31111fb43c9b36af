"""Log-densities against scipy, constants included, and every way to choose sigma."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from parts import composed, options
from scipy import optimize, stats
from torch import nn

from vae_run.config.check import check
from vae_run.models.likelihoods import BernoulliLikelihood, GaussianLikelihood

K, B, SHAPE = 3, 4, (2, 3, 5)
PIXELS = math.prod(SHAPE)
LEVELS = 17


def gaussian(sigma, shape=SHAPE):
    return GaussianLikelihood(event_shape=shape, projection=lambda k: nn.Identity(), sigma=sigma)


def bernoulli(shape=SHAPE):
    return BernoulliLikelihood(event_shape=shape, projection=lambda k: nn.Identity())


@pytest.fixture
def parameters():
    torch.manual_seed(0)
    return torch.randn(K, B, 1, *SHAPE)


@pytest.fixture
def x():
    torch.manual_seed(1)
    return torch.rand(B, *SHAPE)


def squared_error(x, parameters):
    return (x - parameters[:, :, 0]).square().sum((-3, -2, -1))


def summed(values):
    return torch.tensor(values.sum((-3, -2, -1)), dtype=torch.float32)


@pytest.fixture(params=[True, False], ids=["gradient", "no gradient"])
def gradient(request):
    """With and without gradients being recorded: a Bernoulli then takes other ways."""
    with torch.set_grad_enabled(request.param):
        yield


@pytest.mark.usefixtures("gradient")
def test_bernoulli_is_scipys(parameters, x):
    p = bernoulli()(parameters)
    binary = (x > 0.5).float()
    probability = 1 / (1 + np.exp(-parameters[:, :, 0].double().numpy()))
    expected = summed(stats.bernoulli.logpmf(binary.numpy()[None], probability))
    torch.testing.assert_close(p.log_prob(binary), expected)
    torch.testing.assert_close(p.mean, torch.tensor(probability, dtype=torch.float32))


@pytest.mark.usefixtures("gradient")
def test_bernoulli_of_grey_pixels_is_the_cross_entropy(parameters, x):
    probability = 1 / (1 + np.exp(-parameters[:, :, 0].double().numpy()))
    grey = x.double().numpy()
    expected = summed(grey * np.log(probability) + (1 - grey) * np.log(1 - probability))
    torch.testing.assert_close(bernoulli()(parameters).log_prob(x), expected)


@pytest.mark.usefixtures("gradient")
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 64, 64), (7,), (1, 1, 1)], ids=str)
def test_bernoulli_keeps_its_digits_in_images_it_knows_well(shape):
    """Logits of 12 that are right but for one pixel: what is summed is far smaller than they."""
    torch.manual_seed(2)
    x = (torch.rand(5, *shape) < 0.3).float()
    logits = (24 * x - 12) * torch.rand(K, 5, *shape)
    logits[:, :, 0] *= -1
    found = bernoulli(shape)(logits[:, :, None]).log_prob(x).double()
    exact = nn.functional.logsigmoid((2 * x - 1).double() * logits.double())
    expected = exact.flatten(2).sum(-1)
    torch.testing.assert_close(found, expected, rtol=5e-7, atol=1e-6)


@pytest.mark.usefixtures("gradient")
def test_bernoulli_is_the_same_for_many_models_at_once(parameters, x):
    def log_prob(p):
        return bernoulli()(p).log_prob(x)

    each = torch.stack([log_prob(p) for p in parameters])
    torch.testing.assert_close(torch.func.vmap(log_prob)(parameters), each, rtol=1e-6, atol=0)


@pytest.mark.usefixtures("gradient")
def test_bernoulli_of_a_certain_error_is_finite():
    p = bernoulli((1,))(torch.full((1, 1, 1), 200.0))
    assert p.log_prob(torch.zeros(1, 1)).item() == pytest.approx(-200)
    assert p.log_prob(torch.ones(1, 1)).item() == 0


@pytest.mark.parametrize("sigma", [1e-3, 0.1, 1.0, 3.0])
def test_gaussian_is_scipys(sigma, parameters, x):
    location = parameters[:, :, 0].double().numpy()
    expected = summed(stats.norm.logpdf(x.numpy()[None], location, sigma))
    torch.testing.assert_close(gaussian(sigma)(parameters).log_prob(x), expected)


def test_gaussian_with_sigma_1_is_half_the_squared_error_and_a_constant(parameters, x):
    expected = 0.5 * squared_error(x, parameters) + 0.5 * PIXELS * math.log(2 * math.pi)
    torch.testing.assert_close(-gaussian(1.0)(parameters).log_prob(x), expected)


def test_mse_is_the_squared_error_and_a_constant(parameters, x):
    settings = check(composed("likelihood=mse"))
    head = settings.build("likelihood", event_shape=SHAPE, projection=lambda k: nn.Identity())
    expected = squared_error(x, parameters) + 0.5 * PIXELS * math.log(math.pi)
    torch.testing.assert_close(-head(parameters).log_prob(x), expected)


def test_learned_sigma_never_falls_below_its_floor():
    head = gaussian("learned", (1,))
    assert head.sigma.item() == pytest.approx(0.3)
    with torch.no_grad():
        head.rho.fill_(-1e4)
    assert head.sigma.item() == pytest.approx(1e-3)
    perfect = head(torch.zeros(1, 1, 1)).log_prob(torch.zeros(1, 1))
    assert perfect.item() == pytest.approx(stats.norm.logpdf(0, 0, 1e-3), rel=1e-6)


def test_the_gradient_reaches_the_learned_sigma(parameters, x):
    head = gaussian("learned")
    (-head(parameters).log_prob(x)).sum().backward()
    sigma, error = head.sigma.item(), squared_error(x, parameters).sum().item()
    by_sigma = K * B * PIXELS / sigma - error / sigma**3
    by_rho = by_sigma * head.speed * torch.sigmoid(head.speed * head.rho).item()
    assert head.rho.grad.item() == pytest.approx(by_rho, rel=1e-4)


def test_the_learned_sigma_converges_to_the_root_mean_squared_error():
    torch.manual_seed(0)
    target, head = 0.07 * torch.randn(50, 40), gaussian("learned", (40,))
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(250):
        optimizer.zero_grad()
        (-head(torch.zeros(50, 1, 40)).log_prob(target)).mean().backward()
        optimizer.step()
    assert head.sigma.item() == pytest.approx(target.square().mean().sqrt().item(), rel=1e-3)


def test_optimal_sigma_is_the_best_of_all_for_the_batch(parameters, x):
    head, location = gaussian("optimal").train(), parameters[:, :, 0].double().numpy()

    def negative(log_sigma):
        return -stats.norm.logpdf(x.numpy()[None], location, np.exp(log_sigma)).sum()

    best = optimize.minimize_scalar(negative, bounds=(-5, 5), options={"xatol": 1e-9})
    found = -head(parameters).log_prob(x)
    assert found.shape == (K, B)
    assert found.sum().item() == pytest.approx(best.fun, rel=1e-6)
    at_best = -summed(stats.norm.logpdf(x.numpy()[None], location, np.exp(best.x)))
    torch.testing.assert_close(found, at_best, rtol=1e-4, atol=1e-3)


def test_optimal_sigma_has_the_gradient_of_half_the_log_squared_error(parameters, x):
    location = parameters.clone().requires_grad_()
    (-gaussian("optimal").train()(location).log_prob(x)).sum().backward()
    residual = parameters[:, :, 0] - x
    torch.testing.assert_close(location.grad[:, :, 0], residual / residual.square().mean())


def test_optimal_sigma_outside_of_training_is_the_stored_one(parameters, x):
    head = gaussian("optimal")
    head.calibrate(0.04)
    location = parameters[:, :, 0].double().numpy()
    expected = summed(stats.norm.logpdf(x.numpy()[None], location, 0.2))
    torch.testing.assert_close(head.eval()(parameters).log_prob(x), expected)
    assert not torch.allclose(head.train()(parameters).log_prob(x), expected, rtol=0.01)
    restored = gaussian("optimal")
    restored.load_state_dict(head.state_dict())
    assert restored.sigma.item() == pytest.approx(0.2)


def test_optimal_sigma_never_falls_below_its_floor():
    head, perfect = gaussian("optimal", (1,)), torch.zeros(2, 1)
    expected = stats.norm.logpdf(0, 0, 1e-3)
    for mode in (head.train(), head.eval()):
        head.calibrate(0.0)
        found = mode(torch.zeros(2, 1, 1)).log_prob(perfect)
        torch.testing.assert_close(found, torch.full((2,), expected, dtype=torch.float32))


def test_a_fixed_sigma_is_no_part_of_a_checkpoint():
    assert gaussian(0.5).state_dict() == {}
    assert list(gaussian("optimal").state_dict()) == ["stored"]
    assert not gaussian(0.5).calibrated
    assert not gaussian("learned").calibrated


# Every option of conf/likelihood


def of_settings(settings, shape, projection):
    return settings.build("likelihood", event_shape=shape, levels=LEVELS, projection=projection)


def of_option(option):
    """The head of `option` in training mode, over given parameters; `k` is how many it asks for."""
    asked = []
    settings = check(composed(f"likelihood={option}"))
    head = of_settings(settings, SHAPE, lambda k: asked.append(k) or nn.Identity())
    head.k = asked[0]
    return head.train()


def built(option, shape):
    """The head of `option` in eval mode, and what it makes of random features."""
    settings = check(composed(f"likelihood={option}", "network.init=torch"))
    torch.manual_seed(0)
    decoder = settings.build("network").decoder(6, shape)
    head = of_settings(settings, shape, decoder.projection).eval()
    z = torch.randn(K * B, 6)
    parameters = head.projection(decoder(z)).unflatten(0, (K, B))
    return head, head(parameters)


@pytest.mark.parametrize("shape", [(1, 4, 5), (3, 2, 2), (7,)], ids=str)
@pytest.mark.parametrize("option", options("likelihood"))
def test_every_likelihood_is_over_the_images_of_every_sample(option, shape):
    _, p = built(option, shape)
    assert p.mean.shape == (K, B, *shape)
    drawn = p.sample()
    assert drawn.shape == (K, B, *shape)
    density = p.log_prob(drawn)
    assert density.shape == (K, B)
    assert density.isfinite().all()
    many = p.sample((4000,))
    error = many.std(0) / 4000**0.5
    assert ((many.mean(0) - p.mean).abs() < 5 * error + 1e-6).all()


@pytest.mark.parametrize("option", [o for o in options("likelihood") if o != "mixed"])
def test_every_likelihood_of_one_pixel_sums_to_one(option):
    head, p = built(option, (1,))
    if p.support.is_discrete:
        levels = torch.linspace(0, 1, 2 if head.binary else LEVELS)
        total = sum(p.log_prob(level.expand(K, B, 1)).exp() for level in levels)
    else:
        low, high = (1e-6, 1 - 1e-6) if head.unit_interval else (-30, 30)
        grid = torch.linspace(low, high, 20_001, dtype=torch.double)
        density = p.log_prob(grid[:, None, None, None].expand(-1, K, B, 1)).exp()
        total = torch.trapezoid(density, grid, dim=0)
    torch.testing.assert_close(total.detach().float(), torch.ones(K, B), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("option", options("likelihood"))
def test_every_likelihood_is_in_float32_whatever_the_features(option):
    settings = check(composed(f"likelihood={option}"))
    shape = (1, 4, 5)
    decoder = settings.build("network").decoder(6, shape)
    head = of_settings(settings, shape, decoder.projection)
    with torch.autocast("cpu", torch.bfloat16):
        parameters = head.projection(decoder(torch.randn(B, 6)))
        assert parameters.dtype == torch.bfloat16
        p = head(parameters)
        density = p.log_prob(torch.zeros(B, *shape))
    assert density.dtype == p.mean.dtype == torch.float32
    assert density.isfinite().all()


@pytest.mark.parametrize("option", options("likelihood"))
def test_every_likelihood_works_under_vmap(option):
    """As many runs trained as one would call it: features, images and samples are all batched."""
    head, runs = of_option(option), 2
    parameters = torch.randn(runs, K, B, head.k, *SHAPE)
    x = torch.rand(runs, B, *SHAPE).round()

    def of_run(p, image):
        made = head(p)
        return made.log_prob(image), made.mean

    found = torch.func.vmap(of_run)(parameters, x)
    for i in range(runs):
        for together, alone in zip(found, of_run(parameters[i], x[i]), strict=True):
            torch.testing.assert_close(together[i], alone)


@pytest.mark.parametrize("option", options("likelihood"))
def test_no_likelihood_reads_anything_back_from_the_device(option):
    """On the meta device there is nothing to read: a host synchronisation would raise."""
    head = of_option(option).to("meta")
    parameters = torch.empty(K, B, head.k, *SHAPE, device="meta", requires_grad=True)
    p = head(parameters)
    p.log_prob(torch.empty(B, *SHAPE, device="meta")).sum().backward()
    assert parameters.grad.shape == parameters.shape
    assert p.mean.shape == (K, B, *SHAPE)
