"""Evaluation: the same figures however it is cut, and no trace of it in the training."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from parts import experiment, grey

from vae_run.errors import ConfigError
from vae_run.evaluation import codes
from vae_run.evaluation.codes import calibrate, evaluating
from vae_run.evaluation.evaluation import Evaluation
from vae_run.evaluation.metrics.mse import mse
from vae_run.evaluation.view import spaced
from vae_run.objectives import Objective
from vae_run.runs.run_directory import RunDirectory
from vae_run.system.signals import StopRequests
from vae_run.tracking.tracker import NoTracker
from vae_run.training.gradient import Gradient

VAE = ("corruption=masking", "likelihood=gaussian")


def figures(made, split, batch_size, epoch=0.0):
    view = replace(made.view(split, epoch), batch_size=batch_size)
    return made.evaluation.measure(view)


@pytest.mark.parametrize(
    "words", [VAE, ("model=dae",), ("network=conv", "corruption=gaussian")], ids=str
)
def test_the_batch_size_does_not_change_a_figure(words):
    made, split = experiment(*words), grey(300)
    whole = figures(made, split, 300)
    assert {"loss", "reconstruction", "mse"} <= whole.keys()
    for batch_size in (7, 256, 299, 1000):
        assert figures(made, split, batch_size) == pytest.approx(whole, rel=1e-6)


def test_evaluating_twice_gives_identical_figures():
    made = experiment(*VAE)
    first = figures(made, made.splits.test, 10)
    torch.rand(100)
    assert figures(made, made.splits.test, 10) == first


def test_no_image_is_dropped():
    """The last image, alone in its batch, is the only one that is not black."""
    made = experiment("model=ae", "likelihood=mse")
    images = torch.zeros(41, 1, 4, 5)
    images[-1] = 1000.0
    split = replace(grey(41), images=images)
    found = figures(made, split, 10)
    view = made.view(split)
    assert found["mse"] == pytest.approx(mse(view)["mse"], rel=1e-6)
    assert found["mse"] == pytest.approx(1000.0**2 / 41, rel=0.01)
    assert found["reconstruction"] == pytest.approx(20 * 1000.0**2 / 41, rel=0.01)


@dataclass(kw_only=True)
class Constant(Objective):
    """The number of the image as its loss."""

    def __call__(self, model, batch, epoch):
        return {"loss": batch.label.float()}


def test_every_split_is_measured_by_the_training_objective():
    made = replace(experiment(), objective=Constant())
    for split in (made.splits.val, made.splits.test):
        found = Evaluation(metrics=["objective"]).measure(made.view(split))
        assert found == {"loss": (len(split) - 1) / 2}


def test_evaluation_keeps_the_mode_and_torchs_generator_and_records_no_gradient():
    for words in (VAE, ("model=dae",), ("likelihood=gaussian", "likelihood.sigma=optimal")):
        made, before = experiment(*words), torch.get_rng_state()
        for training in (True, False):
            made.model.train(training)
            calibrate(made.view(made.splits.train))
            made.evaluation.measure(made.view(made.splits.val))
            assert all(m.training == training for m in made.model.modules())
        assert torch.equal(torch.get_rng_state(), before)
        assert all(p.grad is None for p in made.model.parameters())


def test_the_mode_is_restored_after_an_error():
    model = experiment().model.train()

    def fail():
        with evaluating(model):
            assert not model.training
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert model.training


def trained(tmp_path, *words):
    """The final weights and batch state of a short training."""
    made = experiment(*words, "trainer.epochs=6", "trainer.batch_size=40")
    tmp_path.mkdir()
    run, tracker = RunDirectory(tmp_path), NoTracker()
    trainer: Gradient = made.settings.build("trainer")
    trainer.train(made, run, tracker, StopRequests(), None)
    return made.model.state_dict()


@pytest.mark.parametrize(
    "words",
    [(*VAE, "corruption=gaussian"), ("likelihood=gaussian", "likelihood.sigma=optimal")],
    ids=str,
)
def test_how_often_one_evaluates_leaves_the_training_alone(tmp_path, words):
    often = trained(tmp_path / "often", *words, "trainer.evaluate_every_steps=1")
    seldom = trained(tmp_path / "seldom", *words, "trainer.evaluate_every=6")
    batches = trained(tmp_path / "batches", *words, "evaluation.batch_size=9")
    start = experiment(*words).model.state_dict()
    for name, tensor in often.items():
        assert torch.equal(tensor, seldom[name]), name
        torch.testing.assert_close(tensor, batches[name], rtol=1e-6, atol=0)
        assert not torch.equal(tensor, start[name]), name


# What is set from the train split


def test_calibrate_stores_the_root_mean_squared_error_of_the_train_split():
    made = experiment("likelihood=gaussian", "likelihood.sigma=optimal", "corruption=gaussian")
    view = made.view(made.splits.train)
    calibrate(view)
    (whole,) = view.batches()
    with evaluating(made.model):
        z = made.model.posterior.sample(made.model.encode(whole.input), whole.noise[0])
        error = (made.model.decode(z).mean - whole.target).square().mean()
    assert made.model.likelihood.sigma.item() == pytest.approx(error.sqrt().item(), rel=1e-6)
    # With that sigma the mean of the squared standardised residuals is 1 on the train split.
    found = figures(made, made.splits.train, 90)["reconstruction"] / 20
    sigma = made.model.likelihood.sigma
    assert found == pytest.approx(0.5 * (1 + (2 * torch.pi * sigma**2).log().item()), rel=1e-5)


def test_val_and_test_are_judged_by_the_train_splits_sigma():
    made = experiment("likelihood=gaussian", "likelihood.sigma=optimal")
    calibrate(made.view(made.splits.train))
    stored = made.model.likelihood.stored.clone()
    half = replace(made.splits.test, images=made.splits.test.images / 2)
    assert figures(made, half, 10) != figures(made, made.splits.test, 10)
    assert torch.equal(made.model.likelihood.stored, stored)


def test_calibrate_fits_the_prior_to_the_codes_of_the_train_split():
    made = experiment("model=dae")
    view = made.view(made.splits.train)
    calibrate(view)
    (whole,) = view.batches()
    with evaluating(made.model):
        codes = made.model.encode(whole.input).mean
        prior = made.model.latent_prior()
    torch.testing.assert_close(prior.mean, codes.mean(0))
    torch.testing.assert_close(prior.covariance_matrix, codes.T.cov(), rtol=1e-4, atol=1e-7)


def test_the_fitted_prior_does_not_depend_on_the_batch_size(monkeypatch):
    monkeypatch.setattr(codes, "CODES_FOR_PRIOR", 50)
    made = experiment("model=ae")
    found = []
    for batch_size in (7, 50, 90):
        calibrate(replace(made.view(made.splits.train), batch_size=batch_size))
        found.append(made.model.latent_prior().scale_tril.clone())
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-5, atol=1e-7)
    made.model.prior.fit(made.model.encode(made.splits.train.images[spaced(90, 50)]).mean.detach())
    torch.testing.assert_close(found[0], made.model.latent_prior().scale_tril)


def test_calibrate_leaves_other_models_alone():
    made = experiment()
    before = {name: tensor.clone() for name, tensor in made.model.state_dict().items()}
    calibrate(made.view(made.splits.train))
    assert all(torch.equal(before[name], t) for name, t in made.model.state_dict().items())


def test_an_unknown_metric_or_figure_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"evaluation\.metrics.*'mze'.*'mse'"):
        Evaluation(metrics=["mze"])
    with pytest.raises(ConfigError, match=r"evaluation\.figures.*'sample'.*'samples'"):
        Evaluation(figures=["sample"])
