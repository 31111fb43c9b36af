"""The pictures: every cell at its place and the right way up, whatever the pixels are.

Cells of one known colour each are found again on the page by that colour.
"""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from vae_run import plots
from vae_run.plots import Line
from vae_run.plots import cells as cells_module
from vae_run.plots.canvas import BLUE, ORANGE, VERMILLION, rgb, shorten, text_width, wrap
from vae_run.plots.curves import _panels, joined
from vae_run.plots.grid import Grid
from vae_run.plots.planes import _fewest_holes, _ticks
from vae_run.plots.strangest import _told_apart

Picture = NDArray[np.uint8]
NAN = float("nan")


def palette(*leading: int, size: tuple[int, int] = (4, 4)) -> Tensor:
    """Images [*leading, 3, *size], each filled with a colour of its own: (index, 77, 200) / 255."""
    count = int(np.prod(leading))
    colours = torch.tensor([[index, 77.0, 200.0] for index in range(count)]) / 255
    return colours.reshape(*leading, 3, 1, 1).expand(*leading, 3, *size)


def where(picture: Picture, colour: Picture | list[int]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = (picture == np.asarray(colour, dtype=np.uint8)).all(axis=-1)
    return found


def box(picture: Picture, colour: Picture | list[int]) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) of the pixels of a colour, which must fill their rectangle."""
    found = where(picture, colour)
    y, x = np.nonzero(found)
    assert len(y), f"{colour} is nowhere"
    top, bottom, left, right = y.min(), y.max() + 1, x.min(), x.max() + 1
    assert found[top:bottom, left:right].all()
    return int(top), int(bottom), int(left), int(right)


def places(picture: Picture, count: int) -> NDArray[np.int_]:
    """The page's (row, column) of each palette image, counted among all images [count, 2]."""
    corners = np.array([box(picture, [index, 77, 200]) for index in range(count)])[:, [0, 2]]
    return np.stack([np.unique(axis, return_inverse=True)[1] for axis in corners.T], axis=1)


def is_picture(picture: Picture) -> bool:
    return picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Grid]:
    """The grids that are handed over for drawing, undrawn."""
    grids: list[Grid] = []
    monkeypatch.setattr(Grid, "draw", lambda grid: grids.append(grid))
    return grids


def test_an_image_keeps_its_orientation_and_whole_pixel_scale():
    image = torch.zeros(1, 3, 2, 3)
    image[0, :, 0, 2] = torch.tensor([1.0, 0.0, 0.0])
    image[0, :, 1, 0] = torch.tensor([0.0, 1.0, 0.0])
    picture = plots.samples(image, "note")
    red, green = box(picture, [255, 0, 0]), box(picture, [0, 255, 0])
    side = red[1] - red[0]
    assert side == red[3] - red[2] == green[1] - green[0] == green[3] - green[2] > 10
    assert green[0] == red[1]
    assert green[3] + side == red[2]


