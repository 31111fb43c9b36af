"""docs/pictures.py: its commands are those of the pages, and it knows every picture of the docs."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_pictures", ROOT / "docs" / "pictures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def commands() -> list[list[str]]:
    """The words of every command of the pages, in blocks of code and in running text."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES).replace("\\\n", " ")
    lines = re.findall(r"^vae-run (.*)$", text, re.MULTILINE) + re.findall(
        r"`vae-run ([^`]*)`", text
    )
    return [shlex.split(line, comments=True) for line in lines if line.count("'") % 2 == 0]


def test_every_command_is_one_of_the_pages(script: ModuleType) -> None:
    written = commands()
    for words in script.COMMANDS:
        assert shlex.split(words) in written, words


def test_every_picture_of_the_docs_is_made_and_shown(script: ModuleType) -> None:
    made = [name for drawn in script.COMMANDS.values() for name in drawn]
    made += [f"{name}.png" for name in script.screenshots.SIZES]
    assert sorted(made) == sorted(file.name for file in (ROOT / "docs" / "images").iterdir())
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    shown = {Path(name).name for name in re.findall(r"!\[[^\]]*\]\(([^)]*images/[^)]+)\)", text)}
    assert shown == set(made)
