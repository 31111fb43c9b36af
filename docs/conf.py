"""Sphinx builds the site of the documentation from the pages beside this file: `make docs`."""

from __future__ import annotations

import re
from itertools import zip_longest
from typing import TYPE_CHECKING

from docutils.nodes import SkipNode
from latex2mathml.converter import convert

import vae_run

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx
    from sphinx.writers.html5 import HTML5Translator

project = "vae-run"
author = copyright = "vae-run contributors"
release = vae_run.__version__

extensions = [
    "myst_nb",  # pages in Markdown, and notebooks with the pictures that they were saved with
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["images/*.md"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4  # as GitHub makes them, so that a link works in both places
nb_execution_mode = "off"

autodoc_typehints = "description"
autodoc_member_order = "bysource"

html_theme = "furo"
html_title = f"vae-run {release}"
html_show_sourcelink = False
html_show_copyright = False
html_math_renderer = "mathml"
html_static_path = ["site.css"]
html_css_files = ["site.css"]


def _formula(latex: str, display: str) -> str:
    return str(convert(latex, display=display))


def _inline(page: HTML5Translator, node: nodes.math) -> None:
    page.body.append(_formula(node.astext(), "inline"))
    raise SkipNode


def _block(page: HTML5Translator, node: nodes.math_block) -> None:
    page.body.append(f'<div class="formula">{_formula(node.astext(), "block")}</div>')
    raise SkipNode


def _as_rst(
    app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]
) -> None:
    """Docstrings are plain text with `code`: what reStructuredText takes for markup is escaped."""
    for number, line in enumerate(lines):
        if line.startswith((":", "..")):  # written by napoleon
            field, colon, rest = line[1:].partition(": ") if line[0] == ":" else ("", "", line)
            lines[number] = f":{field}{colon}{_escaped(rest)}" if field else line
        else:
            lines[number] = _escaped(line)


def _escaped(line: str) -> str:
    parts = re.split(r"(`+[^`]+`+)", line)
    text = [re.sub(r"([*|]|_(?!\w))", r"\\\1", part) for part in parts[::2]]
    code = [f"``{part.strip('`')}``" for part in parts[1::2]]
    return "".join(word for pair in zip_longest(text, code, fillvalue="") for word in pair)


def setup(app: Sphinx) -> None:
    """Formulas are MathML, which browsers draw themselves: a page fetches nothing from outside.

    The names that `vae_run` imports when they are first used are made ordinary attributes, since
    autodoc looks only for those.
    """
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.connect("autodoc-process-docstring", _as_rst, priority=900)
    for name in vae_run.__all__:
        setattr(vae_run, name, getattr(vae_run, name))
