"""The curve of robustness: figures known by hand, every corruption, and the picture of them."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from parts import composed, experiment, grey, options
from torch import Tensor

from vae_run import plots
from vae_run.config.check import check
from vae_run.corruptions import Corruption
from vae_run.errors import ConfigError
from vae_run.evaluation.codes import evaluating
from vae_run.evaluation.metrics.mse import mse
from vae_run.evaluation.metrics.robustness import FLOOR, curve, robustness
from vae_run.evaluation.pictures.robustness import robustness as picture
from vae_run.plots import Panel
from vae_run.plots.canvas import BLUE, VERMILLION, rgb

SQUARE = (1, 8, 8)


@dataclass(kw_only=True)
class Darker(Corruption):
    """x - level: an error of level^2 in every pixel."""

    tested_levels = (0, 0.1, 0.2)

    level: float = 0.1

    def noise(self, shape: torch.Size, generator: torch.Generator) -> None:
        return None

    def apply(self, x: Tensor, noise: Tensor | None) -> Tensor:
        return x - self.level


def view_of(corruption: Corruption, images: Tensor, *words: str) -> Any:
    """A model that returns what it sees, before `images`."""
    made = experiment("model=ae", "likelihood=mse", *words, shape=SQUARE)
    made = replace(made, corruption=corruption)
    view = made.view(replace(grey(len(images), SQUARE), images=images))

    class Same:
        def given(self, label: Tensor | None) -> Same:
            return self

        def reconstruct(self, x: Tensor) -> Tensor:
            return x

    return replace(view, model=Same())


def test_errors_of_a_known_size() -> None:
    """Half of the images are grey 0.4, half 0.6: the mean image errs by 0.1 in each pixel."""
    images = torch.cat([torch.full((3, *SQUARE), 0.4), torch.full((3, *SQUARE), 0.6)])
    found = curve(view_of(Darker(level=0.3), images))
    assert found is not None
    assert found.levels == [0, 0.1, 0.2, 0.3], "the run's own level is one of them"
    for name in ("input", "output"):
        assert found.mse[name] == pytest.approx([0, 0.01, 0.04, 0.09], abs=1e-7)
        expected = [-10 * math.log10(FLOOR), 20, -20 * math.log10(0.2), -20 * math.log10(0.3)]
        assert found.psnr[name] == pytest.approx(expected, abs=1e-4)
    assert found.mse["mean"] == pytest.approx([0.01] * 4, abs=1e-7)
    assert found.psnr["mean"] == pytest.approx([20.0] * 4, abs=1e-4)


def test_psnr_is_a_mean_of_decibels_over_clipped_images() -> None:
    images = torch.cat([torch.full((1, *SQUARE), 0.05), torch.full((1, *SQUARE), 1.0)])
    found = curve(view_of(Darker(level=0.1), images))
    assert found is not None
    assert found.mse["input"][1] == pytest.approx(0.01, rel=1e-5), "nothing is clipped"
    decibels = (-20 * math.log10(0.05) - 20 * math.log10(0.1)) / 2  # the first is clipped at 0
    assert found.psnr["input"][1] == pytest.approx(decibels, abs=1e-4)


def test_pixels_off_the_unit_interval_have_no_psnr() -> None:
    found = curve(view_of(Darker(), torch.rand(4, *SQUARE) * 3))
    assert found is not None
    assert found.psnr == {}
    assert found.mse["input"] == pytest.approx([0, 0.01, 0.04], rel=1e-4, abs=1e-9)
    assert picture(view_of(Darker(), torch.rand(4, *SQUARE) * 3)) is not None


@pytest.mark.parametrize("option", options("corruption"))
def test_every_corruption_grows_from_nothing_over_levels_it_allows(option: str) -> None:
    config = composed("model=dae", f"corruption={option}")
    corruption: Any = check(config).build("corruption")
    levels = corruption.tested_levels
    assert ("level" in {f.name for f in dataclasses.fields(corruption)}) == bool(levels)
    assert list(levels) == sorted(set(levels))
    for level in levels:
        check(composed("model=dae", f"corruption={option}", f"corruption.level={level}"))
    if not levels:
        return
    assert corruption.level_name != "level"
    x = torch.rand(64, 3, 16, 16, generator=torch.Generator().manual_seed(0))

    def error(level: float) -> float:
        at = replace(corruption, level=level)
        noise = at.noise(x.shape, torch.Generator().manual_seed(1))
        return float((at.apply(x, noise) - x).square().mean())

    assert error(levels[0]) == 0
    assert error(levels[-1]) > error(levels[1]) > 0


@pytest.mark.parametrize("option", ["gaussian", "masking", "downsample", "affine"])
def test_the_figures_are_those_of_the_evaluation_and_are_repeated(option: str) -> None:
    made = experiment("model=dae", f"corruption={option}", shape=SQUARE)
    view = made.view(made.splits.test)
    with evaluating(made.model):
        first, again = robustness(view), robustness(replace(view, batch_size=7))
        level = made.settings.parts["corruption"]["level"]
        assert first[f"mse_at_{level:g}"] == pytest.approx(mse(view)["mse"], rel=1e-6)
    assert first == pytest.approx(again, rel=1e-6)
    assert first["mean_psnr"] > 0


def test_families_without_a_corruption_have_no_curve() -> None:
    made = experiment("model=ae", shape=SQUARE)
    view = made.view(made.splits.test)
    assert robustness(view) == {}
    assert picture(view) is None
    grey_alone = experiment("model=dae", "corruption=grayscale", shape=SQUARE)
    assert picture(grey_alone.view(grey_alone.splits.test)) is None
    with pytest.raises(ConfigError, match="robustness: NoCorruption has no levels"):
        check(composed("model=ae", "evaluation.metrics=[robustness]"))


def drawn(here: float) -> Any:
    lines = {"output": [30.0, 20.0, 10.0], "input": [math.nan, 15.0, 5.0], "mean": [12.0] * 3}
    panels = [Panel("PSNR, in dB", lines), Panel("errors", lines, logarithmic=True)]
    return plots.robustness([0, 0.5, 1], panels, here=here, level_name="of what", note="64 images")


def test_the_picture_shows_falling_lines_and_the_runs_own_level() -> None:
    picture = drawn(0.5)
    assert picture.dtype == np.uint8
    for colour, columns in ((BLUE, 2), (VERMILLION, 2)):
        y, x = np.nonzero((picture == rgb(colour)).all(-1))
        below = y > 110  # under the legend
        for half in range(columns):
            inside = below & (x // (picture.shape[1] // 2) == half)
            left, right = x[inside].argmin(), x[inside].argmax()
            assert y[inside][left] < y[inside][right], "a falling line runs down the page"
    moved = drawn(1.0)
    assert (picture != moved).any(-1).any(0).sum() > 20, "the mark moves with the level"


def test_the_picture_is_of_the_errors_that_were_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of 0, as of the input at level 0, has no place on a logarithmic axis."""
    given: list[Any] = []
    monkeypatch.setattr(plots, "robustness", lambda levels, panels, **_: given.extend(panels))
    view = view_of(Darker(level=0.3), torch.rand(4, *SQUARE))
    picture(view)
    measured = curve(view)
    assert measured is not None
    (errors,) = [panel.lines for panel in given if panel.logarithmic]
    for name, values in measured.mse.items():
        expected = [value if value else math.nan for value in values]
        assert errors[name] == pytest.approx(expected, nan_ok=True)
    assert math.isnan(errors["input"][0])
    assert min(errors["input"][1:]) > 0


def test_a_run_draws_it_and_evaluate_adds_its_numbers(
    train: Any, vae_run: Any, tmp_path: Path
) -> None:
    words = ("model=dae", "corruption.level=0.25", "trainer.epochs=1")
    run = train(tmp_path / "run", *words, "evaluation.figures=[robustness]")
    assert (run / "figures" / "robustness.png").is_file()
    done = vae_run("task=evaluate", f"run={run}", "evaluation.metrics=[mse,robustness]")
    assert done.code == 0, done.said
    test = json.loads((run / "metrics.json").read_text())["test"]
    assert test["mse_at_0.25"] == pytest.approx(test["mse"], rel=1e-6)
    assert test["input_mse_at_0.25"] == pytest.approx(0.0625, rel=0.02)
    assert test["psnr_at_0"] > test["psnr_at_1"]
    words = ("corruption=masking", "evaluation.figures=[robustness]")
    done = vae_run("task=evaluate", f"run={run}", *words)
    assert done.code == 0, done.said
    assert (run / "evaluations/corruption=masking/figures/robustness.png").is_file()
