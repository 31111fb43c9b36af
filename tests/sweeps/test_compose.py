"""The quick way of composing jobs ends where Hydra's own does."""

from __future__ import annotations

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf

from vae_run.cli.hydra_api import composing
from vae_run.cli.resolvers import register_resolvers
from vae_run.config.options import CONF
from vae_run.sweeps.composer import Composer
from vae_run.sweeps.launchers.base import tell_of_other_names


@pytest.fixture(scope="module")
def composer():
    register_resolvers()
    with composing(CONF):
        loader = GlobalHydra.instance().config_loader()
        master = loader.load_configuration("config", ["sweep.dir=x"], RunMode.MULTIRUN)
        yield Composer(loader, master)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["seed=3", "optimizer.lr=0.1"],
        ["model=dae", "corruption=masking", "corruption.level=0.25", "latent_dim=2"],
        ["corruption.level=0.25", "model=dae", "likelihood=gaussian", "likelihood.sigma=learned"],
        ["experiment=linear_ae", "latent_dim=16", "network.tied=true"],
        ["network.widths=[9,8]", "dataset.classes=[0,1]", "dataset.path='a=b c'"],
        ["~network.activation", "seed=1"],
        ["++trainer.epochs=7", "trainer.steps=null"],
        ["+objective.new=1", "hydra.sweep.subdir=elsewhere"],
        ["posterior=delta", "prior=flat", "objective=reconstruction"],
    ],
    ids=" ".join,
)
def test_it_composes_what_hydra_composes(composer, words, monkeypatch):
    monkeypatch.setenv(
        "VAE_RUN_DATA", "data"
    )  # without it the path begins with ~, which Hydra keeps
    if "dataset.path='a=b c'" in words:
        words = [*words, "dataset=arrays"]
    theirs = OmegaConf.to_container(hydra.compose("config", words), resolve=True)
    for _ in range(2):  # the second time from what the first left
        assert composer.compose(words) == theirs


def test_jobs_do_not_see_each_other(composer):
    first = composer.compose(["seed=1", "network.widths=[3]"])
    composer.compose(["seed=2", "network.widths=[4]", "trainer.epochs=1"])
    assert composer.compose(["seed=1", "network.widths=[3]"]) == first


def test_a_job_has_what_hydras_own_launcher_composes(composer):
    words = [
        "network=conv",
        "seed=3",
        "trainer.epochs=2",
        "hydra.sweep.dir=x",
        "hydra.sweep.subdir=3",
    ]
    composer.job(["network=conv", "seed=2", "+objective.new=1"])  # the next does not see it
    theirs = composer._loader.load_sweep_config(composer._master, words)
    assert OmegaConf.to_yaml(composer.job(words)) == OmegaConf.to_yaml(theirs)
    assert theirs.hydra.overrides.task == words[:3]


@pytest.mark.parametrize("word", ["sed=1", "trainer.epoch=3", "+seed=1", "network=mpl"])
def test_it_refuses_what_hydra_refuses(composer, word):
    from hydra.errors import HydraException

    with pytest.raises(HydraException) as theirs:
        hydra.compose("config", [word])
    with pytest.raises(HydraException) as ours:
        composer.compose([word])
    assert str(ours.value).split("\n")[0] == str(theirs.value).split("\n")[0]


def test_a_pattern_of_hydra_for_directories_is_kept_for_the_job(composer, capsys):
    """It refers to keys that have no value before a job begins."""
    pattern = "hydra.sweep.subdir=${hydra.job.override_dirname}-${hydra.job.num}"
    words = ["sweep.dir=x", pattern]
    master = composer._loader.load_configuration("config", words, RunMode.MULTIRUN)
    tell_of_other_names(composer._master)
    assert capsys.readouterr().out == ""
    tell_of_other_names(master)
    assert "is not used" in capsys.readouterr().out
    job = Composer(composer._loader, master).job(["seed=1"])
    job.hydra.job.num = 3
    assert job.hydra.sweep.subdir == "seed=1-3"
