"""The pages of the documentation, and what they tell a reader to type, follow and open."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
PROGRAMS = ("vae-run", "pip", "torchrun", "ray", "python", "make", "docker", "tensorboard", "cd")
"""What an indented line of a page begins with when it is a command."""


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text(page), re.M | re.S)


def without_code(page: Path) -> str:
    """A page without its blocks and spans of code, whose brackets are no links."""
    prose = re.sub(r"^```.*?^```", "", text(page), flags=re.M | re.S)
    prose = re.sub(r"^ {4}.*$", "", prose, flags=re.M)
    return re.sub(r"`[^`\n]*`", "", prose)


def commands(page: Path) -> list[str]:
    """Every command of a page once: of bash blocks, indented blocks, and of spans `vae-run ...`.

    tests/test_models_page.py checks those of the table of presets.
    """
    written = text(page)
    indented = [
        line.strip()
        for line in re.sub(r"\\\n\s*", " ", written).splitlines()
        if line.startswith("    ") and line.split()[:1] and line.split()[0] in PROGRAMS
    ]
    fenced = [
        line.strip()
        for block in blocks(page, "bash")
        for line in block.replace("\\\n", " ").splitlines()
    ]
    prose = re.sub(r"^```.*?^```", "", written, flags=re.M | re.S)
    prose = re.sub(r"^\| preset \|.*?^$", "", prose, flags=re.M | re.S)
    spans = [" ".join(span.split()) for span in re.findall(r"`(vae-run [^`]+)`", prose)]
    found = [line for line in (*fenced, *indented, *spans) if shlex.split(line, comments=True)]
    return list(dict.fromkeys(found))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text(page), flags=re.M | re.S), re.M
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> list[str]:
    """The targets of a page's links and pictures, those of other sites left out."""
    found = re.findall(r"\]\(([^)\s]+)\)", without_code(page))
    return [target for target in found if not re.match(r"\w+:", target)]
