"""Interpreters that are started: the user's modules do not take the place of Python's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vae_run.system.python_path import own_modules_only


def test_a_users_random_is_not_taken_for_pythons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    (tmp_path / "random.py").write_text("raise SystemExit('the one of the user')")
    command = [sys.executable, "-c", "import os, random; print(os.environ['OMP_NUM_THREADS'])"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 1
    with own_modules_only(OMP_NUM_THREADS="3"):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "3\n")
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "PYTHONSAFEPATH" not in os.environ
