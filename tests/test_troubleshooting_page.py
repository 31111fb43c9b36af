"""docs/troubleshooting.md lists every exit code and every state, and no other."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from pages import DOCS, PAGES, text

from vae_run import errors
from vae_run.runs.status import ended
from vae_run.sweeps.ledger import TO_DO
from vae_run.sweeps.scheduler import STATES
from vae_run.system.signals import StopRequests

PAGE = text(DOCS / "troubleshooting.md")


def rows(heading: str) -> dict[str, list[str]]:
    """The rows of the table below a heading, by their first cell."""
    section = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    table = [line for line in section.splitlines() if line.startswith("|")][2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    return {row[0].strip("`"): row[1:] for row in cells}


def kinds() -> list[type[errors.RunError]]:
    found, todo = [], [errors.RunError]
    while todo:
        kind = todo.pop()
        found.append(kind)
        todo += [sub for sub in kind.__subclasses__() if sub.__module__ == errors.__name__]
    return found


def test_every_exit_code() -> None:
    of_errors = {kind.exit_code for kind in kinds()}
    of_signals = {
        errors.Interrupted("", number).exit_code: signal.Signals(number).name
        for number in StopRequests.HANDLED
    }
    told = rows("Exit codes")
    assert {int(code) for code in told} == {0, 2} | of_errors | set(of_signals)
    for code, name in of_signals.items():
        assert name in told[str(code)][0], "the signal of the code"


def test_every_state() -> None:
    of_runs = {"running", "completed"}
    for kind in kinds():
        error = kind("", signal.SIGTERM) if kind is errors.Interrupted else kind("")
        of_runs.add(ended(error)[0])
    told = rows("States")
    assert {state for state, row in told.items() if "runs" in row[0]} == of_runs
    assert set(told) == of_runs | {*TO_DO, *STATES.values()}


def test_every_row_says_what_to_do() -> None:
    for heading in ("Exit codes", "States"):
        assert all(row[-1] and row[-2] for row in rows(heading).values())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_there_is_one_list(page: Path) -> None:
    lists = [line for line in text(page).splitlines() if line.startswith(("| 130 |", "| 143 |"))]
    assert not lists or page.name == "troubleshooting.md"
