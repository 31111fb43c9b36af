"""`vae-run doctor`: what it looks at, and what it calls wrong."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vae_run.cli import doctor
from vae_run.version import __version__

if TYPE_CHECKING:
    from conftest import Run

Usage = namedtuple("Usage", "total used free")


def test_a_sound_machine(vae_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAE_RUN_DATA", str(tmp_path / "data"))
    said = vae_run("doctor")
    assert said.code == 0, said.out
    lines = said.out.splitlines()
    heads = [line[:16].strip() for line in lines]
    for head in ("vae-run", "python", "packages", "devices", "cores", "threads", "memory",
                 "outputs", "data", "temporary", "fonts", "compiler"):  # fmt: skip
        assert head in heads
    assert lines[0].startswith(f"vae-run         {__version__}, in ")
    assert f"{tmp_path}/data" in said.out
    assert "not there yet: writable" in " ".join(said.out.split())
    assert [line for line in lines if len(line) > 80 and len(line.split()) > 2] == []
    assert list(tmp_path.iterdir()) == [], "it makes nothing"


def test_what_stops_a_run_is_told_and_exits_with_1(vae_run: Run, tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("a file")
    said = vae_run("doctor")
    assert said.code == 1
    told = " ".join(said.out.split("What would go wrong")[1].split())
    assert told.startswith(f"stops runs outputs: {tmp_path / 'outputs'} is a file. Move it away.")


def test_a_full_disk_and_a_missing_package_are_told(
    vae_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: Usage(1, 1, 2**20))
    said = " ".join(vae_run("doctor").out.split())
    assert "outputs: 0.00 GiB are free" in said
    assert "/dev/shm: 0.00 GiB are free" in said
    known = doctor.metadata.version

    def version(name: str) -> str:
        if name == "tensorboard":
            raise doctor.metadata.PackageNotFoundError(name)
        return known(name)

    monkeypatch.setattr(doctor.metadata, "version", version)
    (packages,) = [each for each in doctor._versions() if each.name == "packages"]
    assert packages.fatal
    assert packages.trouble == "tensorboard missing: pip install tensorboard"


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: False)
    outputs = doctor._folder("outputs", tmp_path / "outputs", needed=True)
    assert outputs.fatal
    assert outputs.trouble.startswith(f"outputs: {tmp_path} cannot be written to.")
    assert doctor._folder("data", tmp_path).trouble == "", "data may be for reading only"
    assert doctor._folder("data", tmp_path / "new").trouble, "they cannot be downloaded"


def test_extras_that_are_missing_have_their_command(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = ["torch>=2", "nothing-like-it>=3; extra == 'own'", "pytest>=8; extra == 'other'"]
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: needed)
    found = {each.name.strip(): each.text for each in doctor._extras()}
    assert found == {"own": "missing: pip install 'nothing-like-it>=3'", "other": "found"}


def test_threads_beyond_the_cores_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "cores", lambda: 0)
    (threads,) = [each for each in doctor._devices() if each.name == "threads"]
    assert "Set OMP_NUM_THREADS=" in threads.trouble
    assert not threads.fatal


def test_doctor_stands_alone(vae_run: Run) -> None:
    for typed in (["doctor", "seed=1"], ["seed=1", "doctor"]):
        refused = vae_run(*typed)
        assert refused.code == 1
        assert "doctor" in refused.err
