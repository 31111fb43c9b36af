"""PCA, probabilistic PCA and linear autoencoders against scikit-learn and exact densities."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from parts import composed, experiment
from sklearn.decomposition import PCA
from torch.distributions import MultivariateNormal

from vae_run import load
from vae_run.config.check import check
from vae_run.data.datasets.digits import Digits
from vae_run.errors import ConfigError, DivergedError
from vae_run.evaluation.evaluation import Evaluation
from vae_run.evaluation.principal_components import spectrum
from vae_run.objectives.reconstruction import distance_from_orthonormal, last_weight
from vae_run.runs.run_directory import RunDirectory
from vae_run.training.closed_form import _save, set_linear_maps
from vae_run.training.experiment import Experiment
from vae_run.training.nonfinite import finite
from vae_run.training.progress import Progress

if TYPE_CHECKING:
    from conftest import Run

SHAPE = (1, 3, 4)


def linear(*words: str) -> Experiment:
    """An untrained linear model of 3 dimensions on random 3 x 4 images."""
    made = experiment(*words, "network.widths=[]", n=500, shape=SHAPE)
    made.model.eval()
    return made


def solved(*words: str) -> Experiment:
    made = linear(*words)
    set_linear_maps(made.model, spectrum(made.splits.train), 3)
    return made


def flat(made: Experiment) -> np.ndarray:
    return made.splits.train.images.flatten(1).double().numpy()


def test_spectrum_is_that_of_scikit_learn() -> None:
    made = linear("model=pca")
    theirs = PCA().fit(flat(made))
    ours = spectrum(made.splits.train)
    n = len(made.splits.train)
    assert np.allclose(ours.values.numpy(), theirs.explained_variance_ * (n - 1) / n, atol=1e-9)
    agreement = np.abs((ours.vectors.T.numpy() * theirs.components_).sum(1))
    assert np.allclose(agreement, 1, atol=1e-6)


def test_pca_reconstructs_as_scikit_learn_does() -> None:
    made = solved("model=pca")
    theirs = PCA(3).fit(flat(made))
    expected = theirs.inverse_transform(theirs.transform(flat(made)))
    found = made.model.reconstruct(made.splits.train.images).flatten(1)
    assert np.allclose(found.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("sigma", ["learned", "optimal", "0.25", "1.5"])
def test_ppca_elbo_is_the_exact_log_density(sigma: str) -> None:
    """ELBO = log N(mu, W W^T + s^2 I) when posterior and likelihood are those of ppca."""
    made = solved("model=ppca", f"likelihood.sigma={sigma}")
    model = made.model
    weight = model.likelihood.projection[0].weight.double()
    mean = model.likelihood.projection[0].bias.double()
    variance = float(model.likelihood.sigma.detach()) ** 2
    covariance = weight @ weight.T + variance * torch.eye(12, dtype=torch.double)
    x = made.splits.train.images
    exact = MultivariateNormal(mean, covariance).log_prob(x.flatten(1).double()).mean()
    theirs = PCA(3).fit(flat(made)).score(flat(made))
    n = len(x)
    exact = exact.detach()
    if sigma in ("learned", "optimal"):
        assert float(exact) == pytest.approx(theirs, abs=n / (n - 1) * 0.02)  # they divide by n - 1
    else:
        assert float(model.likelihood.sigma) == pytest.approx(float(sigma))
        assert float(exact) < theirs
    bound = Evaluation(metrics=["objective"]).measure(made.view(made.splits.train))["elbo"]
    # One fixed sample an image: the mean over 500 images is within a few standard errors.
    assert bound == pytest.approx(float(exact), abs=0.15)
    q, z = model.encode(x), torch.randn(400, n, 3, generator=torch.Generator().manual_seed(0))
    samples = model.posterior.sample(q, z)
    log_w = (
        model.decode(samples).log_prob(x)
        + model.latent_prior().log_prob(samples)
        - q.log_prob(samples)
    )
    # With the exact posterior every single weight is p(x).
    assert float(log_w.detach().std(0).max()) < 1e-3
    assert float(log_w.detach().mean()) == pytest.approx(float(exact), abs=1e-4)


def test_tied_decoder_is_the_transposed_encoder() -> None:
    made = linear("model=linear_ae", "network.tied=true")
    assert torch.equal(last_weight(made.model), made.model.posterior.projection.weight.T)
    names = [name for name in made.model.state_dict() if name.startswith("likelihood.")]
    assert names == ["likelihood.projection.0.bias"]
    deep = experiment("model=ae", "likelihood=mse", "network.tied=true", "network.widths=[8,6]")
    decoder = [p.shape for p in deep.model.decoder.parameters()]
    assert decoder == [torch.Size([6]), torch.Size([8])], "biases alone"


@pytest.mark.parametrize("words", [("network.tied=true",), (), ("objective.orthonormality=3.0",)])
def test_linear_autoencoder_reaches_the_error_of_pca(words: tuple[str, ...]) -> None:
    made = linear("model=linear_ae", *words)
    best = PCA(3).fit(flat(made))
    least = np.square(best.inverse_transform(best.transform(flat(made))) - flat(made)).mean()
    optimizer = torch.optim.LBFGS(
        made.model.parameters(), max_iter=400, line_search_fn="strong_wolfe"
    )
    x = made.splits.train.images

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (
            (made.model.decode(made.model.encode(x).mean).mean - x).square().sum((1, 2, 3)).mean()
        )
        if words and "orthonormality" in words[0]:
            loss = loss + 3.0 * distance_from_orthonormal(last_weight(made.model))
        loss.backward()
        return loss

    optimizer.step(closure)
    error = float((made.model.reconstruct(x) - x).square().mean())
    assert error == pytest.approx(least, rel=0.01)
    if words and "orthonormality" in words[0]:
        assert float(distance_from_orthonormal(last_weight(made.model))) < 1e-4


def test_orthonormality_by_hand() -> None:
    columns = torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    assert float(distance_from_orthonormal(columns)) == 9.0  # U^T U = diag(1, 4)


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (("network.widths=[4]",), "network.widths"),
        (("likelihood=bernoulli",), "likelihood"),
        (("corruption=gaussian",), "corruption"),
        (("network.tied=true",), "network.tied"),
    ],
)
def test_closed_form_refuses_what_it_cannot_solve(words: tuple[str, ...], key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        check(composed("model=pca", *words))


@pytest.mark.parametrize("sigma", ["learned", "optimal"])
def test_the_sigma_of_a_run_is_the_closed_forms(sigma: str, vae_run: Run, tmp_path: Path) -> None:
    """An `optimal` one is not measured again by samples of the codes."""
    words = ("model=ppca", "latent_dim=2", f"likelihood.sigma={sigma}", "evaluation.figures=[]")
    finished = vae_run(*words, "device=cpu", f"hydra.run.dir={tmp_path / 'run'}")
    assert finished.code == 0, finished.said
    discarded = spectrum(Digits().load().train).values[2:].mean().sqrt()
    assert float(load(tmp_path / "run").likelihood.sigma) == pytest.approx(
        float(discarded), rel=1e-5
    )


@pytest.mark.parametrize("sigma", ["learned", "optimal"])
def test_ppca_with_as_many_dimensions_as_pixels_has_the_least_sigma(sigma: str) -> None:
    """Nothing is discarded, whose mean would be the variance; the maps are then near PCA's."""
    made = linear("model=ppca", "latent_dim=12", f"likelihood.sigma={sigma}")
    assert set_linear_maps(made.model, spectrum(made.splits.train), 12) == pytest.approx(1e-6)
    assert finite(made.model)
    x = made.splits.train.images
    assert float(made.model.likelihood.sigma.detach()) == pytest.approx(1e-3, rel=1e-4)
    assert float((made.model.reconstruct(x) - x).abs().max()) < 1e-3
    weight = made.model.likelihood.projection[0].weight.detach().double()
    covariance = weight @ weight.T + 1e-6 * torch.eye(12, dtype=torch.double)
    expected = torch.from_numpy(np.cov(flat(made).T, bias=True))
    torch.testing.assert_close(covariance, expected, rtol=1e-3, atol=1e-5)


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    made = solved("model=pca")
    made.model.posterior.projection.bias.data[0] = torch.nan
    run = RunDirectory(tmp_path)
    with pytest.raises(DivergedError, match=r"^trainer=closed_form: .*not finite"):
        _save(made, run, Progress(step=1))
    assert not run.best.exists()
