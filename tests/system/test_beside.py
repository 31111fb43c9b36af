"""Work in a copy of the process: what it returns, and that it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from processes import until

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
