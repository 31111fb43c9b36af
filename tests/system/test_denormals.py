"""Denormal numbers are zero in all threads that torch computes with, wherever it trains."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import denormal_numbers
import pytest
import torch
from denormal_numbers import left

import vae_run as api
from vae_run.api.session import session
from vae_run.sweeps.executors.process_pool import Job, Pool
from vae_run.sweeps.executors.worker import WorkerEnvironment
from vae_run.system.denormals import denormals_flushed, flushed
from vae_run.tasks import check

if TYPE_CHECKING:
    from conftest import Run, Train

pytestmark = pytest.mark.skipif(
    not torch.set_flush_denormal(False), reason="the processor cannot flush denormal numbers"
)

NONE, ALL = (0.0, 0.0), (1.0, 1.0)


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    """Two threads that have computed together before, as in a notebook."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    assert left() == ALL
    yield
    assert left() == ALL, "nothing stays changed"
    torch.set_num_threads(before)


def test_every_thread_flushes_inside_and_none_afterwards() -> None:
    with denormals_flushed():
        assert left() == NONE
        assert flushed()
        with denormals_flushed():
            assert left() == NONE
        assert left() == NONE
    assert not flushed()


def test_one_thread_that_does_not_flush_is_seen() -> None:
    torch.set_flush_denormal(True)  # the calling thread alone: the other one has its own setting
    try:
        assert left() == (0.5, 0.5)
        assert not flushed()
        with denormals_flushed():
            assert left() == NONE
    finally:
        torch.set_flush_denormal(False)
        with denormals_flushed():  # makes the threads anew, without the setting
            pass


def test_what_was_computed_before_and_in_other_threads_is_the_users() -> None:
    found: list[tuple[float, float]] = []
    begun, done = threading.Event(), threading.Event()

    def other() -> None:
        left()
        begun.set()
        done.wait()
        found.append(left())

    thread = threading.Thread(target=other)
    thread.start()
    begun.wait()
    with denormals_flushed():
        done.set()
        thread.join()
    assert found == [ALL]


def test_a_call_from_python_flushes_for_its_own_time() -> None:
    with session():
        assert left() == NONE


def test_a_loaded_model_changes_nothing_of_the_users(train: Train, tmp_path: Path) -> None:
    run = train(tmp_path / "run", "evaluation.figures=[]", "trainer.steps=2")
    about = json.loads((run / "environment.json").read_text(encoding="utf-8"))
    assert about["denormals_flushed"] is True
    model = api.load(run)
    model.reconstruct(torch.zeros(2, 1, 8, 8))
    assert left() == ALL


def test_a_task_of_the_shell_flushes(vae_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    monkeypatch.setattr(check, "main", lambda call: found.append(left()))
    assert vae_run("task=check").code == 0
    assert found == [NONE]


def test_a_job_of_a_sweep_flushes(tmp_path: Path) -> None:
    made = Job("job", denormal_numbers.job, WorkerEnvironment(tmp_path / "log", threads=2))
    codes: list[int] = []
    Pool(1).run(iter([lambda slot: made]), lambda job, end: codes.append(end.exit_code))
    assert codes == [2]
