"""Codes with a shape: every posterior and prior over maps, and what is written of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from parts import composed, experiment, options

from vae_run.config.check import check
from vae_run.data.batches import evaluation_batches
from vae_run.errors import ConfigError
from vae_run.evaluation.codes import evaluating
from vae_run.evaluation.evaluation import Evaluation
from vae_run.models.build import build_model
from vae_run.objectives import trained_loss

DETERMINISTIC = ("objective=reconstruction", "prior=fitted_gaussian")
NEEDED = {
    ("posterior", "delta"): DETERMINISTIC,
    ("posterior", "sigmoid"): DETERMINISTIC,
    ("posterior", "sparse"): ("objective=sparse", "prior=fitted_gaussian"),
    ("posterior", "fsq"): DETERMINISTIC,
    ("posterior", "vector_quantized"): (*DETERMINISTIC, "posterior.codes=8"),
    ("posterior", "residual_vq"): (*DETERMINISTIC, "posterior.codes=4"),
    ("posterior", "von_mises_fisher"): ("prior=spherical",),
    ("prior", "spherical"): ("posterior=von_mises_fisher",),
    ("prior", "flat"): ("objective=elbo",),
    ("prior", "fitted_gaussian"): ("objective=reconstruction",),
    ("prior", "fitted_mixture"): ("objective=reconstruction", "prior.components=2"),
    ("prior", "fitted_flow"): ("objective=reconstruction", "prior.steps=5", "prior.hidden=[4]"),
}
ELSEWHERE = ("hierarchical", "ladder", "fitted_codes", "fitted_autoregressive")
"""Layers are vectors; priors over indices are not over the entries (test_index_priors.py)."""
CHOICES = [
    (group, option)
    for group in ("posterior", "prior")
    for option in options(group)
    if option not in ELSEWHERE
]


def made_with(*words, shape=(1, 7, 6)):
    """A KL autoencoder whose code of odd images is [4, 4, 3]: 48 entries."""
    return experiment("model=kl_autoencoder", *words, n=60, shape=shape)


def first_batch(made):
    noise = (max(1, made.objective.samples), made.settings.fixed.latent_dim)
    return next(evaluation_batches(made.splits.val, made.corruption, batch_size=9, noise=noise))


@pytest.mark.parametrize(("group", "option"), CHOICES)
def test_every_posterior_and_prior_is_over_all_entries_of_the_maps(group, option):
    made = made_with(f"{group}={option}", *NEEDED.get((group, option), ()))
    model, batch = made.model, first_batch(made)
    q = model.encode(batch.input)
    z = model.posterior.sample(q, batch.noise[0])
    assert z.shape == (9, 48)
    terms = made.objective(model, batch, 0.0)
    assert all(term.shape == (9,) and term.isfinite().all() for term in terms.values())
    trained_loss(terms).mean().backward()
    assert model.reconstruct(batch.input).shape == (9, 1, 7, 6)
    if model.prior.fitted_to_codes:
        model.prior.fit(torch.randn(100, 48))
    if model.prior.proper:
        assert model.sample(3).shape == (3, 1, 7, 6)
        assert model.latent_prior().log_prob(z).shape == (9,)


def test_the_kl_is_summed_over_all_entries():
    made = made_with()
    batch = first_batch(made)
    q = made.model.encode(batch.input)
    variance = q.variance
    expected = 0.5 * (q.mean.square() + variance - 1 - variance.log()).sum(1)
    torch.testing.assert_close(made.objective(made.model, batch, 0.0)["kl"], expected)
    assert q.mean.shape == (9, 48)


def test_an_entry_of_the_code_is_a_place_of_the_image():
    """Far from a pixel, no entry of the map depends on it: the code has no dense layer."""
    made = experiment("model=kl_autoencoder", n=8, shape=(1, 40, 40))
    x = torch.rand(1, 1, 40, 40, requires_grad=True)
    code = made.model.encode(x).mean.unflatten(1, (4, 20, 20))
    (slope,) = torch.autograd.grad(code[0, :, 0, 0].sum(), x)
    reached = slope[0, 0].abs() > 0
    assert reached[:2, :2].any()
    assert not reached[8:].any()
    assert not reached[:, 8:].any()


def test_metrics_and_pictures_take_the_entries_in_a_row():
    made = made_with()
    evaluation = Evaluation(
        metrics=["objective", "mse", "active_units", "latent", "log_likelihood"],
        figures=["reconstructions", "samples", "traversals", "interpolations", "kl_per_dimension"],
        importance_samples=3,
    )
    view = made.view(made.splits.val)
    found = evaluation.measure(view)
    assert {"elbo", "mse", "active_units", "log_likelihood"} <= found.keys()
    assert found["active_units"] <= 48
    with evaluating(made.model):
        drawn = evaluation.draw(view)
    assert {"reconstructions", "samples", "traversals", "interpolations"} <= drawn.keys()


def test_a_conditional_model_has_maps_too():
    made = experiment("model=kl_autoencoder", "condition=label", n=50, shape=(1, 7, 6))
    model = made.model
    assert model.sample(5).shape == (5, 1, 7, 6)
    x, label = torch.rand(2, 1, 7, 6), torch.tensor([0, 3])
    assert model.encode(x, label).mean.shape == (2, 48)
    assert not torch.equal(*(model.reconstruct(x, y) for y in (0, 3)))


@pytest.mark.parametrize("objective", options("objective"))
def test_every_objective_takes_codes_of_maps(objective):
    deterministic = objective in ("reconstruction", "regularized", "aae", "contractive", "sparse")
    prior = "standard_normal" if objective == "aae" else "fitted_gaussian"
    posterior = "sparse" if objective == "sparse" else "delta"
    words = (f"posterior={posterior}", f"prior={prior}") if deterministic else ()
    made = made_with(f"objective={objective}", *words)
    terms = made.objective(made.model, first_batch(made), 0.0)
    assert all(term.isfinite().all() for term in terms.values())


def test_a_shape_that_the_network_does_not_reach_is_refused_with_those_that_it_does():
    settings = check(composed("model=kl_autoencoder"))
    with pytest.raises(ConfigError, match=r"maps of 2 x 2, but .* 14 x 14, 7 x 7, 4 x 4"):
        build_model(settings, (1, 28, 28))
    with pytest.raises(ConfigError, match="latent_dim: found 3, but latent_shape"):
        check(composed("model=kl_autoencoder", "latent_dim=3"))


def test_a_shape_of_one_number_is_the_size_of_a_code_without_maps() -> None:
    settings = check(composed("latent_shape=[5]"))
    assert (settings.fixed.latent_dim, settings.fixed.code_shape) == (5, (5,))
    assert build_model(settings, (1, 8, 8)).sample(2).shape == (2, 1, 8, 8)
    with pytest.raises(ConfigError, match=r"latent_shape: .*\[C, h, w\], or \[D\]"):
        check(composed("latent_shape=[5,2]"))


def test_codes_are_written_as_maps_and_in_tables_as_columns(vae_run, tmp_path):
    run = tmp_path / "run"
    small = ("network.widths=[4]", "latent_shape=[2,4,4]", "trainer.steps=2")
    none = ("evaluation.figures=[]", "device=cpu", f"hydra.run.dir={run}")
    assert vae_run("model=kl_autoencoder", *small, *none).code == 0
    np.savez(tmp_path / "own.npz", images=np.zeros((3, 8, 8), np.uint8))
    for name in ("codes.npz", "codes.csv"):
        done = vae_run(
            "task=encode",
            f"run={run}",
            f"input={tmp_path / 'own.npz'}",
            f"output={tmp_path / name}",
        )
        assert done.code == 0, done.said
    with np.load(tmp_path / "codes.npz") as found:
        assert found["mean"].shape == found["scale"].shape == (3, 2, 4, 4)
        flat = found["mean"].reshape(3, -1)
    header, *rows = (tmp_path / "codes.csv").read_text().splitlines()
    columns = header.split(",")
    place = columns.index("mean_0")
    assert columns[place : place + 32] == [f"mean_{i}" for i in range(32)]
    first = [float(value) for value in rows[0].split(",")[place : place + 32]]
    np.testing.assert_allclose(first, flat[0], rtol=1e-5)


@pytest.mark.parametrize("preset", ["hierarchical_vae", "ladder_vae"])
def test_layers_of_codes_refuse_maps(preset):
    with pytest.raises(ConfigError, match=r"latent_shape: found \[4, 4, 4\], but layers of codes"):
        check(composed(f"model={preset}", "network=conv", "latent_shape=[4,4,4]"))
