"""Tab completion: the words offered, and each shell that is installed, in a terminal of its own."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vae_run import __file__ as PACKAGE
from vae_run.cli.completion import FLAGS, SCRIPTS, answer, candidates
from vae_run.config.options import CONF

if TYPE_CHECKING:
    from conftest import Run

OFFERED = [
    # typed, all that is offered
    ("vae-run mod", ["model="]),
    ("vae-run model=va", ["model=vae", "model=vae_gan"]),
    ("vae-run -m model=ae,va", ["model=ae,vae", "model=ae,vae_gan"]),
    ("vae-run -m 'model=ae,va", ["'model=ae,vae", "'model=ae,vae_gan"]),
    ("vae-run train", ["trainer.", "trainer="]),
    ("vae-run trainer.ep", ["trainer.epochs="]),
    ("vae-run trainer.prune_f", []),
    ("vae-run trainer=pruning trainer.prune_f", ["trainer.prune_from="]),
    ("vae-run model=vq_vae posterior.com", ["posterior.commitment="]),
    ("vae-run task=encode inp", ["input="]),
    ("vae-run task=encode checkpoint=", ["checkpoint=best", "checkpoint=last"]),
    ("vae-run trainer.epochs=", ["trainer.epochs=100"]),
    ("vae-run quiet=", ["quiet=false", "quiet=true"]),
    ("vae-run device=c", ["device=cpu", "device=cuda"]),
    ("vae-run hydra/la", ["hydra/launcher="]),
    ("vae-run hydra.launcher.j", ["hydra.launcher.jobs="]),
    ("vae-run --he", ["--help"]),
    ("vae-run --help trainer.ep", ["trainer.epochs"]),
    ("vae-run --cfg j", ["job"]),
    ("vae-run doc", ["doctor"]),
    ("vae-run seed=1 doc", []),
    ("vae-run nothing=", []),
]


@pytest.mark.parametrize(("typed", "offered"), OFFERED, ids=[typed for typed, _ in OFFERED])
def test_what_may_follow_is_offered(typed: str, offered: list[str]) -> None:
    assert candidates(typed) == offered


def test_every_group_and_its_options_are_offered() -> None:
    for folder in (*CONF.iterdir(), CONF / "hydra" / "launcher"):
        group = str(folder.relative_to(CONF))
        options = sorted(file.stem for file in folder.glob("*.yaml")) if folder.is_dir() else []
        if options:
            assert f"{group}=" in candidates(f"vae-run {group}")
            assert candidates(f"vae-run {group}=") == [f"{group}={name}" for name in options]


def test_paths_are_offered_for_keys_that_take_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my runs").mkdir()
    (tmp_path / "my.npz").touch()
    (tmp_path / ".hidden").touch()
    for key in ("run", "dataset.path", "sweep.dir"):
        assert candidates(f"vae-run {key}=m") == [f"{key}=my runs/", f"{key}=my.npz"]
        assert candidates(f"vae-run {key}=") == [f"{key}=my runs/", f"{key}=my.npz"]
    assert candidates(f"vae-run run={tmp_path}/.h") == [f"run={tmp_path}/.hidden"]
    assert candidates("vae-run run=nowhere/") == []


def test_options_of_a_config_dir_are_offered(tmp_path: Path) -> None:
    (tmp_path / "network").mkdir()
    (tmp_path / "network" / "tiny_net.yaml").write_text("_target_: own.Net\nwide: 3\n")
    typed = f"vae-run --config-dir {tmp_path} network"
    assert candidates(f"{typed}=t") == ["network=tiny_net"]
    assert candidates(f"{typed}=tiny_net network.w") == ["network.wide="]


def test_the_options_of_the_program_exist(vae_run: Run) -> None:
    said = vae_run("--hydra-help").out
    assert [flag for flag in FLAGS if flag not in said] == []


def test_the_script_of_a_shell_is_printed_and_taken_away_again(vae_run: Run) -> None:
    for shell, script in SCRIPTS.items():
        assert vae_run("-sc", f"install={shell}").out == script
        assert "vae-run" in vae_run("--shell-completion", f"uninstall={shell}").out
    assert answer(["install=tcsh"]) is None


def test_an_answer_imports_neither_hydra_nor_pydantic(
    python_environment: dict[str, str],
) -> None:
    code = (
        "import sys; sys.argv[1:] = ['-sc', 'query=bash']; from vae_run.cli.entry import main;"
        "main(); print(*{'hydra', 'omegaconf', 'pydantic', 'torch', 'rich'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**python_environment, "COMP_LINE": "vae-run task=sam"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "task=sample\n\n"


def installed(folder: Path) -> dict[str, str]:
    """An environment in which `vae-run` is found by its name, as the shells call it."""
    script = folder / "bin" / "vae-run"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m vae_run "$@"\n')
    script.chmod(0o755)
    path = f"{script.parent}{os.pathsep}{os.environ['PATH']}"
    source = str(Path(PACKAGE).parents[1])
    return {
        **os.environ,
        "PATH": path,
        "PYTHONPATH": source,
        "TERM": "dumb",
        "HOME": str(folder),
        "PS1": "$ ",
    }


def typed_in(command: list[str], setup: str, keys: str, awaited: str, folder: Path) -> str:
    """What an interactive shell shows when `keys` are typed after `setup`, up to `awaited`."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execvpe(command[0], command, installed(folder))
    shown = b""
    try:
        os.write(terminal, f"{setup}\necho re''ady\n".encode())
        until, sent = time.monotonic() + 20, False
        while time.monotonic() < until:
            if select.select([terminal], [], [], 0.2)[0]:
                shown += os.read(terminal, 65536)
            if not sent and b"ready" in shown:
                shown, sent = b"", True
                os.write(terminal, keys.encode())
            elif sent and awaited.encode() in shown:
                break
    finally:
        os.write(terminal, b"\x03\x04")
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(terminal)
    return shown.decode(errors="replace")


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("typed", "becomes"),
    [
        ("vae-run trainer.ep\t", "trainer.epochs="),
        ("vae-run -m model=ae,vq\t", "model=ae,vq_vae "),
        ("vae-run task=enc\tinp\t", "task=encode input="),
        ("vae-run run=my\t", "run=mydata/"),
    ],
)
def test_bash_completes(typed: str, becomes: str, tmp_path: Path) -> None:
    (tmp_path / "mydata").mkdir()
    setup = 'eval "$(vae-run -sc install=bash)"'
    shown = typed_in(["bash", "--norc", "--noprofile", "-i"], setup, typed, becomes, tmp_path)
    assert becomes in shown


@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
@pytest.mark.parametrize(
    ("typed", "becomes"),
    [("vae-run trainer.ep\t", "trainer.epochs="), ("vae-run -m model=ae,vq\t", "model=ae,vq_vae")],
)
def test_zsh_completes(typed: str, becomes: str, tmp_path: Path) -> None:
    setup = 'unsetopt zle_bracketed_paste; eval "$(vae-run -sc install=zsh)"'
    added = becomes.removeprefix(typed.split()[-1])  # zsh shows nothing else anew
    assert added in typed_in(["zsh", "-f", "-i"], setup, typed, added, tmp_path)


@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish")
def test_fish_completes(tmp_path: Path) -> None:
    script = (
        "vae-run -sc install=fish | source; complete -C 'vae-run trainer.ep';"
        "complete -C 'vae-run -m model=ae,vq'"
    )
    done = subprocess.run(
        ["fish", "-N", "-c", script], env=installed(tmp_path), capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["trainer.epochs=", "model=ae,vq_vae"]
