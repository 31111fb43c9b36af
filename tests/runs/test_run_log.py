"""The warnings that a run records, and what a report reads of them."""

from __future__ import annotations

import json
import logging
from contextvars import copy_context
from pathlib import Path

import pytest

from vae_run.runs.run_log import MOST, logged, read_recorded, read_warnings
from vae_run.system.console import NOTE

log = logging.getLogger("vae_run")


def test_warnings_are_recorded_once_and_survive_a_resume(tmp_path: Path) -> None:
    with logged(tmp_path):
        log.warning("the %s is large", "loss")
        log.info("nothing to worry about")
        log.error("it failed")
        log.log(NOTE, "no GPU is used")
        log.warning("the loss is large")
    log.warning("of no run")
    with logged(tmp_path):  # the run is resumed
        log.warning("the loss is large")
        log.warning("two\nlines")
    said = ["the loss is large", "no GPU is used", "two\nlines"]
    assert read_warnings(tmp_path) == said
    levels = ["warning", "note", "warning"]
    assert read_recorded(tmp_path) == list(zip(said, levels, strict=True))
    lines = (tmp_path / "warnings.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line).keys() for line in lines] == [{"time", "level", "message"}] * 3


def test_no_more_than_so_many_are_recorded(tmp_path: Path) -> None:
    for start in (0, 60):
        with logged(tmp_path):
            for number in range(start, start + 60):
                log.warning("skipped step %d", number)
    assert read_warnings(tmp_path) == [f"skipped step {number}" for number in range(MOST)]


def test_runs_in_one_process_keep_their_own(tmp_path: Path) -> None:
    """A sweep trains several at once, each in a context."""
    places = [tmp_path / "a", tmp_path / "b"]
    contexts, open_logs = [copy_context() for _ in places], []
    for place, context in zip(places, contexts, strict=True):
        place.mkdir()
        manager = logged(place)
        context.run(manager.__enter__)
        open_logs.append(manager)
    for place, context in zip(places, contexts, strict=True):
        context.run(log.warning, "of %s", place.name)
    for manager, context in zip(open_logs, contexts, strict=True):
        context.run(manager.__exit__, None, None, None)
    assert [read_warnings(place) for place in places] == [["of a"], ["of b"]]


def test_a_folder_that_cannot_be_written_only_loses_the_record(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "warnings.jsonl").mkdir()
    with logged(tmp_path):
        log.warning("still said")
        log.warning("and more")
    assert [record.message for record in caplog.records] == ["still said", "and more"]
    assert "still said" in (tmp_path / "train.log").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "damage", ["{", "3", "[]", '{"message": 3}', '{"text": "x"}', "\x00", "[" * 9999]
)
def test_damaged_lines_are_left_out(damage: str, tmp_path: Path) -> None:
    good = json.dumps({"message": "good"})
    (tmp_path / "warnings.jsonl").write_text(f"{damage}\n{good}\n{damage}", encoding="utf-8")
    assert read_recorded(tmp_path) == [("good", "warning")]
    assert read_warnings(tmp_path / "nowhere") == []
