"""Services in a process of their own: what they receive, how they fail, and when they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from operator import methodcaller
from pathlib import Path
from typing import Any

import pytest
import torch
from processes import until
from written_service import FILE, Written

from vae_run.runs.run_log import read_warnings
from vae_run.tracking import background
from vae_run.tracking.background import Background
from vae_run.tracking.remote import Here, Process, Remote, caller


@pytest.fixture(autouse=True)
def _no_process_is_left() -> Iterator[None]:
    yield
    Process.end_all()
    assert Process._all == []


def received(run: Path) -> list[list[Any]]:
    return [json.loads(line) for line in (run / FILE).read_text(encoding="utf-8").splitlines()]


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_it_receives_everything_in_order_without_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "COLLECTING", 0.0)
    processes = set()
    for name in ("first", "second"):
        run = tmp_path / name
        run.mkdir()
        monkeypatch.setenv("SAID", name)
        tracker = Background(Written())
        tracker.start(run, 7)
        tracker.scalars("val", {"loss": 1.0}, 1)
        tracker.histogram("latent/mean", torch.tensor([1.0, 2.0]), 1)
        tracker.close()
        *calls, end = [[*line[:-2]] for line in received(run)]
        assert calls == [["start", 7], ["points", [1.0]], ["histogram", "numpy", [1.0, 2.0]]]
        assert end == ["close"]
        assert {line[-1] for line in received(run)} == {name}, "the environment of this run"
        processes |= {line[-2] for line in received(run)}
    assert len(processes) == 1, "the second run has the process of the first"
    assert os.getpid() not in processes


def test_errors_are_those_of_the_service(tmp_path: Path) -> None:
    call = caller(Written())
    assert isinstance(call, Remote)
    call.begin()
    call(methodcaller("start", tmp_path, None))
    with pytest.raises(OSError, match="No space left") as full:
        call(methodcaller("text", "disk", ""))
    assert (full.value.errno, full.value.filename, call.passes(full.value)) == (28, "/there", True)
    with pytest.raises(Exception, match="nothing there") as other:
        call(methodcaller("text", "config", "nothing there"))
    assert (type(other.value).__name__, call.passes(other.value)) == ("LookupError", False)
    call(methodcaller("points", []))
    assert received(tmp_path)[-1][:2] == ["points", []], "it goes on"
    os.kill(received(tmp_path)[0][-2], signal.SIGKILL)
    with pytest.raises(OSError):  # noqa: PT011 - of the pipe, or of the answer
        call(methodcaller("points", []))
    call.end(whole=False)


def test_one_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = Background(Written(hangs=True))
    tracker.start(tmp_path, None)
    tracker.await_answer()
    monkeypatch.setattr(background, "SILENCE", 0.3)
    tracker.scalars("val", {"loss": 1.0}, 1)
    tracker.close()
    assert Process._all == []
    assert not is_alive(received(tmp_path)[0][-2])
    assert read_warnings(tmp_path) == []


def test_further_services_are_called_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vae_run.tracking.remote.MOST", 1)
    first, second = caller(Written()), caller(Written())
    assert isinstance(first, Remote)
    assert isinstance(second, Here)
    first.end(whole=True)
    third = caller(Written())
    assert isinstance(third, Remote)
    third.end(whole=False)


PARENT = """
import os, signal, sys
from operator import methodcaller
from pathlib import Path
from vae_run.tracking.remote import caller
from written_service import Written
call = caller(Written(hangs=sys.argv[2] == "busy"))
call.begin()
call(methodcaller("start", Path(sys.argv[1]), None))
if sys.argv[2] == "busy":
    call._process.send(methodcaller("points", []))
if sys.argv[2] != "ends":
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("how", ["ends", "killed", "busy"])
def test_it_ends_with_the_process_that_trains(how: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", PARENT, str(tmp_path), how]
    done = subprocess.run(command, env=environment, check=False)
    assert done.returncode == (0 if how == "ends" else -signal.SIGKILL)
    (started, *_) = received(tmp_path)
    until(lambda: not is_alive(started[-2]))
