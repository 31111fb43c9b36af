"""What a sweep takes up again, with which values, and what it leaves to others."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from parts import composed

from vae_run.api.sweeping import Sweep
from vae_run.config.check import check
from vae_run.config.invocation import Call
from vae_run.errors import ConfigError
from vae_run.runs.identity import as_checked, identity
from vae_run.runs.run_directory import RunDirectory
from vae_run.sweeps.executors.job_end import Cause, JobEnd
from vae_run.sweeps.ledger import Entry, Ledger
from vae_run.sweeps.same_data import refuse_several_roots
from vae_run.sweeps.scheduler import NOT_BEGUN, state_after, take_ends
from vae_run.sweeps.sweepers.ledger_sweep import (
    CheckedJob,
    JobsFailedError,
    LedgerSweep,
    refuse_failures,
)
from vae_run.tasks import resume, sweep_job, train

SEED = ("dataset=mnist", "seed=1")
DEAD = 2**22 + 1
"""No process has this number: Linux gives none above 2**22."""


def in_state(run: Path, state: str, pid: int = os.getpid(), message: str = "") -> Path:
    """The run directory `run` with a `status.json` that a process `pid` of this machine wrote."""
    run.mkdir(parents=True, exist_ok=True)
    about = {"state": state, "pid": pid, "host": socket.gethostname(), "message": message}
    (run / "status.json").write_text(json.dumps(about))
    return run


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """A lock of the run `run`, as a process that trains in it holds it."""
    with (run / "train.log").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def entered(ledger: Ledger, *words: str, more: Sequence[str] = ()) -> Entry:
    """The entry that the job of `words` gets in `ledger`, and an equal one of `more` with it."""
    sweep = LedgerSweep.__new__(LedgerSweep)
    sweep.folder, sweep.launcher, sweep.config = ledger.folder, None, OmegaConf.create({})
    jobs = [CheckedJob(list(own), check(composed(*own))) for own in (words, more or words)]
    (entry,) = sweep.enter(ledger, jobs, ["seed"]).values()
    return entry


@pytest.mark.parametrize("state", ["pending", "running", "interrupted", "failed"])
def test_what_is_still_to_be_done_is_run_as_it_is_typed_now(tmp_path: Path, state: str) -> None:
    ledger, right = Ledger(tmp_path), [*SEED, "dataset.root=/right", "trainer.threads=2"]
    first = entered(ledger, *SEED, "dataset.root=/wrong")
    first.state = state
    assert entered(ledger, *right) is first
    assert (first.overrides, first.directory) == (right, "000-seed=1")
    again = json.loads(ledger.path.read_text())["jobs"]
    assert [job["overrides"] for job in again.values()] == [right]


def test_of_equal_jobs_of_one_command_the_first_is_run(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    entry = entered(ledger, "device=cpu", more=["device=auto"])
    assert entry.overrides == ["device=cpu"]


@pytest.mark.parametrize("state", ["completed", "diverged", "pruned"])
def test_what_is_done_keeps_the_values_that_it_was_run_with(tmp_path: Path, state: str) -> None:
    ledger = Ledger(tmp_path)
    first = entered(ledger, *SEED, "dataset.root=/a")
    first.state = state
    assert entered(ledger, *SEED, "dataset.root=/b").overrides == [*SEED, "dataset.root=/a"]


def test_a_whole_number_is_the_same_value_as_its_float(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    default = entered(ledger)
    assert entered(ledger, "objective.beta=1") is default
    assert entered(ledger, "objective.beta=1.0", "optimizer.betas=[0.9,0.999]") is default
    assert entered(ledger, "objective.beta=2") is entered(ledger, "objective.beta=2.0")
    assert len(ledger.jobs) == 2
    words = ("dataset=image_folder", "dataset.path=x", "dataset.test_size=1")
    one = as_checked(check(composed(*words)))["dataset"]["test_size"]
    assert isinstance(one, int), "one image, and not the share 1.0"


def test_a_job_that_an_earlier_ledger_named_by_a_whole_number_is_known(tmp_path: Path) -> None:
    ledger, raw = Ledger(tmp_path), check(composed("objective.beta=2")).raw
    ledger.jobs[identity(raw)] = earlier = Entry("000", ["objective.beta=2"], "completed")
    assert entered(ledger, "objective.beta=2") is earlier


def test_several_roots_are_refused() -> None:
    refuse_several_roots({"dataset.root": ["dataset.root=a"] * 2, "dataset.path": ["a", "b"]})
    for key in ("dataset.root", "+dataset.root"):
        with pytest.raises(ConfigError, match=r"^dataset\.root: found 2 values in a sweep"):
            refuse_several_roots({key: [f"{key}=a", f"{key}=b"], "seed": ["seed=0"]})


def test_a_ledger_keeps_the_failure_of_a_job_that_the_sweep_stopped(tmp_path: Path) -> None:
    why = "ran past hydra.launcher.time_limit=5 s"
    ledger = Ledger(tmp_path)
    for number, (before, state) in enumerate(
        [("failed", "interrupted"), ("failed", "running"), ("failed", "completed"),
         ("running", "interrupted"), ("running", "running")]
    ):  # fmt: skip
        ledger.jobs[str(number)] = Entry(str(number), [], before, message=why)
        in_state(tmp_path / str(number), state, DEAD, "its own")
    ledger.save()
    jobs = Ledger.open(tmp_path).jobs.values()
    assert [(job.state, job.message) for job in jobs] == [
        *[("failed", why)] * 2,
        *((state, "its own") for state in ("completed", "interrupted", "interrupted")),
    ]


def test_a_job_that_a_live_process_trains_is_left_to_it(tmp_path: Path) -> None:
    live, gone = in_state(tmp_path / "a", "running"), in_state(tmp_path / "b", "running", DEAD)
    before = (live / "status.json").read_text()
    refused = JobEnd(2, 1.0, Cause.EXITED, "run: is being trained by process 7")
    killed = JobEnd(-9, 1.0, Cause.KILLED, "killed by SIGKILL")
    with locked(live), locked(gone):
        assert state_after(live, refused) == ("interrupted", refused.message)
        assert state_after(gone, killed) == ("failed", killed.message), "its process is gone"
    assert (live / "status.json").read_text() == before
    assert state_after(live, refused)[0] == "failed", "the lock is free"


def test_the_table_of_a_live_sweep(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, {"a": Entry("1000-a", [], "failed"), "b": Entry("999-b", [])})
    ledger.save()
    live, gone = (in_state(tmp_path / name, "running") for name in ("1000-a", "999-b"))
    with locked(live):
        table = Sweep(tmp_path).table
    assert [(row["run"], row["state"]) for row in table] == [
        ("999-b", "interrupted"),
        ("1000-a", "running"),
    ]
    in_state(gone, "completed")
    assert Sweep(tmp_path).table.column("state") == ["completed", "failed"], "the lock is free"


@pytest.mark.parametrize(
    ("not_begun", "expected"),
    [(("pending", ""), ("pending", 2)), (("failed", NOT_BEGUN), ("failed", 3))],
)
def test_another_launchers_jobs_that_have_not_begun(
    tmp_path: Path, not_begun: tuple[str, str], expected: tuple[str, int]
) -> None:
    ledger, told = Ledger(tmp_path), []
    entries = [Entry(name, [], "running", attempts=3) for name in ("done", "stopped", "not", "by")]
    in_state(tmp_path / "done", "completed")
    in_state(tmp_path / "stopped", "interrupted")
    with locked(in_state(tmp_path / "by", "running")):
        take_ends(ledger, entries, lambda entry: told.append(entry.state), not_begun=not_begun)
    states = [(entry.state, entry.attempts) for entry in entries]
    assert states == [("completed", 3), ("interrupted", 3), expected, ("interrupted", 3)]
    assert told == [state for state, _ in states if state != "pending"]


class Stopped:
    """A launcher that Ctrl-C ends before its second job."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def launch(self, words: Sequence[Sequence[str]], initial_job_idx: int) -> None:
        in_state(self.folder / "0", "completed")
        raise SystemExit(130)


