"""Sockets of multiprocessing where TMPDIR is a long path."""

from __future__ import annotations

import multiprocessing
import tempfile
from multiprocessing import process
from multiprocessing.connection import Client, Listener
from multiprocessing.util import get_temp_dir
from pathlib import Path

import pytest

from vae_run.errors import RunError
from vae_run.system import temporary_folder


@pytest.fixture
def long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder with a long path, before multiprocessing has chosen its own."""
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    config = process.current_process()._config  # type: ignore[attr-defined]
    monkeypatch.setattr(process.current_process(), "_config", {**config, "tempdir": None})
    return folder


def test_a_socket_is_made_in_a_short_folder(long: Path) -> None:
    temporary_folder.use_short_temporary_folder()
    assert tempfile.gettempdir() == str(long), "other temporary files stay where they belong"
    with Listener(family="AF_UNIX") as listener, Client(listener.address):
        assert str(listener.address).startswith("/tmp/pymp-")
    assert multiprocessing.active_children() == []


def test_a_short_folder_is_kept(long: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/var/tmp")
    temporary_folder.use_short_temporary_folder()
    assert get_temp_dir().startswith("/var/tmp/pymp-")


def test_a_short_folder_that_cannot_be_written_is_told(
    long: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(temporary_folder, "SHORT", str(long / "absent"))
    with pytest.raises(RunError, match=r"TMPDIR: .*x is too long .*Set TMPDIR to a shorter path"):
        temporary_folder.use_short_temporary_folder()
