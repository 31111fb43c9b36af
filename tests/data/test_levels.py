"""Levels come from the data, are kept with the model, and give bits where p is a probability."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from parts import composed, experiment

from vae_run import load
from vae_run.config.check import check
from vae_run.data.splits import Split
from vae_run.errors import CheckpointError, ConfigError, DataError
from vae_run.evaluation.codes import evaluating
from vae_run.evaluation.metrics.bits_per_dim import bits_per_dim
from vae_run.evaluation.metrics.objective import objective
from vae_run.runs import checkpoint_file
from vae_run.runs.load import load_model
from vae_run.runs.run_directory import RunDirectory
from vae_run.training.data_support import load_splits
from vae_run.training.experiment import assemble

GRID_OPTIONS = ("categorical", "discretized_logistic", "logistic_mixture")
SMALL = ("latent_dim=2", "network.widths=[8]", "dataset=digits")


@pytest.mark.parametrize(
    ("binarize", "levels"), [("none", 17), ("static", 2), ("dynamic", 2)], ids=str
)
def test_levels_come_from_the_data(binarize, levels):
    splits = load_splits(check(composed(f"dataset.binarize={binarize}", "likelihood=categorical")))
    assert splits.levels == levels
    for split in (splits.train, splits.val, splits.test):
        assert split.levels == levels
        assert split.has_grey == (binarize == "none")


def test_levels_of_other_storage():
    eight_bit = torch.zeros(3, 1, 2, 2, dtype=torch.uint8)
    assert Split(eight_bit, scale=255.0).levels == 256
    assert Split(eight_bit).levels == 2
    assert Split(eight_bit.float()).levels is None
    assert Split(eight_bit, scale=12.5).levels is None
    assert Split(eight_bit.float(), resample=True).levels == 2


@pytest.mark.parametrize("option", GRID_OPTIONS)
def test_floats_are_refused_by_name(option):
    with pytest.raises(DataError, match=r"Noise holds floats, but likelihood \w+Likelihood"):
        experiment(f"likelihood={option}")


def digits(*words):
    return assemble(check(composed(*SMALL, *words)), torch.device("cpu"))


@pytest.mark.parametrize("option", GRID_OPTIONS)
def test_a_run_remembers_its_levels(option, train, tmp_path, vae_run):
    run = train(tmp_path / "run", f"likelihood={option}", *SMALL)
    state = checkpoint_file.read(run / "checkpoints" / "last.pt")
    assert state["levels"] == 17
    model = load(run)
    assert model.likelihood.levels == 17
    assert model.sample(3).shape == (3, 1, 8, 8)
    other = vae_run("task=evaluate", f"run={run}", "dataset.binarize=static")
    assert other.code == 3
    assert "2 grey levels" in other.said
    assert "trained on 17" in other.said
    # Checkpoints from before there were levels: loaded where nothing asks for them.
    old = {key: value for key, value in state.items() if key != "levels"}
    settings = RunDirectory(run).settings()
    with pytest.raises(CheckpointError, match="grey levels"):
        load_model(settings, old, run)


def test_a_checkpoint_without_levels_still_serves_a_density():
    made = digits("likelihood=gaussian")
    old = {"event_shape": [1, 8, 8], "model": made.model.state_dict()}
    loaded = load_model(made.settings, old, Path("old.pt"))
    z = torch.randn(3, 2)
    assert torch.equal(loaded.decode(z).mean, made.model.decode(z).mean)


# Bits


def measured(made, split):
    with evaluating(made.model):
        return bits_per_dim(made.view(split)), objective(made.view(split))


@pytest.mark.parametrize("likelihood", [*GRID_OPTIONS, "bernoulli"])
@pytest.mark.parametrize("binarize", ["none", "static", "dynamic"])
def test_bits_are_the_elbo_in_another_unit(likelihood, binarize):
    made = digits(f"likelihood={likelihood}", f"dataset.binarize={binarize}")
    for split in (made.splits.train, made.splits.test):
        bits, terms = measured(made, split)
        if likelihood == "bernoulli" and binarize == "none":
            assert bits == {}
        else:
            expected = -terms["elbo"] / 64 / math.log(2)
            assert bits == {"bits_per_dim": pytest.approx(expected, rel=1e-12)}


@pytest.mark.parametrize(("binarize", "bits"), [("none", math.log2(17)), ("static", 1.0)])
def test_a_uniform_categorical_spends_log2_of_the_levels(binarize, bits):
    made = digits("likelihood=categorical", f"dataset.binarize={binarize}")
    with torch.no_grad():
        for parameter in made.model.likelihood.parameters():
            parameter.zero_()
        for parameter in made.model.posterior.parameters():
            parameter.zero_()
    found, terms = measured(made, made.splits.test)
    assert terms["kl"] == pytest.approx(0, abs=1e-6)
    assert found["bits_per_dim"] == pytest.approx(bits, rel=1e-6)


@pytest.mark.parametrize(
    "words",
    [("model=ae", "likelihood=categorical"), ("likelihood=gaussian",), ("likelihood=laplace",)],
    ids=str,
)
def test_there_are_no_bits_without_a_probability(words):
    made = digits(*words)
    assert measured(made, made.splits.test)[0] == {}
    assert "bits_per_dim" not in made.evaluation.measure(made.view(made.splits.val))
    with pytest.raises(ConfigError, match=r"evaluation\.metrics: bits_per_dim: "):
        check(composed(*SMALL, *words, "evaluation.metrics=[bits_per_dim]"))
    check(composed(*SMALL, *words, 'evaluation.metrics=[mse,"bits_per_dim?"]'))


def test_bits_of_grey_pixels_under_a_bernoulli_are_refused_before_training():
    asked = "evaluation.metrics=[bits_per_dim]"
    with pytest.raises(
        DataError, match=r"bits_per_dim.*between 0 and 1.*dataset\.binarize=dynamic"
    ):
        digits(asked)
    digits(asked, "dataset.binarize=dynamic")
    digits('evaluation.metrics=["bits_per_dim?"]')


def test_the_default_metrics_measure_bits_where_they_exist(train, tmp_path):
    run = train(tmp_path / "run", "likelihood=discretized_logistic", *SMALL)
    for values in (RunDirectory(run).metrics()[name] for name in ("val", "test")):
        expected = -values["elbo"] / 64 / math.log(2)
        assert values["bits_per_dim"] == pytest.approx(expected, rel=1e-12)
