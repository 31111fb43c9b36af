"""Densities fitted to codes whose law is known, and the samples that tasks draw from them."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from parts import composed, experiment
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal, Normal

from vae_run import load
from vae_run.config.check import check
from vae_run.config.renamed import current, first
from vae_run.errors import CheckpointError, ConfigError
from vae_run.evaluation.codes import calibrate, codes, evaluating
from vae_run.evaluation.pictures.samples import samples
from vae_run.models import priors
from vae_run.models.priors import FittedFlow, FittedGaussian, FittedMixture
from vae_run.runs import checkpoint_file

if TYPE_CHECKING:
    from conftest import Run, Train


def known_mixture() -> MixtureSameFamily:
    """Three normals in three dimensions, far apart and of different shapes and weights."""
    loc = torch.tensor([[4.0, 0.0, 0.0], [-4.0, 1.0, 0.0], [0.0, -5.0, 2.0]])
    factor = torch.tensor([[0.6, 0.0, 0.0], [0.5, 0.3, 0.0], [-0.2, 0.1, 0.2]])
    factors = torch.stack([factor, factor.diagonal().diag(), 2 * factor])
    weights = Categorical(probs=torch.tensor([0.5, 0.3, 0.2]))
    return MixtureSameFamily(weights, MultivariateNormal(loc, scale_tril=factors))


def banana(n: int) -> torch.Tensor:
    """z2 is about z1^2, [n, 2], then stretched and shifted."""
    a = torch.randn(n)
    return torch.stack([3 * a + 1, 0.5 * (a.square() + 0.3 * torch.randn(n)) - 2], 1)


def banana_log_prob(z: torch.Tensor) -> torch.Tensor:
    a, b = (z[:, 0] - 1) / 3, (z[:, 1] + 2) / 0.5
    return Normal(0, 1).log_prob(a) + Normal(a.square(), 0.3).log_prob(b) - math.log(1.5)


def held_out(prior, train, test):
    prior.fit(train)
    return float(prior().log_prob(test).mean())


def test_the_mixture_comes_close_to_the_true_density_and_a_gaussian_does_not():
    torch.manual_seed(0)
    true = known_mixture()
    train, test = true.sample((3000,)), true.sample((3000,))
    best = float(true.log_prob(test).mean())
    prior = FittedMixture(latent_dim=3, components=3)
    assert held_out(prior, train, test) == pytest.approx(best, abs=0.02)
    assert prior().mixture_distribution.probs.sort().values == pytest.approx(
        torch.tensor([0.2, 0.3, 0.5]), abs=0.03
    )
    assert held_out(FittedMixture(latent_dim=3), train, test) > best - 0.1
    assert held_out(FittedGaussian(latent_dim=3), train, test) < best - 1
    drawn = prior().sample((20_000,))
    torch.testing.assert_close(drawn.mean(0), train.mean(0), atol=0.2, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), train.T.cov(), atol=0.5, rtol=0.05)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_mixture_does_not_depend_on_the_unit_of_the_codes(scale):
    torch.manual_seed(0)
    train = known_mixture().sample((500,))
    prior, scaled = (FittedMixture(latent_dim=3, components=3) for _ in range(2))
    prior.fit(train)
    scaled.fit(scale * train + scale)
    expected = prior().log_prob(train) - 3 * math.log(scale)
    torch.testing.assert_close(
        scaled().log_prob(scale * train + scale), expected, atol=0.02, rtol=1e-3
    )


@pytest.mark.scale
def test_the_flow_follows_a_banana_and_a_gaussian_does_not():
    torch.manual_seed(0)
    train, test = banana(2000), banana(2000)
    best = float(banana_log_prob(test).mean())
    gaussian = held_out(FittedGaussian(latent_dim=2), train, test)
    flow = FittedFlow(latent_dim=2, steps=250)
    assert gaussian < best - 1.4
    assert held_out(flow, train, test) > best - 0.3
    drawn = flow().sample((4000,))
    assert float(banana_log_prob(drawn).mean()) > best - 0.6  # its samples lie on the banana
    z = torch.cartesian_prod(torch.linspace(-14, 16, 150), torch.linspace(-4, 8, 150))
    mass = flow().log_prob(z).double().exp().sum() * (30 / 149) * (12 / 149)
    assert float(mass) == pytest.approx(1, abs=0.02)


def test_the_flow_of_gaussian_codes_is_the_gaussian():
    """It starts there, and what is set aside tells that nothing is to be gained."""
    torch.manual_seed(0)
    mixing = torch.tensor([[2.0, 0.5], [0.0, 0.01]])
    train, test = torch.randn(300, 2) @ mixing + 5, torch.randn(2000, 2) @ mixing + 5
    gaussian = held_out(FittedGaussian(latent_dim=2), train, test)
    assert held_out(FittedFlow(latent_dim=2, steps=100), train, test) > gaussian - 0.03


@pytest.mark.parametrize("made", [FittedMixture, FittedFlow])
def test_fitting_is_repeatable_and_leaves_torchs_generator_alone(made):
    train = known_mixture().sample((200,))
    short = {"steps": 20} if made is FittedFlow else {}
    first, second = made(latent_dim=3, **short), made(latent_dim=3, **short)
    torch.manual_seed(0)
    first.fit(torch.randn(50, 3))
    first.fit(train)
    expected = torch.rand(3)
    torch.manual_seed(0)
    with torch.inference_mode():
        second.fit(torch.randn(50, 3))
        second.fit(train)
    assert torch.equal(torch.rand(3), expected)
    states = first.state_dict(), second.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not [name for name, p in first.named_parameters() if p.requires_grad]
    other = made(latent_dim=3, **short)
    assert not other.ready
    other.load_state_dict(first.state_dict())
    assert other.ready
    torch.testing.assert_close(other().log_prob(train), first().log_prob(train))


def test_codes_without_spread_do_no_harm():
    few = torch.arange(40.0)[:, None] * torch.tensor([[1.0, -2.0, 0.0]])
    for prior in (FittedMixture(latent_dim=3), FittedFlow(latent_dim=3, steps=10)):
        prior.fit(few)
        assert prior().sample((100,)).isfinite().all()
        prior.fit(torch.ones(40, 3))
        torch.testing.assert_close(prior().sample((100,)), torch.ones(100, 3), atol=0.1, rtol=0)


def test_too_few_codes_for_the_components_are_refused():
    with pytest.raises(ConfigError, match="components: found 10, more than the 7 training codes"):
        FittedMixture(latent_dim=3).fit(torch.randn(7, 3))


# codes, and when a prior is fitted to them


def test_codes_are_samples_of_random_posteriors():
    made = experiment("prior=flat", "likelihood=gaussian")
    view = made.view(made.splits.train)
    (batch,) = view.batches()
    with torch.no_grad():
        q = made.model.encode(batch.input)
    torch.testing.assert_close(codes(view), q.mean + q.stddev * batch.noise[0])
    assert not codes(view).is_inference()


@pytest.mark.parametrize("option", ["fitted_mixture", "fitted_flow"])
def test_a_costly_prior_waits_for_the_end_of_training(option):
    made = experiment("model=ae", f"prior={option}")
    calibrate(made.view(made.splits.train))
    assert not made.model.prior.ready
    with pytest.raises(CheckpointError, match="train it to its end, or choose a sampler"):
        made.model.sample(3)
    with evaluating(made.model):
        assert samples(made.view(made.splits.val)) is None
    for objective in ("elbo", "iwae"):
        with pytest.raises(ConfigError, match="objective: an ELBO needs a prior"):
            check(composed(f"prior={option}", f"objective={objective}"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, train: Train) -> Path:
    """A finished autoencoder whose prior is a mixture fitted to its codes. Read only."""
    directory = tmp_path_factory.mktemp("runs") / "run"
    words = ["model=ae", "latent_dim=3", "prior=fitted_mixture", "prior.components=7"]
    return train(directory, *words, "evaluation.figures=[samples]")


def test_a_trained_run_carries_its_fitted_prior(run):
    assert (run / "figures" / "samples.png").is_file()
    assert bool(checkpoint_file.read(run / "checkpoints" / "best.pt")["model"]["prior.fitted"])
    assert load(run).sample(4).shape == (4, 1, 8, 8)
    with pytest.raises(CheckpointError, match="nothing was fitted"):
        load(run, "last").sample(4)


def drawn(vae_run: Run, run: Path, *words: str) -> tuple[np.ndarray, str]:
    """The codes that `task=sample` draws, and what it says; the run is left as it was."""
    before = digests(run)
    finished = vae_run("task=sample", f"run={run}", "n=400", "output=x.npz", *words)
    assert finished.code == 0, finished.said
    assert digests(run) == before
    with np.load("x.npz") as found:
        return found["z"], finished.out


def digests(run: Path) -> dict[Path, str]:
    files = [path for path in run.rglob("*") if path.is_file()]
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_sampler_is_the_prior_of_the_same_name(run: Path, vae_run: Run) -> None:
    own, said = drawn(vae_run, run)
    assert "a mixture of 7 normals fitted to the codes" in said
    same, said = drawn(vae_run, run, "sampler=mixture", "sampler.components=7")
    assert "fitted to the codes of 1,294 training images" in said
    np.testing.assert_allclose(same, own, rtol=1e-4, atol=1e-4)
    other, said = drawn(vae_run, run, "sampler=gaussian")
    assert "400 images from a Gaussian fitted to the codes" in said
    assert not np.allclose(other, own, atol=0.1)


def test_a_sampler_of_a_vae_follows_the_codes_and_not_the_prior(vae: Path, vae_run: Run) -> None:
    z, said = drawn(vae_run, vae, "sampler=flow", "sampler.steps=20")
    assert "400 images from a flow fitted to the codes" in said
    assert np.isfinite(z).all()
    assert z.shape == (400, 2)


def test_a_sampler_belongs_to_task_sample(vae_run: Run) -> None:
    for words, said in (
        (["sampler=mixture"], "sampler"),
        (["+sampler=mixture"], "sampler: belongs to task=sample"),
        (["task=sample", "run=x", "output=x.npz", "sampler=mix"], "sampler=mixture"),
        (["task=sample", "run=x", "output=x.npz", "sampler=flow", "sampler.step=3"], "steps?"),
    ):
        finished = vae_run(*words)
        assert finished.code == 1
        assert said in finished.said


@pytest.mark.parametrize(
    ("before", "name"),
    [
        ("vae_run.samplers", "FittedFlow"),
        ("vae_run.samplers", "FittedMixture"),
        ("vae_run.priors", "FittedGaussian"),
        ("vae_run.priors", "VampPrior"),
    ],
)
def test_saved_paths_of_priors_lead_to_their_package_and_back(before, name):
    """Runs of earlier versions load, and hashes of configurations do not change."""
    assert current(f"{before}.{name}") == f"vae_run.models.priors.{name}"
    assert first(f"vae_run.models.priors.{name}") == f"{before}.{name}"
    assert isinstance(getattr(priors, name), type)
