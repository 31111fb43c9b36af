"""`docs/reliability.md` names tests that exist, and no test of faults is left out of it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"


def test_every_promise_names_a_test_that_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE.read_text(encoding="utf-8"))
    assert len(named) > 25
    for file, test in named:
        text = (ROOT / file).read_text(encoding="utf-8")
        assert re.search(rf"^def {test}\(", text, re.MULTILINE), f"{file}::{test}"


def test_every_file_of_tests_is_named() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for file in (ROOT / "tests" / "faults").glob("test_*.py"):
        assert file.name in page, file


def test_what_the_page_says_of_the_program_is_so() -> None:
    from vae_run.errors import CheckpointError, DivergedError
    from vae_run.system.signals import StopRequests

    page = PAGE.read_text(encoding="utf-8")
    for number in StopRequests.HANDLED:
        assert f"{number.name} {128 + number}" in page
    assert f"exit {CheckpointError.exit_code}" in page
    assert f"exit {DivergedError.exit_code}" in page
