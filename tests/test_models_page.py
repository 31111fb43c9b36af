"""docs/models.md: a row and a command that composes for every preset, and every option."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from parts import composed, options

from vae_run.config.check import check

PAGE = (Path(__file__).parents[1] / "docs" / "models.md").read_text(encoding="utf-8")
ROWS = {
    row[0].strip("` "): row
    for line in PAGE[PAGE.index("| preset |") :].split("\n\n", 1)[0].splitlines()[2:]
    if (row := [cell.strip() for cell in line.strip("|").split("|")])
}


def test_every_preset_has_a_row() -> None:
    assert sorted(ROWS) == options("model")
    assert all(len(row) == 5 and all(row) for row in ROWS.values())


@pytest.mark.parametrize("preset", sorted(ROWS))
def test_the_row_tells_the_parts_and_its_command_composes(preset: str) -> None:
    _, parts, paper, _, command = ROWS[preset]
    program, *words = shlex.split(command.strip("`"))
    assert program == "vae-run"
    assert f"model={preset}" in words or (preset == "vae" and not words)
    assert re.search(r"\d{4}$", paper), "a paper has a year"
    settings = check(composed(*words))
    chosen = {group: composed(f"model={preset}")[group]["_target_"] for group in settings.classes}
    named, _, others = parts.partition(";")
    told = dict(zip(("posterior", "prior", "objective"), named.split(", "), strict=True))
    told |= dict(pair.split(" ") for pair in others.strip().split(", ") if pair)
    for group, option in told.items():
        expected = composed(f"{group}={option}")[group]["_target_"]
        assert chosen[group] == expected, group
    plain = composed("model=vae")
    differing = {g for g, target in chosen.items() if target != plain[g]["_target_"]}
    assert differing <= set(told), "a part that the preset chooses is not told"


@pytest.mark.parametrize("group", ["posterior", "prior", "objective", "likelihood", "corruption"])
def test_every_option_is_told(group: str) -> None:
    missing = [o for o in options(group) if o != "none" and f"| `{o}` |" not in PAGE]
    assert missing == [], group
