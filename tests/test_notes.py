"""docs/notes.md: every command composes into what the program accepts, every picture is there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig
from PIL import Image

from vae_run.cli import main
from vae_run.config.check import check

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


COMMANDS = commands(PAGE)


def composed(words: list[str]) -> DictConfig:
    return compose("config", words, return_hydra_config=True)


def jobs(words: list[str]) -> list[list[str]]:
    """The overrides of the command, or of each job where it is a sweep (-m)."""
    if words[0] != "-m":
        return [words]
    parser = OverridesParser.create()
    single = [word for word in words[1:] if not parser.parse_override(word).is_sweep_override()]
    own = composed(single).hydra.sweeper.params or {}
    typed = parser.parse_overrides(
        [*(f"{key}={values}" for key, values in own.items()), *words[1:]]
    )
    (batch,) = BasicSweeper.split_arguments(typed, max_batch_size=None)
    return [list(overrides) for overrides in batch]


@pytest.fixture(scope="module")
def conf() -> Iterator[None]:
    main.register_resolvers()
    with initialize_config_dir(str(main.CONF), version_base="1.3"):
        yield


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_command_composes(words: list[str], conf: None) -> None:
    found = jobs(words)
    assert (len(found) > 1) == (words[0] == "-m")
    for overrides in (found[0], found[-1])[: len(found)]:
        check(main.plain(composed(overrides)))


def test_a_wrong_command_would_be_found(conf: None) -> None:
    with pytest.raises(Exception, match="latent_dmi"):
        composed(["latent_dmi=2"])
    words = [["model=ae", "latent_dim=2"], ["model=ae", "latent_dim=4"]]
    assert jobs(["-m", "model=ae", "latent_dim=2,4"]) == words


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
