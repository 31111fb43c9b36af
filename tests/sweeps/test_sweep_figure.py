"""The figures of a sweep: which key is the axis, what is a line, a mean, a mark; and the pixels."""

from __future__ import annotations

import json
import operator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from vae_run import plots
from vae_run.comparison.pictures import BARS, number
from vae_run.plots import Line
from vae_run.plots import sweep as drawing
from vae_run.plots.canvas import BLUE, GREEN, ORANGE, rgb
from vae_run.plots.curves import joined
from vae_run.sweeps import pictures as sweep_pictures
from vae_run.sweeps.ledger import Ledger
from vae_run.sweeps.pictures import by_setting, marks, numeric_key, over_key, swept_keys
from vae_run.sweeps.summary import row

if TYPE_CHECKING:
    from conftest import Finished, Run

Picture = NDArray[np.uint8]


def rows(**columns: list[Any]) -> list[dict[str, Any]]:
    """Rows of a sweep from its columns; two underscores stand for a dot, three for a slash."""
    named = {name.replace("___", "/").replace("__", "."): v for name, v in columns.items()}
    length = len(next(iter(named.values())))
    every = {"run": [f"{i:03d}" for i in range(length)], "state": ["completed"] * length}
    return [{k: v[i] for k, v in (every | named).items()} for i in range(length)]


