"""Which folder an evaluation gets: never that of an evaluation of other data."""

from __future__ import annotations

from pathlib import Path

import pytest
from parts import composed

from vae_run.config.check import check
from vae_run.config.invocation import Call
from vae_run.runs.run_directory import RunDirectory
from vae_run.tasks.evaluation_place import evaluation_place, folder_name, write_data

FIRST, SECOND = "1" * 64, "2" * 64


def call(*words: str) -> Call:
    """`task=evaluate` of these words, in a run on a file of arrays."""
    settings = check(composed("task=evaluate", "run=r", "dataset=arrays", "dataset.path=t.npz"))
    return Call(settings, Path(), words, {})


def test_the_same_words_for_other_data_have_a_folder_of_their_own(tmp_path: Path) -> None:
    run, typed = RunDirectory(tmp_path), call("dataset.path=test.npz")
    place = tmp_path / "evaluations" / "dataset.path=test.npz"
    assert evaluation_place(run, typed, FIRST) == place
    place.mkdir(parents=True)
    assert evaluation_place(run, typed, SECOND) == place, "one that failed has left no metrics"
    write_data(place, FIRST)
    (place / "metrics.json").write_text("{}")
    assert evaluation_place(run, typed, FIRST) == place, "the same again"
    other = place.with_name("dataset.path=test.npz,data-22222222")
    assert evaluation_place(run, typed, SECOND) == other
    (place / "environment.json").unlink()  # as earlier versions left it
    assert evaluation_place(run, typed, SECOND) == other


def test_the_runs_own_data_need_no_fingerprint(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert evaluation_place(run, call("dataset.path=test.npz"), None) == tmp_path
    place = tmp_path / "evaluations" / "corruption=masking"
    place.mkdir(parents=True)
    write_data(place, None)
    assert list(place.iterdir()) == []
    (place / "metrics.json").write_text("{}")
    assert evaluation_place(run, call("corruption=masking"), None) == place
    assert evaluation_place(run, call(), FIRST).name == "data-11111111"


@pytest.mark.parametrize("letter", ["a", "猫", "é"])
def test_a_long_name_fits_a_file_system_and_is_told_from_others(letter: str) -> None:
    names = [
        folder_name([f"dataset.path={letter * 130}{end}", *last])
        for end in ("x", "y")
        for last in ([], ["last"])
    ]
    assert len(set(names)) == 4
    assert all(len(name.encode()) <= 120 for name in names)
    assert all(name.startswith(f"dataset.path={letter * 20}") for name in names)
    assert folder_name(["corruption=masking", "last"]) == "corruption=masking,last"
