"""Where compiled code is kept, and what of the user's process is left as it was."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from vae_run.training import inductor
from vae_run.training.inductor import FOLDER


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The folder and the threads of each compilation, of which nothing else is done."""
    from torch import _inductor
    from torch._inductor import config

    found: list[tuple[str, int]] = []

    def compiles(graph: Any, *_: Any, **__: Any) -> Any:
        found.append((os.environ[FOLDER], config.cpp.threads))
        os.environ[FOLDER] = "/what/torch/sets"
        return graph

    monkeypatch.setattr(_inductor, "standalone_compile", compiles)
    return found


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(inductor.log, "warning", lambda text, *what: lines.append(text % what))
    return lines


GRAPH = torch.fx.symbolic_trace(torch.nn.Identity())


def test_the_environment_is_as_before_and_threads_belong_to_the_key(
    places: Any, told: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(FOLDER, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    inductor.inductor(GRAPH, [])
    kept = tmp_path / ".cache" / "vae-run" / "programs"
    assert places == [(str(kept), torch.get_num_threads())]
    assert FOLDER not in os.environ
    assert kept.stat().st_mode & 0o777 == 0o700
    monkeypatch.setenv(FOLDER, str(tmp_path))
    inductor.inductor(GRAPH, [])
    assert os.environ[FOLDER] == str(tmp_path) == places[1][0]
    assert not told


def test_a_folder_of_no_use_is_told_before_anything_is_compiled(
    places: Any, told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, shared = tmp_path / "file", tmp_path / "shared"
    file.touch()
    shared.mkdir()
    shared.chmod(0o777)
    for place in (file / "in", shared):
        monkeypatch.setenv(FOLDER, str(place))
        inductor.inductor(GRAPH, [])
        assert os.environ[FOLDER] == str(place)
    assert not {str(shared), str(file / "in")} & {place for place, _ in places}
    assert told == [
        f"trainer.compile: {file / 'in'} cannot be made: Not a directory; compiled code is not "
        "kept.",
        f"trainer.compile: {shared} can be written by other users, whose code would be run "
        "(chmod go-w); compiled code is not kept.",
    ]
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    assert "another user" in str(inductor.unusable(tmp_path))
    spaced = tmp_path / "with space"
    assert "has a space in its path" in str(inductor.unusable(spaced))
    assert not spaced.exists()


def test_files_that_cannot_be_loaded_are_told_and_not_used(
    told: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from torch import _inductor

    monkeypatch.setenv(FOLDER, str(tmp_path))
    places = list[str]()

    def fails_once(graph: Any, *_: Any, **how: Any) -> Any:
        places.append(os.environ[FOLDER])
        if len(places) == 1:
            raise ImportError("x.so: invalid ELF header")
        return graph

    monkeypatch.setattr(_inductor, "standalone_compile", fails_once)
    assert inductor.inductor(GRAPH, [])(torch.ones(1)) == 1
    assert places[0] == str(tmp_path) != places[1]
    assert told == [
        f"trainer.compile: x.so: invalid ELF header. If it comes again, delete {tmp_path}: a file "
        "there may be damaged."
    ]


def test_a_user_without_a_home_folder_has_one_for_temporary_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def homeless(_: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv(FOLDER, raising=False)
    monkeypatch.setattr(Path, "expanduser", homeless)
    assert inductor.folder().name == f"vae-run-{os.getuid()}"