def test_ctrl_c_uses_up_no_job_that_has_not_begun(tmp_path: Path) -> None:
    ledger, told = Ledger(tmp_path), []
    entries = [Entry("0", []), Entry("1", [])]
    sweep = LedgerSweep.__new__(LedgerSweep)
    sweep.folder, sweep.launcher, sweep._plugin = tmp_path, None, Stopped(tmp_path)  # type: ignore[assignment]
    with pytest.raises(SystemExit):
        sweep.launch(ledger, iter(entries), 2, ended=lambda entry: told.append(entry.directory))
    assert [(entry.state, entry.attempts) for entry in entries] == [
        ("completed", 1),
        ("pending", 0),
    ]
    assert told == ["0"]


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        ([Entry("0", [], "diverged")], 4),
        ([Entry("0", [], "diverged", exit_code=-9), Entry("1", [], "failed", exit_code=3)], 4),
        ([Entry("0", [], "failed")], 1),
        ([Entry("0", [], "failed", exit_code=-9), Entry("1", [], "failed", exit_code=3)], 3),
    ],
)
def test_the_exit_code_of_a_sweep(tmp_path: Path, entries: list[Entry], code: int) -> None:
    with pytest.raises(JobsFailedError) as raised:
        refuse_failures(Ledger(tmp_path), entries)
    assert raised.value.exit_code == code


@pytest.mark.parametrize("name", ["last", "previous", "best", None])
def test_a_job_goes_on_from_either_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    done: list[str] = []
    monkeypatch.setattr(resume, "go_on", lambda run, call: done.append("resume"))
    monkeypatch.setattr(train, "main", lambda call: done.append("train"))
    if name is not None:
        file: Any = getattr(RunDirectory(tmp_path), name)
        file.parent.mkdir()
        file.touch()
    sweep_job.main(Call(check(composed()), tmp_path, [], {}))
    assert done == ["resume" if name in ("last", "previous") else "train"]
