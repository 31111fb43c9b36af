"""A page from a template: everything escaped, pictures inside, numbers written for people."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vae_run.plots import SCREEN

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **values: Any) -> str:
    """The page `template` with `values`; what is not named in them is an error."""
    return _environment().get_template(template).render(**values)


def compile_template(template: str) -> None:
    """Compile what `render` of `template` needs, for this process and those forked from it."""
    _environment().get_template(template)


@cache
def _environment() -> Environment:
    """The one environment of all pages, which compiles each template once."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def data_uri(picture: bytes, kind: str = "png") -> str:
    """A PNG or, of the kind "svg+xml", an SVG as an address that holds it."""
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


@dataclass(frozen=True)
class Picture:
    """A picture, its size in pixels of the page, and whether it takes the page's whole width."""

    name: str
    caption: str
    source: str
    width: int
    height: int

    @property
    def wide(self) -> bool:
        return self.width > 1.25 * self.height


def pictures(
    folder: Path, captions: Mapping[str, str], only: str = "", without: str = ""
) -> list[Picture]:
    """The pictures of `folder`, those with captions first; all, or one, or all but one.

    There is a PNG of each. Where there is an SVG beside it, that is shown. Pictures of more dots
    per inch are shown as large as all others.
    """
    order = {name: place for place, name in enumerate(captions)}
    files = sorted(folder.glob("*.png"), key=lambda f: (order.get(f.stem, len(order)), f.stem))
    found = []
    for file in files:
        if file.stem != without and only in ("", file.stem):
            name, caption = file.stem.replace("_", " "), captions.get(file.stem, "")
            found.append(Picture(name, caption, _source(file), *_size(file)))
    # Wide ones first: between columns of narrow ones they would leave holes.
    return sorted(found, key=lambda picture: not picture.wide)


def _source(png: Path) -> str:
    """The picture as an address: the SVG beside `png` where there is one."""
    svg = png.with_suffix(".svg")
    return data_uri(svg.read_bytes(), "svg+xml") if svg.is_file() else data_uri(png.read_bytes())


def _size(png: Path) -> tuple[int, int]:
    """Width and height on the page, in its pixels: a dot of 72 an inch is one."""
    from PIL import Image

    with Image.open(png) as picture:
        dpi = float(picture.info.get("dpi", (SCREEN, SCREEN))[0])
        return round(picture.width * SCREEN / dpi), round(picture.height * SCREEN / dpi)
