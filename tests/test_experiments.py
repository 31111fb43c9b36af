"""Experiments that are sweeps: their own keys, what replaces them, and what they claim."""

from __future__ import annotations

import csv
import math
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from parts import composed, experiment, stepped

from vae_run.cli import main
from vae_run.config.check import check
from vae_run.models.build import build_model
from vae_run.models.networks import parameter_count
from vae_run.sweeps.filters import Filter
from vae_run.training.data_support import load_splits

if TYPE_CHECKING:
    from conftest import Run

SWEEPS = ("bottleneck", "bottleneck_noise", "double_descent", "ensemble")
FOR_A_GPU = {"miwae": 8, "vamp_prior": 4, "rae_fid": 4, "wae_celeba": 3}
"""Experiments that are not run in full here, and how many runs each is."""
QUICK = ("device=cpu", "trainer.steps=1", "evaluation.figures=[]")


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "sweep.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", [*SWEEPS, *FOR_A_GPU])
def test_a_sweeping_experiment_says_what_it_sweeps_and_what_to_expect(name: str) -> None:
    text = (main.CONF / "experiment" / f"{name}.yaml").read_text(encoding="utf-8")
    params = OmegaConf.create(text).hydra.sweeper.params
    assert len(params) >= 1
    assert f"vae-run -m experiment={name}" in text
    assert "Expected" in text


def test_alone_it_is_one_run_and_says_that_it_could_be_a_sweep(
    vae_run: Run, tmp_path: Path
) -> None:
    finished = vae_run("experiment=bottleneck", *QUICK, "hydra.run.dir=one")
    assert finished.code == 0, finished.said
    assert "One run; with -m this experiment is a sweep of latent_dim=1,2,4" in finished.out
    assert (tmp_path / "one" / "metrics.json").is_file()
    assert "with -m" not in vae_run("experiment=bottleneck", "task=check", "device=cpu").out


@pytest.mark.scale
def test_what_is_typed_replaces_what_the_experiment_sweeps(vae_run: Run, tmp_path: Path) -> None:
    typed = ("-m", "experiment=bottleneck", "latent_dim=3,5", "sweep.dir=both")
    finished = vae_run(*typed, *QUICK)
    assert finished.code == 0, finished.said
    found = rows(tmp_path / "both")
    assert [row["latent_dim"] for row in found] == ["3", "5"]
    assert all("latent_dim=" in row["run"] for row in found)
    assert all(float(row["test/codes_twonn"]) > 0 for row in found)


def test_an_experiments_own_values_are_checked_before_its_first_job(
    vae_run: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "mine" / "experiment"
    folder.mkdir(parents=True)
    text = "# @package _global_\nhydra: {sweeper: {params: {latent_dim: '2,8,abc'}}}\n"
    (folder / "wrong.yaml").write_text(text, encoding="utf-8")
    finished = vae_run("--config-dir", "mine", "-m", "experiment=wrong", *QUICK)
    assert finished.code == 1
    assert "latent_dim: found 'abc'" in finished.err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_double_descent_marks_where_parameters_are_as_many_as_trained_pixels() -> None:
    main.register_resolvers()
    with initialize_config_dir(str(main.CONF), version_base="1.3"):
        plain = OmegaConf.to_container(compose("config", ["experiment=double_descent"]))
    assert isinstance(plain, dict)
    mark = plain["sweep"]["mark"]
    plain["network"]["decoder_widths"] = [round(mark)]
    settings = check({str(key): value for key, value in plain.items()})
    splits = load_splits(settings)
    assert len(splits.val) == 0, "no early stopping"
    assert settings.parts["optimizer"]["weight_decay"] == 0
    assert settings.parts["trainer"]["batch_size"] >= len(splits.train)
    parameters = parameter_count(build_model(settings, splits.event_shape))
    assert parameters == pytest.approx(len(splits.train) * 64, rel=0.01)


def jobs(name: str) -> list[dict[str, Any]]:
    """The runs of a sweeping experiment: {key: its value} of each."""
    text = (main.CONF / "experiment" / f"{name}.yaml").read_text(encoding="utf-8")
    sweeper = OmegaConf.create(text).hydra.sweeper
    axes = [str(values).split(",") for values in sweeper.params.values()]
    parsed = [[OmegaConf.create(f"a: {value}").a for value in axis] for axis in axes]
    found = [dict(zip(sweeper.params, values, strict=True)) for values in product(*parsed)]
    kept = Filter(sweeper.filter).all_kept(found) if "filter" in sweeper else [True] * len(found)
    return [job for job, stays in zip(found, kept, strict=True) if stays]


SMALL = {
    "miwae": (),
    "vamp_prior": (),
    "rae_fid": ("network.widths=[4,8]", "evaluation=fast"),
    "wae_celeba": ("network.widths=[4,8]", "evaluation=fast"),
}
"""What makes a run of each small; the network of `fid` is not installed everywhere."""


@pytest.mark.parametrize("name", FOR_A_GPU)
def test_an_experiment_for_a_gpu_trains(name: str) -> None:
    check(composed(f"experiment={name}"))
    found = jobs(name)
    assert len(found) == FOR_A_GPU[name]
    shape = (3, 8, 8) if name == "wae_celeba" else (1, 8, 8)
    for job in (found[0], found[-1]):
        values = {**job, **({"prior.components": 3} if job.get("prior") == "vamp" else {})}
        if job.get("prior") == "standard_normal":  # which has no components
            values.pop("prior.components", None)
        words = [f"{key}={str(value).lower()}" for key, value in values.items()]
        common = (*words, "latent_dim=2", "network.activation=relu", *SMALL[name])
        made = experiment(f"experiment={name}", *common, n=20, shape=shape)
        _, records = stepped(made.settings, 3, batch_size=10)
        losses = [record.terms["loss"].detach().mean() for record in records]
        assert all(math.isfinite(float(loss)) for loss in losses)


def test_the_bounds_of_64_samples_are_those_of_rainforth_et_al() -> None:
    """IWAE, two MIWAE, two PIWAE, two CIWAE and a VAE."""
    values = [
        (
            job["objective.groups"],
            job["objective.importance_samples"],
            job["objective.partial"],
            job["objective.elbo_share"],
        )
        for job in jobs("miwae")
    ]
    assert sorted(values) == sorted(
        [
            (1, 64, False, 0),
            (4, 16, False, 0),
            (8, 8, False, 0),
            (4, 16, True, 0),
            (8, 8, True, 0),
            (1, 64, False, 0.05),
            (1, 64, False, 0.5),
            (64, 1, False, 0),
        ]
    )
