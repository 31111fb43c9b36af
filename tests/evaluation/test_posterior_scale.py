"""The scale of the posterior: its figure, its curve, and what a prior does to it."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from omegaconf import OmegaConf
from parts import composed, experiment, grey

from vae_run.config.check import check
from vae_run.errors import ConfigError
from vae_run.evaluation.codes import evaluating
from vae_run.evaluation.metrics.posterior_scale import posterior_scale

if TYPE_CHECKING:
    from conftest import Run


def test_it_is_the_mean_standard_deviation_over_images_and_dimensions():
    made = experiment("network.widths=[]")
    head = made.model.posterior.projection
    with torch.no_grad():
        head.weight.zero_()
        head.bias.copy_(torch.tensor([5.0, 6.0, 7.0, *(2 * math.log(s) for s in (0.1, 0.2, 1.8))]))
    with evaluating(made.model):
        found = posterior_scale(made.view(grey(23)))
    assert found == {"posterior_scale": pytest.approx(0.7, rel=1e-6)}


def test_a_code_without_a_scale_has_none_and_is_refused_by_name():
    made = experiment("model=ae")
    with evaluating(made.model):
        assert posterior_scale(made.view(grey(5))) == {}
    for key in ("metrics", "while_training"):
        with pytest.raises(ConfigError, match=f"evaluation.{key}: posterior_scale: a determin"):
            check(composed("model=ae", f"evaluation.{key}=[objective,posterior_scale]"))
        check(composed("model=ae", f"evaluation.{key}=[objective,'posterior_scale?']"))
        with pytest.raises(ConfigError, match="does not know its variance"):
            check(composed("posterior=flow", f"evaluation.{key}=[objective,posterior_scale]"))


def test_what_selects_the_best_checkpoint_is_always_measured():
    with pytest.raises(ConfigError, match=r"evaluation\.while_training: found \['mse'\]"):
        check(composed("evaluation.while_training=[mse]"))
    with pytest.raises(ConfigError, match=r"evaluation\.while_training: there is no 'mze'"):
        check(composed("evaluation.while_training=[objective,mze]"))


@pytest.mark.scale
def test_without_a_prior_the_scale_falls_and_with_one_it_does_not(
    vae_run: Run, tmp_path: Path
) -> None:
    typed = ("-m", "experiment=bottleneck_noise", "device=cpu", "network.widths=[64]",
             "trainer.epochs=15", "optimizer.lr=0.01", "sweep.dir=both")  # fmt: skip
    finished = vae_run(*typed, "evaluation.figures=[]")
    assert finished.code == 0, finished.said
    assert (tmp_path / "both" / "curves.png").is_file()
    curves = {}
    for run in sorted((tmp_path / "both").glob("*/history.csv")):
        with run.open(newline="", encoding="utf-8") as file:
            curve = [float(row["val/posterior_scale"]) for row in csv.DictReader(file)]
        assert len(curve) == 15
        typed_there = OmegaConf.load(run.parent / ".hydra" / "overrides.yaml")
        (objective,) = [word for word in typed_there if word.startswith("objective=")]
        curves[objective.removeprefix("objective=")] = curve
    free, held = curves["reconstruction"], curves["elbo"]
    assert free[-1] < free[0] / 10
    assert free[-1] < 0.02
    assert held[-1] > 0.05
    assert held[-1] > 4 * free[-1]
