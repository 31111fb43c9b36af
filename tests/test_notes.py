"""docs/notes.md: every section has a command and a picture that is there.

tests/test_docs_commands.py checks the commands (make test-scale).
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "notes.md").read_text(encoding="utf-8")
SECTIONS = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
SHORT = 160_000
"""Bytes that a picture of the page may have."""


def commands(text: str) -> list[list[str]]:
    """The words of every command in the bash blocks of `text`, without `vae-run`."""
    blocks = re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    found = [words for line in lines if (words := shlex.split(line, comments=True))]
    assert all(words[0] == "vae-run" for words in found), found
    return [words[1:] for words in found]


def pictures(text: str) -> list[Path]:
    return [DOCS / name for name in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)]


@pytest.mark.parametrize("section", SECTIONS, ids=lambda text: text.split("\n", 1)[0])
def test_section_has_a_command_and_a_picture_that_exists(section: str) -> None:
    if section.startswith("Errata"):
        return
    assert commands(section)
    assert pictures(section)


@pytest.mark.parametrize("file", pictures(PAGE), ids=lambda file: file.name)
def test_picture_is_there_and_light(file: Path) -> None:
    assert file.stat().st_size < SHORT
    with Image.open(file) as picture:
        picture.verify()
