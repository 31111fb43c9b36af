"""A page from a template: everything escaped, pictures inside, numbers written for people."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **values: Any) -> str:
    """The page `template` with `values`; what is not named in them is an error."""
    return _environment().get_template(template).render(**values)


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


def data_uri(picture: bytes) -> str:
    """A PNG as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"


@dataclass(frozen=True)
class Picture:
    """A PNG to be shown, its size in pixels, and whether it takes the page's whole width."""

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
    """The PNGs of `folder`, those with captions first; all, or one, or all but one."""
    order = {name: place for place, name in enumerate(captions)}
    files = sorted(folder.glob("*.png"), key=lambda f: (order.get(f.stem, len(order)), f.stem))
    found = []
    for file in files:
        if file.stem != without and only in ("", file.stem):
            content = file.read_bytes()
            size = struct.unpack(">II", content[16:24])  # of the header that begins every PNG
            name, caption = file.stem.replace("_", " "), captions.get(file.stem, "")
            found.append(Picture(name, caption, data_uri(content), *size))
    return found
