"""How jobs end: what a pool says of real processes, and what the ledger makes of it."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from vae_run.sweeps.executors.job_end import Cause, ErrorReport, JobEnd
from vae_run.sweeps.executors.process_pool import Job, Pool
from vae_run.sweeps.executors.worker import WorkerEnvironment, report
from vae_run.sweeps.scheduler import state_after
from vae_run.training.compile import jobs_alike


def reports_an_error() -> int:
    print("error: this is in the log alone", flush=True)
    report(ErrorReport("the reason"))
    return 3


def is_killed() -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def hangs() -> int:
    time.sleep(600)
    return 0


def completes() -> int:
    return 0


def tells_how_many_are_alike() -> int:
    return jobs_alike() if "ALIKE" not in " ".join(os.environ) else -1


def run(tmp_path, calls, tick=lambda running: None, **settings):
    """How processes that do `calls` ended, by name."""
    ends = {}
    jobs = (
        lambda slot, call=call: Job(
            call.__name__, call, WorkerEnvironment(tmp_path / f"{call.__name__}.log", 1, alike=5)
        )
        for call in calls
    )
    pool = Pool(len(calls), **settings)
    assert pool.run(jobs, lambda job, end: ends.update({job.key: end}), tick) is None
    return ends


def test_a_pool_says_why_each_process_ended(tmp_path):
    calls = (reports_an_error, is_killed, completes, tells_how_many_are_alike)
    ends = run(tmp_path, calls)
    found = {name: (end.cause, end.exit_code, end.message) for name, end in ends.items()}
    assert found == {
        "reports_an_error": (Cause.EXITED, 3, "the reason"),
        "is_killed": (Cause.KILLED, -signal.SIGKILL, "killed by SIGKILL"),
        "completes": (Cause.EXITED, 0, ""),
        "tells_how_many_are_alike": (Cause.EXITED, 5, ""),
    }
    assert "in the log alone" in (tmp_path / "reports_an_error.log").read_text()


def test_a_pool_says_what_it_stopped_a_process_for(tmp_path):
    end = run(tmp_path, [hangs], time_limit=0.1)["hangs"]
    assert (end.cause, end.exit_code) == (Cause.TIME_LIMIT, -signal.SIGTERM)
    assert end.message == "ran past hydra.launcher.time_limit=0.1 s"

    def prune(running):
        for one in running:
            one.ask_to_stop(Cause.PRUNED, "given up")
            one.ask_to_stop(Cause.SEARCH_ENDED, "too late to count")

    end = run(tmp_path, [hangs], prune)["hangs"]
    assert (end.cause, end.message) == (Cause.PRUNED, "given up")


@pytest.mark.parametrize(
    ("end", "status", "expected"),
    [
        (JobEnd(0, 1.0, Cause.EXITED), "completed", ("completed", "")),
        (JobEnd(0, 1.0, Cause.PRUNED, "given up"), "completed", ("completed", "")),
        (JobEnd(1, 1.0, Cause.EXITED, "reported"), None, ("failed", "reported")),
        (JobEnd(7, 1.0, Cause.EXITED), "running", ("failed", "left with exit code 7")),
        (JobEnd(4, 1.0, Cause.EXITED), "diverged", ("diverged", "of the run")),
        (JobEnd(143, 1.0, Cause.EXITED), "interrupted", ("interrupted", "of the run")),
        (JobEnd(-9, 1.0, Cause.KILLED, "killed by SIGKILL"), "running",
         ("failed", "killed by SIGKILL")),
        (JobEnd(143, 1.0, Cause.TIME_LIMIT, "too long"), "interrupted", ("failed", "too long")),
        (JobEnd(143, 1.0, Cause.SWEEP_STOPPED, "ran past"), "interrupted",
         ("interrupted", "ran past")),
        (JobEnd(143, 1.0, Cause.SEARCH_ENDED, "over"), "interrupted", ("interrupted", "over")),
        (JobEnd(143, 1.0, Cause.PRUNED, "given up"), "interrupted", ("pruned", "given up")),
        (JobEnd(1, 1.0, Cause.LOST, "no result"), "running", ("failed", "no result")),
        (JobEnd(1, 1.0, Cause.LOST, "no result"), "interrupted", ("interrupted", "of the run")),
    ],
)  # fmt: skip
def test_the_state_of_a_job_follows_from_the_cause_of_its_end(tmp_path, end, status, expected):
    file = tmp_path / "status.json"
    if status is not None:
        file.write_text(json.dumps({"state": status, "message": "of the run\nmore", "step": 5}))
    assert state_after(tmp_path, end) == expected
    if status == "running":
        found = json.loads(file.read_text())
        assert found == {"state": expected[0], "message": expected[1], "step": 5}


def test_a_killed_job_that_was_given_up_is_interrupted_to_others(tmp_path):
    """Only the ledger of a search knows the state "pruned"."""
    file = tmp_path / "status.json"
    file.write_text(json.dumps({"state": "running"}))
    assert state_after(tmp_path, JobEnd(-9, 1.0, Cause.PRUNED, "given up"))[0] == "pruned"
    assert json.loads(file.read_text())["state"] == "interrupted"