def test_a_grey_checker_is_drawn_bright_on_dark():
    checker = (torch.arange(64).reshape(8, 8) // 8 + torch.arange(8)) % 2
    picture = plots.samples(checker[None, None].float(), "note")
    y, x = np.nonzero(where(picture, [0, 0, 0]))
    tile = picture[y.min() : y.max() + 1, x.min() : x.max() + 1]
    scale = tile.shape[0] // 8
    assert tile.shape[:2] == (8 * scale, 8 * scale)
    assert np.array_equal(tile[::scale, ::scale, 0], checker.numpy() * 255)


def test_samples_fill_rows_in_order_and_leave_the_rest_white():
    picture = plots.samples(palette(7), "note")
    expected = [[i // 3, i % 3] for i in range(7)]
    assert places(picture, 7).tolist() == expected
    top, bottom, _, _ = box(picture, [6, 77, 200])
    _, _, left, right = box(picture, [5, 77, 200])
    assert (picture[top - 2 : bottom + 2, left - 2 : right + 2] == 255).all()


def test_samples_show_at_most_256():
    full = plots.samples(palette(256), "note")
    corners = [box(full, [index, 77, 200]) for index in (0, 15, 240, 255)]
    assert corners[0][0] == corners[1][0] < corners[2][0] == corners[3][0]
    assert corners[0][2] == corners[2][2] < corners[1][2] == corners[3][2]
    pale = torch.cat([palette(256), torch.ones(10, 3, 4, 4) * torch.tensor(9 / 255)])
    assert not where(plots.samples(pale, "note"), [9, 9, 9]).any()


@pytest.mark.parametrize("corrupted", [False, True])
def test_reconstructions_stand_under_their_originals(corrupted):
    images = palette(9)
    output, seen = images[6:9], images[3:6] if corrupted else None
    picture = plots.reconstructions(images[:3], seen, output, labels=torch.tensor([4, 1, 9]))
    rows = [box(picture, [i, 77, 200])[0] for i in (0, 3, 6) if corrupted or i != 3]
    assert rows == sorted(set(rows))
    for column in range(3):
        lefts = {box(picture, [i, 77, 200])[2] for i in (column, column + 6)}
        assert len(lefts) == 1
    assert where(picture, [3, 77, 200]).any() == corrupted


def test_a_corrupted_image_may_be_smaller_and_grey():
    target = palette(2, size=(8, 8))
    picture = plots.reconstructions(target, torch.full((2, 1, 4, 4), 0.2), target)
    y, x = np.nonzero(where(picture, [51, 51, 51]))
    left, right = (np.nonzero(where(picture, [i, 77, 200]).any(0))[0][[0, -1]] for i in (0, 1))
    assert (x.min(), x.max()) == (left[0], right[1])
    assert y.max() - y.min() == left[1] - left[0]


def test_reconstruction_errors_are_means_over_the_event(drawn):
    target = torch.zeros(3, 1, 2, 2)
    output = torch.tensor([0.0, 0.5, 2.0]).reshape(3, 1, 1, 1).expand_as(target)
    plots.reconstructions(target, None, output)
    assert drawn[0].footer == ["0", "0.2500", "4.0000"]
    assert drawn[0].notes == ["Squared error 1.4167 per pixel, mean over 3 images"]


def test_manifold_has_z1_to_the_right_and_z2_upwards():
    side = 5
    picture = plots.manifold(palette(side, side), torch.linspace(-2, 2, side), "note")
    expected = [[side - 1 - i, j] for i in range(side) for j in range(side)]
    assert places(picture, side * side).tolist() == expected


def test_manifold_labels_each_axis_with_its_own_values(drawn):
    axes = torch.tensor([[-1.0, 0.0, 1.0], [-0.004, 10.0, 20.25]])
    plots.manifold(palette(3, 3), axes, "note")
    assert drawn[0].footer == ["−1", "0", "1"]
    assert drawn[0].row_names == ["20.25", "10", "0"]


@pytest.mark.parametrize("count", [*range(1, 31), 64])
def test_manifold_ticks_are_symmetric_apart_and_reach_both_ends(count):
    ticks = sorted(_ticks(count))
    assert ticks == [count - 1 - tick for tick in reversed(ticks)]
    assert ticks[0] == 0
    assert all(b - a >= -(-count // 10) for a, b in pairwise(ticks))


def test_traversals_keep_rows_and_columns():
    names = [f"z{row}  KL 1.00 nats" for row in range(3)]
    for values in (torch.arange(4.0), torch.rand(3, 4)):
        picture = plots.traversals(palette(3, 4), values, names, "note")
        assert places(picture, 12).tolist() == [[i // 4, i % 4] for i in range(12)]


def test_traversal_values_stand_above_where_rows_agree_else_under_the_images(drawn):
    agreeing = torch.tensor([-1.5, 0.0]).expand(3, 2)
    plots.traversals(palette(3, 2), agreeing, ["a"] * 3, "note")
    plots.traversals(palette(3, 2), agreeing * torch.tensor([[1.0], [2], [3]]), ["a"] * 3, "")
    assert (drawn[0].column_names, drawn[0].captions) == (["−1.5", "0"], [])
    assert drawn[1].captions == [["−1.5", "0"], ["−3", "0"], ["−4.5", "0"]]


def test_what_does_not_fit_is_left_out_and_told(drawn):
    many = torch.rand(40, 31, 1, 28, 28)
    plots.traversals(many, torch.linspace(-3, 3, 31), ["z"] * 40, "note")
    plots.interpolations(many, "note")
    for grid in drawn:
        assert grid.cells.shape[:2] == (12, 16)
        assert "The first 12 of 40" in grid.notes[0]
    assert drawn[0].column_names[::15] == ["−3", "3"]
    assert drawn[1].column_names[::15] == ["t = 0", "1"]


def test_interpolations_frame_their_ends_only():
    picture = plots.interpolations(palette(2, 5), "note")
    assert places(picture, 10).tolist() == [[i // 5, i % 5] for i in range(10)]
    for index in range(10):
        top, bottom, left, right = box(picture, [index, 77, 200])
        ring = [picture[top - 1, left:right], picture[bottom, left:right]]
        ring += [picture[top:bottom, left - 1], picture[top:bottom, right]]
        framed = all((side == rgb(BLUE)).all() for side in ring)
        assert framed == (index % 5 in (0, 4))


@pytest.mark.parametrize("bad", [NAN, float("inf"), -float("inf")])
def test_pixels_that_are_not_finite_are_marked_at_their_place(bad):
    images = palette(4, size=(6, 6)).clone()
    images[2, 1, 4:, :2] = bad
    picture = plots.samples(images, "note")
    found = where(picture, rgb(VERMILLION))
    tile = box(picture, [1, 77, 200])
    side = (tile[1] - tile[0]) // 6
    x, y = box(picture, [0, 77, 200])[2], box(picture, [3, 77, 200])[0]
    marked = found[y : y + 6 * side, x : x + 6 * side]
    assert marked[4 * side :, : 2 * side].all()
    assert marked.sum() == (2 * side) ** 2


def test_a_large_image_shrinks_and_keeps_its_lost_pixel():
    images = torch.full((1, 1, 401, 523), 0.5)
    images[0, 0, 400, 522] = NAN
    picture = plots.samples(images, "note")
    assert max(picture.shape) < 600
    y, x = np.nonzero(where(picture, [128, 128, 128]))
    assert (picture[y.max(), x.max()] == rgb(VERMILLION)).all()


def test_values_outside_the_unit_interval_are_clipped():
    images = torch.tensor([-3.0, 7.0]).reshape(2, 1, 1, 1).expand(2, 1, 4, 4)
    picture = plots.samples(images, "note")
    assert where(picture, [0, 0, 0]).sum() > 1000
    assert not where(picture, rgb(VERMILLION)).any()


def test_other_channel_counts_are_averaged():
    images = torch.tensor([0.0, 1.0]).reshape(1, 2, 1, 1).expand(1, 2, 4, 4)
    assert where(plots.samples(images, "note"), [128, 128, 128]).sum() > 1000


def test_the_callers_tensor_is_left_alone():
    images = torch.tensor([[[[NAN, 2.0], [0.0, -1.0]]]])
    before = images.clone()
    plots.reconstructions(images, images, images)
    assert torch.equal(images.nan_to_num(9), before.nan_to_num(9))


EVENTS = [
    (1, 28, 28),
    (8, 8),
    (3, 32, 32),
    (2, 5, 9),
    (1, 1, 1),
    (1, 3, 90),
    (3, 90, 3),
    (1,),
    (2,),
]


@pytest.mark.parametrize(
    ("event", "fill"),
    [
        *((event, 1.0) for event in (*EVENTS, (40,), (3, 218, 178))),
        *((event, NAN) for event in ((3, 32, 32), (8, 8), (2,))),
    ],
    ids=str,
)
def test_any_event_can_be_drawn(event, fill):
    def make(*leading: int) -> Tensor:
        return torch.full((*leading, *event), fill)

    pictures = [
        plots.reconstructions(make(1), None, make(1)),
        plots.reconstructions(make(3), make(3), make(3), ["a long name", 2, None]),
        plots.samples(make(1), ""),
        plots.samples(make(5), "$x^2$ & a_b"),
        plots.manifold(make(1, 1), torch.zeros(1), ""),
        plots.manifold(make(3, 3), torch.tensor([-1.0, 0.0, 1.0]), "note"),
        plots.traversals(make(1, 1), torch.zeros(1), ["z1"], "note"),
        plots.interpolations(make(2, 1), "note"),
        plots.interpolations(make(2, 3), "note"),
    ]
    for picture in pictures:
        assert is_picture(picture)
        assert 200 < picture.shape[1] <= 1200
        assert np.isnan(fill) == where(picture, rgb(VERMILLION)).any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_any_float_type_and_a_graph_are_accepted(dtype):
    images = torch.rand(4, 1, 8, 8, dtype=dtype).requires_grad_()
    picture = plots.reconstructions(images, images, images * 0.5)
    given = images.detach().float()
    assert np.array_equal(picture, plots.reconstructions(given, given, given * 0.5))


def test_what_does_not_match_is_refused():
    with pytest.raises(ValueError, match="nothing to draw"):
        plots.samples(torch.zeros(0, 1, 8, 8), "note")
    with pytest.raises(ValueError, match="differ"):
        plots.reconstructions(torch.zeros(2, 4), None, torch.zeros(3, 4))
    with pytest.raises(ValueError, match="do not match"):
        plots.manifold(torch.zeros(3, 3, 4), torch.zeros(4), "note")


def test_vectors_share_one_scale_and_break_where_a_value_is_lost():
    vectors = np.array([[0.0, 10.0, 5.0], [5.0, NAN, 10.0]])
    lines, lost = cells_module.polylines(vectors, (48, 72))
    assert lines[0, :, 1].tolist() == [44, 4, 24]
    assert lines[1, [0, 2], 1].tolist() == [24, 4]
    assert np.isnan(lines[1, 1, 1])
    assert lost.tolist() == [[1, 36]]


def test_vectors_are_drawn_in_their_cells():
    vectors = torch.stack([torch.zeros(20), torch.ones(20)])
    picture = plots.samples(vectors, "note")
    y = np.nonzero(where(picture, rgb(BLUE)) | (picture[..., 0] < 60) & (picture[..., 2] > 150))[0]
    assert y.max() - y.min() > 80


HISTORY = {
    "train/loss": [3.0, 2.0, 1.0],
    "val/loss": [3.5, 2.5, 1.5],
    "val/mse": [0.3, 0.2, 0.1],
    "train/kl": [NAN, NAN, NAN],
    "epoch": [1.0, 2.0, 3.0],
}


def test_a_panel_for_every_quantity_that_has_values():
    panels = _panels({"val/mse": [0.1], "train/other": [1.0], **HISTORY, "val/kl": [NAN, 1.0]})
    assert list(panels) == ["mse", "other", "loss", "kl"], "in the order of their first columns"
    assert list(panels["loss"]) == ["train", "val"]
    assert list(panels["kl"]) == ["val"]


def test_learning_curves_fall_from_left_to_right_in_their_colours():
    picture = plots.learning_curves({"train/loss": [9.0, 1.0], "val/loss": [9.5, 8.0]}, [1, 2])
    for colour, drop in ((BLUE, 100), (ORANGE, 10)):
        y, x = np.nonzero(where(picture, rgb(colour)))
        y, x = y[y > 90], x[y > 90]
        assert y[x == x.max()].mean() - y[x == x.min()].mean() > drop
    assert picture.shape[1] >= 440


@pytest.mark.parametrize("epochs", [0, 1, 2, 3])
def test_learning_curves_of_few_epochs(epochs):
    history = {name: values[:epochs] for name, values in HISTORY.items()}
    picture = plots.learning_curves(history, list(range(epochs)))
    assert is_picture(picture)
    assert where(picture, rgb(ORANGE)).any() == (epochs > 0)


def test_learning_curves_survive_what_is_not_finite_constant_or_short():
    history = {
        "train/loss": [NAN, 1.0, float("inf"), 2.0],
        "val/loss": [NAN, NAN, 5.0, NAN],
        "train/learning_rate": [1e-3] * 4,
        "train/kl": [0.0] * 4,
        "val/kl": [1e30],
        **{f"val/extra_{i}": [float(i)] for i in range(20)},
    }
    picture = plots.learning_curves(history, [1, 2, 3, 4])
    loss = picture[115:300, :320]  # the first panel, below its legend
    y, x = np.nonzero(where(loss, rgb(BLUE)))
    assert x.max() - x.min() > 100, "one line from epoch 2 to epoch 4"
    assert y[x == x.min()].mean() > y[x == x.max()].mean() + 20, "from 1 up to 2"
    y, x = np.nonzero(where(loss, rgb(ORANGE)))
    assert 0 < x.max() - x.min() < 12, "a value without neighbours is a dot"
    for row in range(3):
        for column in range(3):
            panel = picture[70 + 262 * row :, 308 * column :][:262, :308]
            colour = BLUE if (row, column) == (0, 1) else ORANGE  # the learning rate has no val
            assert where(panel, rgb(colour)).any(), (row, column)


def test_text_is_measured_shortened_and_wrapped():
    assert text_width("wide words", 12) > text_width("wide", 12) > 0
    short = shorten("a rather long name", 60, 11)
    assert short.endswith("…")
    assert text_width(short, 11) <= 60
    lines = wrap("several words that need more than one line", 100, 12)
    assert " ".join(lines) == "several words that need more than one line"
    assert all(text_width(line, 12) <= 100 for line in lines)


def test_the_same_tensors_give_the_same_bytes():
    images = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    first, second = (plots.samples(images, "note") for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.scale
def test_drawing_needs_no_pyplot_and_importing_needs_no_matplotlib():
    program = """
import sys, numpy, torch, vae_run.plots as figures
assert not any(name.startswith("matplotlib") for name in sys.modules)
figures.samples(torch.rand(4, 1, 8, 8), "note")
figures.learning_curves({"val/loss": [1.0, 2.0]}, [1, 2])
assert "matplotlib" in sys.modules
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_strangest_stand_above_their_reconstructions() -> None:
    images, output = palette(3), palette(6)[3:]
    scores, names = np.array([3.0, 2.0, 1.0]), ["a.png", "b.png", "c.png"]
    picture = plots.strangest(images, output, scores, names, 50, "squared error per pixel")
    places = [box(picture, [index, 77, 200]) for index in range(6)]
    for above, below in zip(places[:3], places[3:], strict=True):
        assert above[2:] == below[2:], "in one column"
        assert above[1] < below[0]
    assert places[0][3] < places[1][2] < places[2][2], "in order"


def test_long_names_are_told_apart_by_what_they_do_not_share() -> None:
    assert _told_apart(["cell_0012.png", "cell_0107.png"]) == (
        ["0012", "0107"], "Each name begins with cell_ and ends with .png"
    )  # fmt: skip
    assert _told_apart(["left_eye.png", "right_eye.jpg"]) == (
        ["left_eye.png", "right_eye.jpg"], ""
    )  # fmt: skip
    assert _told_apart(["0012.png", "0107.png"])[0] == ["0012.png", "0107.png"], "short ones stay"
    assert _told_apart(["cell.v1.png", "cell.v1b.png"])[0] == ["1", "1b"]
    assert _told_apart(["specimen.png", "specimen_b.png"])[0] == ["specimen", "specimen_b"]


def test_the_error_is_the_mean_over_the_images_that_are_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sixteen images of 60 pixels do not fit beside each other."""
    said = list[str]()
    monkeypatch.setattr(Grid, "draw", lambda grid: said.extend(grid.notes))
    images = torch.rand(16, 1, 60, 60)
    plots.reconstructions(images, None, images)
    assert said == ["Squared error 0 per pixel, mean over 15 images"]


def test_equal_quantities_are_one_panel(axes):
    history = {f"{s}/{name}": [3.0, 2.0, NAN] for name in ("loss", "reconstruction") for s in "ab"}
    plots.learning_curves({**history, "a/mse": [1.0, 0.5, 0.2]}, [1, 2, 3])
    assert len(axes) == 2
    panels = _panels({**history, "a/mse": [3.0, 2.0, NAN]})
    assert list(joined(panels)) == ["loss = reconstruction", "mse"], "mse has other splits"


def test_values_of_many_magnitudes_are_on_a_logarithmic_axis(axes):
    falling = [10.0**-step for step in range(5)]
    plots.learning_curves({"val/kl": falling, "val/loss": [9.0, 5.0, 4.0, 3.0, 2.0]}, range(5))
    assert [each.get_yscale() for each in axes] == ["log", "linear"]
    axes.clear()
    plots.learning_curves({"val/kl": [0.0, *falling[1:]]}, range(5))
    assert axes[0].get_yscale() == "linear", "0 has no place on it"


def test_four_panels_leave_no_hole(axes):
    names = ("a", "b", "c", "d")
    plots.learning_curves({f"val/{n}": [float(i), 2.0] for i, n in enumerate(names)}, [1, 2])
    assert len({round(each.get_position().x0, 3) for each in axes}) == 2
    assert len({round(each.get_position().y0, 3) for each in axes}) == 2


def test_intervals_of_a_sweep_stand_around_the_means(axes):
    line = Line("", "test", [1.0, 1.0, 2.0], [3.0, 5.0, 7.0], {1.0: 0.5})
    plots.sweep_curves({"mse": [line]}, "key", title="Sweep")
    bars = [each for each in axes[0].collections if hasattr(each, "get_segments")]
    ends = np.concatenate([np.array(s) for each in bars for s in each.get_segments() if len(s)])
    assert ends[np.isfinite(ends).all(1)].tolist() == [[1.0, 3.5], [1.0, 4.5]]


def test_planes_of_classes_have_z0_to_the_right_and_z1_upwards(drawn):
    planes = palette(2, 3, 3)
    plots.manifolds(planes, torch.linspace(-1, 1, 3).expand(2, 3), ["a", "b"], "note")
    (grid,) = drawn
    assert grid.captions == [["a", "b"]]
    corner = grid.cells.reshape(2, 14, 14, 3)[:, ::5, ::5, 0] * 255
    assert corner.round().astype(int)[0].tolist() == [[6, 7, 8], [3, 4, 5], [0, 1, 2]]
    assert corner.round().astype(int)[1, 2].tolist() == [9, 10, 11]
    for count, columns in ((10, 5), (12, 4), (2, 2), (1, 1)):
        assert _fewest_holes(count) == columns


def test_bars_that_are_far_wider_than_the_values_are_cut(axes):
    line = Line("", "test", [1.0, 1.0, 2.0, 2.0], [3.0, 5.0, 7.0, 6.0], {1.0: 90.0, 2.0: 0.1})
    plots.sweep_curves({"mse": [line]}, "key", title="Sweep")
    assert axes[0].get_ylim() == (1.0, 9.0), "half of the range of the values on either side"
    axes.clear()
    points = [plots.Point("a", 1.0, 10.0, 50.0, 50.0), plots.Point("b", 3.0, 20.0)]
    plots.frontier({"": points}, ["note"])
    assert axes[0].get_ylim() == (5.0, 25.0)
