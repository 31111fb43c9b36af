"""Where the options of a group are looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from vae_run.config.options import folders

CONF, OWN = Path("conf"), Path("mine")


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ([], [CONF]),
        (["model=vae"], [CONF]),
        (["--config-dir", "mine"], [CONF, OWN]),
        (["-cd", "mine", "model=vae"], [CONF, OWN]),
        (["model=vae", "--config-dir=mine"], [CONF, OWN]),
    ],
)
def test_the_folders_that_a_command_line_names(arguments: list[str], found: list[Path]) -> None:
    assert folders(CONF, arguments) == found