def count(picture: Picture, colour: str) -> int:
    return int((picture == rgb(colour)).all(-1).sum())


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is handed over for drawing, undrawn."""
    calls: list[dict[str, Any]] = []

    def keep(panels: Any, axis: str, **rest: Any) -> None:
        calls.append({"panels": panels, "axis": axis, **rest})

    monkeypatch.setattr(plots, "sweep_curves", keep)
    return calls


def test_the_axis_is_the_numeric_key_with_the_most_values():
    swept = rows(
        latent_dim=["2", "4", "8", "2", "4", "8"],
        model=["ae", "ae", "ae", "vae", "vae", "vae"],
        optimizer__lr=["1e-3"] * 3 + ["1e-2"] * 3,
        seed=["0", "1", "2", "3", "4", "5"],
    )
    assert numeric_key(swept) == "latent_dim"
    assert numeric_key(rows(latent_dim=["2", "4"])) == "latent_dim"
    assert numeric_key(rows(seed=["0", "1", "2"])) is None, "a seed is no setting"
    assert numeric_key(rows(model=["ae", "dae", "vae"])) is None
    assert numeric_key(rows(trainer__steps=["1", "2", "null"])) is None


def test_a_layers_width_is_a_number():
    swept = rows(network__widths=["[8]", "[16]", "[256]"])
    assert numeric_key(swept) == "network.widths"
    assert number("[16]") == 16
    assert number("1e-3") == 0.001
    for text in ("[8,16]", "[]", "adam", None, "", "null"):
        assert np.isnan(number(text)), text


def test_seeds_share_a_line_and_other_keys_make_lines(drawn):
    swept = rows(
        latent_dim=["2", "4", "8"] * 4,
        model=["ae"] * 6 + ["vae"] * 6,
        seed=(["0"] * 3 + ["1"] * 3) * 2,
        test___mse=[float(i) for i in range(12)],
        val___mse=[0.5] * 12,
        test___loss=[1.0] * 12,
    )
    over_key(swept, None, 2)
    (call,) = drawn
    assert call["axis"] == "latent_dim"
    assert list(call["panels"]) == ["loss", "mse"]
    lines = {(line.setting, line.split): line for line in call["panels"]["mse"]}
    assert set(lines) == {(f"model={m}", s) for m in ("ae", "vae") for s in ("val", "test")}
    line = lines["model=ae", "test"]
    assert (line.x, line.y) == ([2, 4, 8, 2, 4, 8], [0, 1, 2, 3, 4, 5])
    # The interval of two values that are 3 apart: t of one degree of freedom, 12.7062, times 1.5.
    assert line.halves == pytest.approx(dict.fromkeys((2, 4, 8), 19.0593), rel=1e-4)
    assert lines["model=vae", "test"].y == [6, 7, 8, 9, 10, 11]
    assert call["notes"] == [
        "mean over 2 seeds; every run is a dot",
        BARS,
        "2 of 14 jobs left no metrics",
    ]


def test_a_figure_that_only_some_jobs_have_is_drawn_for_those(drawn):
    swept = rows(latent_dim=["1", "2", "3", "4"], test___mse=[4.0, 3.0, 2.0, 1.0])
    for measured in swept[1:3]:
        measured["test/elbo"] = -1.0
    over_key(swept, None, 0)
    (line,) = drawn[0]["panels"]["elbo"]
    assert line.x == [2, 3]
    assert len(drawn[0]["panels"]["mse"][0].x) == 4


def test_of_a_search_every_run_is_a_dot_of_one_cloud(drawn):
    searched = rows(
        optimizer__lr=[f"{i}e-3" for i in range(1, 10)],
        latent_dim=[str(i) for i in range(9)],
        test___mse=[float(i) for i in range(9)],
    )
    over_key(searched, None, 0)
    (call,) = drawn
    assert call["joined"] is False
    assert call["notes"] == ["every run is a dot; also varied: latent_dim"]
    (cloud,) = call["panels"]["mse"]
    assert list(cloud.x) == pytest.approx([i / 1000 for i in range(1, 10)])
    axes = Figure().add_subplot()
    drawing._draw(axes, cloud, (GREEN, "solid"), True, False)
    (dots,) = axes.lines
    assert (len(dots.get_xydata()), dots.get_linestyle()) == (9, "None")


def test_settings_are_told_by_what_differs():
    swept = rows(latent_dim=["1", "2"], device=["cpu", "cpu"], seed=["0", "1"])
    assert list(by_setting(swept)) == ["latent_dim=1", "latent_dim=2"]
    assert list(by_setting(swept, "latent_dim")) == [""]


def test_what_cannot_change_a_result_is_not_swept():
    swept = rows(latent_dim=["1", "2"], sweep__dir=["s", "/tmp/s"], device=["cpu", None])
    assert swept_keys(swept) == ["latent_dim"]


def test_a_mark_is_a_number_or_the_mean_of_a_figure():
    measured = rows(test___data_twonn=[13.0, 14.0], val___data_twonn=[1.0, 1.0])
    assert marks(measured, "data_twonn") == {"data_twonn 13.5": 13.5}
    assert marks(measured, 18) == {"18": 18.0}
    assert marks(measured, None) == {}
    assert marks(measured, "nothing") == {}


def test_an_axis_is_logarithmic_where_values_span_decades_evenly():
    for values, expected in (
        ([1, 2, 4, 8, 16], True),
        ([1e-4, 1e-3, 1e-2], True),
        ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], False),
        ([2, 4, 8], False),  # less than a decade
        ([0, 1, 10, 100], False),
        ([-1, 10, 100], False),
        ([1, 100], False),
    ):
        assert drawing.is_logarithmic(np.array(values, dtype=float)) is expected, values


def test_numbers_below_the_axis_do_not_touch():
    values = np.array([2, 4, 8, 12, 16, 20, 24, 32, 48, 64, 128, 256, 512], dtype=float)
    kept = drawing._with_room(values, True)
    assert kept == [2, 4, 8, 12, 20, 32, 48, 128, 256, 512]


def test_the_line_runs_through_the_mean_and_the_runs_are_dots():
    axes = Figure().add_subplot()
    line = Line("", "test", [4.0, 1.0, 1.0, 4.0, 2.0, 2.0], [8.0, 0.0, 2.0, 6.0, 3.0, np.nan])
    drawing._draw(axes, line, (GREEN, "solid"), True)
    dots, mean = axes.lines
    assert sorted(map(tuple, dots.get_xydata())) == [(1, 0), (1, 2), (2, 3), (4, 6), (4, 8)]
    assert [tuple(point) for point in mean.get_xydata()] == [(1, 1), (2, 3), (4, 7)]


def test_lines_are_coloured_by_split_or_by_setting():
    x = [1.0, 2.0, 4.0]
    one = [Line("", split, x, [1.0, i, 2.0]) for i, split in enumerate(("train", "val", "test"))]
    picture = plots.sweep_curves({"loss": one}, "latent_dim", title="Sweep")
    assert min(count(picture, colour) for colour in (BLUE, ORANGE, GREEN)) > 100
    two = [Line(f"model={name}", "test", x, [1.0, i, 2.0]) for i, name in enumerate("ab")]
    picture = plots.sweep_curves({"loss": two}, "latent_dim", title="Sweep")
    assert min(count(picture, colour) for colour in (BLUE, ORANGE)) > 100
    assert count(picture, GREEN) == 0


def test_what_is_not_finite_or_too_much_is_left_out_and_said(monkeypatch):
    said: list[str] = []
    heading = drawing.Heading
    monkeypatch.setattr(
        drawing,
        "Heading",
        lambda title, notes, width: (said.extend(notes), heading(title, notes, width))[1],
    )
    lines = [Line(f"model={i}", "test", [1.0, 2.0], [float(i), np.nan]) for i in range(9)]
    lines += [Line("model=0", "val", [1.0, 2.0], [np.nan, np.inf])]
    plots.sweep_curves({"loss": lines}, "latent_dim", title="Sweep")
    assert said == ["Not shown: model=7, model=8"]


def test_a_mark_is_a_vertical_line_at_its_place():
    line = Line("", "test", [0.0, 5.0, 10.0], [1.0, 1.5, 2.0])
    plain = plots.sweep_curves({"mse": [line]}, "key", title="Sweep")
    for place, expected in ((2.0, 0.2), (8.0, 0.8)):
        marked = plots.sweep_curves({"mse": [line]}, "key", title="Sweep", marks={"here": place})
        changed = (marked != plain).any(-1)[130:300].sum(0)  # below the mark's name
        assert changed.max() > 80
        share = (int(changed.argmax()) - 16 - drawing._INSET) / drawing._PLOT[0]
        assert share == pytest.approx(expected, abs=0.03)


@pytest.fixture(scope="module")
def swept(vae_run: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Finished]:
    place = tmp_path_factory.mktemp("sweep")
    typed = ("model=ae", "latent_dim=1,2,4", "sweep.mark=nothing", "sweep.dir=all")
    small = ("-m", "device=cpu", "network.widths=[8]", "trainer.epochs=2", "evaluation.figures=[]")
    return place / "all", vae_run(*small, *typed, cwd=place)


def test_a_sweep_leaves_its_figures_and_says_where(swept: tuple[Path, Finished]) -> None:
    folder, finished = swept
    assert finished.code == 0, finished.said
    for name in ("sweep.png", "curves.png"):
        with Image.open(folder / name) as picture:
            assert picture.size[0] > 400
        assert f"{name}" in finished.out
    assert "no job measured nothing" in finished.said


def test_the_figure_shows_what_the_runs_measured(swept: tuple[Path, Finished], drawn) -> None:
    folder, _ = swept
    found = [row(folder, entry) for entry in Ledger.open(folder).jobs.values()]
    assert sweep_pictures.draw(folder, found, None) == []  # `drawn` kept the pictures
    over, epochs = drawn
    (test,) = [line for line in over["panels"]["mse"] if line.split == "test"]
    for x, y, run in zip(test.x, test.y, found, strict=True):
        metrics = json.loads((folder / run["run"] / "metrics.json").read_text(encoding="utf-8"))
        assert (x, y) == (float(run["latent_dim"]), metrics["test"]["mse"])
    assert {line.split for line in over["panels"]["loss"]} == {"train", "val", "test"}
    assert list(joined(epochs["panels"], operator.eq)) == ["loss = reconstruction", "mse"]
    assert [line.x for line in epochs["panels"]["mse"]] == [[1.0, 2.0]] * 3
    assert len({line.setting for line in epochs["panels"]["mse"]}) == 3


def test_learning_curves_of_seeds_alone_are_drawn(tmp_path: Path, drawn) -> None:
    found = [{"run": f"seed={seed}", "seed": str(seed), "val/loss": 1.0} for seed in range(2)]
    for epochs, dots in ((1, True), (2, True), (3, False)):
        for job in found:
            (tmp_path / job["run"]).mkdir(exist_ok=True)
            lines = "".join(f"{epoch},{9 - epoch}\n" for epoch in range(1, epochs + 1))
            (tmp_path / job["run"] / "history.csv").write_text(f"epoch,val/loss\n{lines}")
        drawn.clear()
        sweep_pictures.over_epochs(tmp_path, found)
        (curves,) = drawn
        assert [len(line.x) for line in curves["panels"]["loss"]] == [epochs, epochs]
        assert curves["dots"] is dots


def test_learning_curves_are_drawn_for_two_to_seven_settings(
    swept: tuple[Path, Finished], drawn
) -> None:
    folder, _ = swept
    names = sorted(path.parent.name for path in folder.glob("*/.hydra"))
    for count_, expected in ((1, 0), (2, 1), (7, 1), (8, 0)):
        drawn.clear()
        found = [{"run": names[i % 3], "model": str(i), "val/loss": 1.0} for i in range(count_)]
        sweep_pictures.over_epochs(folder, found)
        assert len(drawn) == expected, count_
