"""Pictures as files: formats, dots per inch, what stands beside a PNG, and plain mosaics."""

from __future__ import annotations

import io
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

from vae_run import plots
from vae_run.plots.files import content


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    images = torch.arange(32.0).reshape(2, 1, 4, 4) / 32
    return plots.reconstructions(images, None, images, ["a", "b"])


def opened(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def test_a_png_has_the_pixels_of_the_picture(picture: np.ndarray) -> None:
    assert np.array_equal(opened(content(picture)), picture)


def test_more_dots_per_inch_are_the_same_picture_with_more_pixels(picture: np.ndarray) -> None:
    data = content(picture, "png", 144)
    large = opened(data)
    assert large.shape == (2 * picture.shape[0], 2 * picture.shape[1], 3)
    assert Image.open(io.BytesIO(data)).info["dpi"][0] == pytest.approx(144, rel=1e-3)
    # The cells are the same squares, each pixel of them twice as wide and as high.
    y, x = np.nonzero((picture == picture[..., :1]).all(-1) & (picture[..., 0] == 0))
    assert len(y) > 100
    assert (large[2 * y, 2 * x] == 0).all()
    reduced = large.reshape(picture.shape[0], 2, picture.shape[1], 2, 3).mean((1, 3))
    assert np.abs(reduced - picture).mean() < 4, "words and lines are at their places"
    assert np.array_equal(opened(content(picture)), picture), "the page is as it was"


def test_vector_formats_hold_outlines_and_are_the_same_every_time(picture: np.ndarray) -> None:
    svg = content(picture, "svg")
    root = ElementTree.fromstring(svg)
    width, height = (float(root.attrib[side].removesuffix("pt")) for side in ("width", "height"))
    assert (round(width), round(height)) == picture.shape[1::-1]
    assert svg.count(b"<path") > 10, "letters are outlines"
    assert content(picture, "pdf").startswith(b"%PDF-")
    for each in ("svg", "pdf"):
        assert content(picture, each) == content(picture, each)


def test_plain_pixels_are_embedded(picture: np.ndarray) -> None:
    part = picture[:40, :50]
    assert np.array_equal(opened(content(part, "png", 300)), part)
    root = ElementTree.fromstring(content(part, "svg"))
    assert root.find(".//{http://www.w3.org/2000/svg}image") is not None


def test_a_png_is_always_there_and_what_is_old_goes(picture: np.ndarray, tmp_path: Path) -> None:
    plots.write_pictures(tmp_path, {"x": picture, "y": picture}, "svg")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["x.png", "x.svg", "y.png", "y.svg"]
    written = plots.write_pictures(tmp_path, {"x": picture, "y": None}, "pdf")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["x.pdf", "x.png"]
    assert sorted(written) == [tmp_path / "x.pdf", tmp_path / "x.png"]
    plots.write_pictures(tmp_path, {"x": picture})
    assert [file.name for file in tmp_path.iterdir()] == ["x.png"]


def test_a_mosaic_is_the_pixels_and_nothing_else() -> None:
    images = torch.arange(6.0).reshape(2, 3, 1, 1, 1).expand(2, 3, 1, 8, 8) / 10
    found = plots.mosaic(images)
    assert found.shape == (2 * 33 - 1, 3 * 33 - 1, 3)
    for row in range(2):
        for column in range(3):
            cell = found[33 * row : 33 * row + 32, 33 * column : 33 * column + 32]
            assert (cell == round((3 * row + column) * 25.5)).all()
    assert (found[32] == 255).all()


@pytest.mark.parametrize(("size", "columns"), [(8, 16), (64, 14), (128, 7), (300, 16)])
def test_images_are_as_large_as_they_are_and_all_classes_are_there(
    size: int, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    grids: list[plots.grid.Grid] = []
    monkeypatch.setattr(plots.grid.Grid, "draw", lambda grid: grids.append(grid))
    images, names = torch.zeros(16, 1, size, size), [f"class {i % 10}" for i in range(16)]
    plots.reconstructions(images, None, images, names)
    (grid,) = grids
    said = [*grid.column_names, *(text for row in grid.captions for text in row)]
    assert {f"class {i}" for i in range(10)} <= set(said)
    if size in (64, 128):
        layout = plots.grid._Layout(grid)
        assert layout.tile == (size, size)
        assert grid.cells.shape[1] == columns
