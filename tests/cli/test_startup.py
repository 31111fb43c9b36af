"""What is imported when: help and composition without torch, the digits without torchvision."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import atexit, os, sys
before = dict(os.environ), list(sys.argv)
from vae_run.cli.main import main
assert (dict(os.environ), sys.argv) == before, "importing it changes nothing"
heavy = ["torch", "torchvision", "sklearn", "matplotlib", "tensorboard", "pydantic", "rich"]
heavy += ["scipy", "pandas", "sympy", "torch._dynamo"]
atexit.register(lambda: print("imported:", *[name for name in heavy if name in sys.modules]))
main()
"""


def imported(arguments: list[str], cwd: Path, environment: dict[str, str]) -> list[str]:
    """The heavy packages that the command has imported by its end."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].removeprefix("imported:").split()


def test_help_and_composition_import_nothing_heavy(
    tmp_path: Path, python_environment: dict[str, str]
) -> None:
    for arguments in (["--help"], ["--cfg", "job", "model=dae", "dataset=mnist"]):
        assert imported(arguments, tmp_path, python_environment) == []


def test_digits_do_without_torchvision(tmp_path: Path, python_environment: dict[str, str]) -> None:
    arguments = ["network.widths=[4]", "trainer.steps=1", "latent_dim=2"]
    found = imported(arguments, tmp_path, python_environment)
    assert "torch" in found
    assert "torchvision" not in found
    assert "torch._dynamo" not in found, "the compiler, half a second, is for trainer.compile"
    assert "sympy" not in found
    assert len(list(tmp_path.glob("outputs/*/*/figures/manifold.png"))) == 1


def test_the_package_and_module_start_alike(
    tmp_path: Path, python_environment: dict[str, str]
) -> None:
    code = "import sys, vae_run; print('torch' in sys.modules, vae_run.__version__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=python_environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split()[0] == "False"
    script = Path(sys.executable).with_name("vae-run")
    told = [
        subprocess.run(
            [*command, "--cfg", "job"],
            cwd=tmp_path,
            env=python_environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for command in ([sys.executable, "-m", "vae_run"], [str(script)])
        if script.exists() or command[0] != str(script)
    ]
    assert len(set(told)) == 1
    assert list(tmp_path.iterdir()) == []


def test_training_and_measuring_need_no_scipy(
    tmp_path: Path, python_environment: dict[str, str]
) -> None:
    quick = ["network.widths=[4]", "trainer.steps=1", "latent_dim=2", "evaluation.figures=[]"]
    arguments = [*quick, "evaluation.metrics=[objective]"]
    found = imported(arguments, tmp_path, python_environment)
    assert not {"scipy", "sklearn", "pandas", "sympy", "torch._dynamo"} & set(found)
