"""The pictures of a page: which file is shown, how large, and in which order."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np

from vae_run import plots
from vae_run.reports.page import pictures, render


def test_the_svg_is_shown_where_there_is_one_and_the_size_stays(tmp_path: Path) -> None:
    wide = plots.kl_bars([1.0, 2.0], [True, False], ["note"])
    tall = np.zeros((300, 200, 3), np.uint8)
    plots.write_pictures(tmp_path, {"a": tall, "b": wide}, "svg", 144)
    plots.write_pictures(tmp_path, {"c": wide}, "png", 144)
    found = {picture.name: picture for picture in pictures(tmp_path, {"a": "words"})}
    for name, picture in (("a", tall), ("b", wide), ("c", wide)):
        assert (found[name].width, found[name].height) == picture.shape[1::-1]
    kind, _, data = found["b"].source.partition(",")
    assert kind == "data:image/svg+xml;base64"
    assert base64.b64decode(data) == (tmp_path / "b.svg").read_bytes()
    assert found["c"].source.startswith("data:image/png;base64,")
    assert list(found) == ["b", "c", "a"], "wide ones first, so that narrow ones leave no holes"


def test_a_single_narrow_picture_leaves_no_hole_beside_it(tmp_path: Path) -> None:
    wide, tall = np.zeros((100, 300, 3), np.uint8), np.zeros((300, 200, 3), np.uint8)
    for tall_ones, whole in ((1, 2), (2, 1)):
        plots.write_pictures(tmp_path, {"w": wide} | {str(i): tall for i in range(tall_ones)})
        page = render("gallery.html", pictures=pictures(tmp_path, {}))
        assert page.count('<figure class="wide">') == whole
        assert page.count("<figure") == 1 + tall_ones
