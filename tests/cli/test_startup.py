"""What is imported when: help and composition without torch, the digits without torchvision."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import contextlib, os, sys
before = dict(os.environ), list(sys.argv)
from vae_run.cli.main import main
assert (dict(os.environ), sys.argv) == before, "importing it changes nothing"
heavy = ["torch", "torchvision", "sklearn", "matplotlib", "tensorboard", "pydantic", "rich"]
heavy += ["scipy", "pandas", "sympy", "torch._dynamo"]
for command in "\\n".join(sys.argv[1:]).split("\\n--then\\n"):
    sys.argv[1:] = command.split("\\n")
    with contextlib.suppress(SystemExit):
        main()
    print("imported:", *[name for name in heavy if name in sys.modules])
"""


def imported(cwd: Path, environment: dict[str, str], *commands: list[str]) -> list[list[str]]:
    """The heavy packages that are imported at the end of each command of one process."""
    words = [word for command in commands for word in (*command, "--then")][:-1]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *words],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("imported:")]
    assert len(lines) == len(commands), done.stdout + done.stderr
    return [line.removeprefix("imported:").split() for line in lines]


def test_help_and_composition_import_nothing_heavy(
    tmp_path: Path, python_environment: dict[str, str]
) -> None:
    commands = (["--cfg", "job", "model=dae", "dataset=mnist"], ["--help"])
    assert imported(tmp_path, python_environment, *commands) == [[], []]


@pytest.mark.scale
def test_training_needs_no_scipy_and_the_digits_no_torchvision(
    tmp_path: Path, python_environment: dict[str, str]
) -> None:
    drawing = ["network.widths=[4]", "trainer.steps=1", "latent_dim=2", "device=cpu"]
    quick = [*drawing, "evaluation.figures=[]", "evaluation.metrics=[objective]"]
    bare, drawn = imported(
        tmp_path,
        python_environment,
        [*quick, "hydra.run.dir=quick"],
        [*drawing, "hydra.run.dir=drawn"],
    )
    assert not {"scipy", "sklearn", "pandas", "sympy", "torch._dynamo"} & set(bare)
    assert (tmp_path / "quick" / "metrics.json").exists()
    assert "torch" in drawn
    assert "torchvision" not in drawn
    assert "torch._dynamo" not in drawn, "the compiler, half a second, is for trainer.compile"
    assert "sympy" not in drawn
    assert (tmp_path / "drawn" / "figures" / "manifold.png").exists()


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
