"""Experiments that are sweeps: their own keys, what replaces them, and what they claim."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from vae_run.cli import main
from vae_run.config.check import check
from vae_run.models.build import build_model
from vae_run.models.networks import parameter_count
from vae_run.training.data_support import load_splits

if TYPE_CHECKING:
    from conftest import Run

SWEEPS = ("bottleneck", "bottleneck_noise", "double_descent", "ensemble")
QUICK = ("device=cpu", "trainer.steps=1", "evaluation.figures=[]")


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "sweep.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", SWEEPS)
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
