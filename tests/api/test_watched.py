"""The process of a sweep: how its end is told, and that it ends with its caller."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import vae_run as api
from vae_run.api import sweeping
from vae_run.api.watched import Ended, watched
from vae_run.errors import ConfigError, RunError
from vae_run.tasks.compare import output_folder


def test_a_killed_process_is_told_with_its_last_lines(capsys: pytest.CaptureFixture[str]) -> None:
    dying = "import os; os.write(1, b'reading\\ndata\\n'); os.kill(os.getpid(), 9)"
    ended = watched([sys.executable, "-S", "-c", dying], quiet=False)
    assert ended == Ended(-9, False, ("reading\n", "data\n"))
    assert capsys.readouterr().out == "reading\ndata\n"
    assert "by the signal SIGKILL. The system kills" in ended.message
    assert ended.message.endswith("Its last lines:\nreading\ndata")
    assert "with exit code 3." in Ended(3, False, ()).message
    assert "by the signal 99." in Ended(-99, False, ()).message


def test_a_sweep_that_died_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "watched", lambda *_, **__: Ended(-11, False, ("said\n",)))
    with pytest.raises(RunError, match=r"by the signal SIGSEGV\. Its last lines:\nsaid"):
        api.sweep({"seed": [0]})
    monkeypatch.setattr(sweeping, "watched", lambda *_, **__: Ended(-2, True, ()))
    with pytest.raises(KeyboardInterrupt):
        api.sweep({"seed": [0]})


def test_a_process_ends_with_the_one_that_started_it() -> None:
    waiting = (
        "from vae_run.api.watched import stop_with_the_caller; import os, sys, time; "
        "stop_with_the_caller(); print(os.read(0, 1), flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", waiting], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"b''\n", "what it starts has nothing to read"
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(30) == -signal.SIGTERM


def test_a_tilde_is_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    words: list[str] = []

    def done(command: list[str], **_: Any) -> Ended:
        words.extend(command)
        (tmp_path / "s").mkdir()
        (tmp_path / "s" / "ledger.json").write_text("{}", encoding="utf-8")
        return Ended(0, False, ())

    monkeypatch.setattr(sweeping, "watched", done)
    assert api.sweep({"seed": [0]}, directory="~/s").path == tmp_path / "s"
    assert f"sweep.dir={tmp_path / 's'}" in words
    assert api.Sweep("~/s").path == tmp_path / "s"
    with pytest.raises(ConfigError, match="holds no sweep"):
        api.Sweep("~/other")
    assert output_folder("~/c") == tmp_path / "c"
