"""Work in a copy of the process: what it returns, and that it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from processes import until

from vae_run.system import beside as module
from vae_run.system.beside import Beside, beside


def test_the_copy_returns_what_the_work_does() -> None:
    with beside(os.getpid) as other:
        process = other()
    assert process not in (None, os.getpid())
    with beside(lambda: 1 / 0) as other:
        assert other() is None


def test_it_ends_with_the_context() -> None:
    with beside(lambda: time.sleep(600)) as other:
        copy: Beside[None] = other.__self__  # type: ignore[attr-defined]
        os.kill(copy._process, 0)
    assert not Path(f"/proc/{copy._process}").exists()


def test_work_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.1)
    with beside(lambda: time.sleep(600)) as other:
        copy: Beside[None] = other.__self__  # type: ignore[attr-defined]
        process, started = copy._process, time.monotonic()
        assert other() is None
        assert time.monotonic() - started < 60
        assert not Path(f"/proc/{process}").exists()


def test_a_signal_while_the_copy_is_made_is_for_this_process_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It raises here, once the copy has an owner, which ends it."""
    made: list[int] = []
    real = os.fork

    def fork() -> int:
        process = real()
        made.append(process)
        os.kill(os.getpid(), signal.SIGUSR1)  # to this process, and to the copy
        return process

    def raises(number: int, frame: object) -> None:
        raise InterruptedError(os.getpid())

    before = signal.signal(signal.SIGUSR1, raises)
    monkeypatch.setattr(os, "fork", fork)
    over = threading.Event()
    other = threading.Thread(target=over.wait)  # it may be given the signal in place of this one
    other.start()
    with pytest.raises(InterruptedError, match=str(os.getpid())):
        Beside(lambda: time.sleep(600))
    assert signal.signal(signal.SIGUSR1, before) is raises
    over.set()
    other.join()
    assert not Path(f"/proc/{made[0]}").exists()


PARENT = """
import os, signal, time
from vae_run.system.beside import Beside
copy = Beside(lambda: time.sleep(600))
print(copy._process, flush=True)
time.sleep(0.2)  # until it has asked to end with its parent
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_it_ends_with_its_parent() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    started = subprocess.Popen([sys.executable, "-c", PARENT], env=environment, stdout=-1)
    assert started.stdout is not None
    process = int(started.stdout.readline())
    assert started.wait() == -signal.SIGKILL
    started.stdout.close()
    until(lambda: not Path(f"/proc/{process}").exists())
