"""The README's shell commands work: each one in its ```bash blocks is run, or else checked.

`vae-run` commands are run for real in one scratch folder, shortened to a few steps and one seed;
what they name (a run, a file, a folder of images) is put there first. Blocks of Python or YAML that
begin with a comment naming a file (`# parts.py`) are written to that file. A command of an unknown
kind fails.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from conftest import Run

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
DATA = Path(os.environ.get("VAE_RUN_DATA", ROOT.parent / "shared" / "data")).resolve()
STEPS = {"train": "12", "resume": "24"}  # of each task that trains
REAL = {"run": "outputs/finished", "init_from": "outputs/finished", "runs": "outputs/*"}


def blocks(language: str) -> list[str]:
    """The README's fenced blocks of a language; `test_readme_exists` fails where there is none."""
    text = README.read_text(encoding="utf-8") if README.is_file() else ""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Every command of the bash blocks, once: continued lines joined, prompts dropped."""
    lines = "\n".join(blocks("bash")).replace("\\\n", " ").splitlines()
    found = [line.strip().removeprefix("$ ") for line in lines]
    parts = [part.strip() for line in found for part in re.split(r"\s&&\s", line)]
    return list(dict.fromkeys(part for part in parts if shlex.split(part, comments=True)))


@pytest.fixture(autouse=True)
def _environment(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The README's own modules are found, by the worker processes of a sweep as well."""
    monkeypatch.syspath_prepend(place)
    monkeypatch.setenv("PYTHONPATH", str(place), prepend=os.pathsep)
    if DATA.is_dir():
        monkeypatch.setenv("VAE_RUN_DATA", str(DATA))


@pytest.fixture(scope="module")
def place(vae_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scratch folder with one finished run in `outputs/finished`, and the README's own files."""
    folder = tmp_path_factory.mktemp("readme")
    for block in blocks("python") + blocks("yaml"):
        if named := re.match(r"# ([\w./-]+\.(?:py|yaml))\n", block):
            file = folder / named[1]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block, encoding="utf-8")
    finished = ("trainer.epochs=1", "evaluation.figures=[]", "hydra.run.dir=outputs/finished")
    done = vae_run(*finished, cwd=folder)
    assert done.code == 0, done.said
    return folder


def provide(key: str, value: str, place: Path) -> None:
    """Put the data there that a command reads: an array file, an image, or a folder of images."""
    path, rng = place / value, np.random.default_rng(0)
    if (key not in ("input", "dataset.path")) or path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npz":
        pixels = rng.integers(0, 256, (64, 1, 8, 8), dtype=np.uint8)
        np.savez(path, **({"train": pixels} if key == "dataset.path" else {"images": pixels}))
        return
    files = [path] if path.suffix else [path / f"{i}.png" for i in range(40)]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(file)


def shortened(words: list[str], place: Path) -> list[str]:
    """The arguments of a vae-run command, made to name real runs and data and to train briefly."""
    if {"--help", "-h", "--info", "--version", "--cfg", "-c"} & set(words):
        return words
    given = dict(word.split("=", 1) for word in words if "=" in word)
    for key, value in given.items():
        provide(key, value, place)
    new = {key: value for key, value in REAL.items() if key in given}
    if steps := STEPS.get(given.get("task", "train")):
        new["trainer.steps"] = steps
    if "-m" in words or given.get("dataset") == "mnist":
        new["evaluation.figures"] = "[]"  # the pictures that the shorter commands draw
    if given.get("dataset") == "mnist":
        new["dataset.classes"] = "[0]"
    words = [re.sub(r"^seed=range\(\d+\)$", "seed=range(1)", word) for word in words]
    kept = [word for word in words if word.partition("=")[0] not in (*new, "trainer.epochs")]
    return kept + [f"{key}={value}" for key, value in new.items()]


def test_readme_exists() -> None:
    assert README.is_file()
    assert commands(), "the README shows no command"


@pytest.mark.parametrize("line", commands())
def test_command(line: str, place: Path, vae_run: Run) -> None:
    program, *words = shlex.split(line, comments=True)
    if program == "vae-run":
        if re.search(r"dataset=mnist|experiment=mnist", line) and not DATA.is_dir():
            pytest.skip("no MNIST: set VAE_RUN_DATA to a folder that holds MNIST/raw")
        finished = vae_run(*shortened(words, place), cwd=place)
        assert finished.code == 0, finished.said
    elif program == "make":
        done = subprocess.run(["make", "-n", *words], cwd=ROOT, text=True, capture_output=True)
        assert done.returncode == 0, done.stderr
    elif program == "tensorboard":
        inspect = [sys.executable, "-m", "tensorboard.main", "--inspect", *words]
        done = subprocess.run(inspect, cwd=place, text=True, capture_output=True)
        assert "scalars" in done.stdout, done.stdout + done.stderr
    elif program in ("pip", "pipx") and words[0] == "install":
        for extras in re.findall(r"\[([\w,-]+)\]", line):
            project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
                "project"
            ]
            assert set(extras.split(",")) <= set(project["optional-dependencies"])
    else:
        assert (program, *words[:1]) in {("git", "clone"), ("cd", "vae-run")}, f"unknown: {line}"
