"""The command line inside the test process, and trained runs that many tests read.

A subprocess pays seconds of imports, so tests call `vae_run(...)`, which does what the console
script does; only tests of processes (signals, imports) start one, with `python_environment`.
"""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Two spinning threads of tiny matrix products are a hundred times slower on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Workers of pytest-xdist are as many as the processors, so that one thread each is enough.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from composed_once import (
    forked_processes_compose_likewise,
    options_are_composed_once,
)
from filelock import FileLock

from vae_run.cli.main import main

if TYPE_CHECKING:
    from vae_run.data.splits import Splits

SMALL = ("device=cpu", "network.widths=[16]", "trainer.epochs=2", "evaluation.figures=[]")
"""Overrides that make a training on the digits take a fraction of a second."""


@dataclass(frozen=True)
class Finished:
    """How a command ended: its exit code and what it said."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return self.out + self.err


@pytest.fixture(autouse=True)
def _logs_are_heard() -> None:
    """A run that another test began in this process keeps no log from this one's `caplog`."""
    logging.getLogger("vae_run").propagate = True


def pytest_configure(config: pytest.Config) -> None:
    """Modules of tests compose configurations when they are collected, so patches begin here.

    Imports make half a million objects that live on; they are not searched for garbage.
    """
    gc.disable()
    patches = contextlib.ExitStack()
    patches.enter_context(options_are_composed_once())
    patches.enter_context(forked_processes_compose_likewise())
    patch = patches.enter_context(pytest.MonkeyPatch.context())
    patch.setattr(os, "fsync", lambda descriptor: None)  # a millisecond; no test cuts the power
    config.add_cleanup(patches.close)


def pytest_collection_finish() -> None:
    """What was imported is no garbage; new garbage is looked for less often than by default."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


Run = Callable[..., Finished]
Train = Callable[..., Path]
Once = Callable[[str, Callable[[Path], object]], Path]


def _vae_run(*arguments: object, cwd: Path | None = None) -> Finished:
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    try:
        with (
            contextlib.chdir(cwd or Path.cwd()),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            main([str(argument) for argument in arguments])
    except SystemExit as exit_:
        code = exit_.code
    return Finished(int(str(code or 0)), out.getvalue(), err.getvalue())


def _train(directory: Path, *overrides: object) -> Path:
    finished = _vae_run(*SMALL, f"hydra.run.dir={directory}", *overrides, cwd=directory.parent)
    assert finished.code == 0, finished.said
    return directory


@pytest.fixture(scope="session")
def vae_run() -> Run:
    """`vae_run("latent_dim=2", cwd=...)` runs the program and returns its code and output."""
    return _vae_run


@pytest.fixture(scope="session")
def train() -> Train:
    """`train(directory, "model=ae")` makes a small run that must succeed."""
    return _train


@pytest.fixture(scope="session")
def python_environment() -> dict[str, str]:
    """The environment of a subprocess: this one's, without what would change messages."""
    dropped = ("HYDRA_FULL_ERROR", "VAE_RUN_DATA")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**kept, "COLUMNS": "80", "PYTHONUNBUFFERED": "1"}


@pytest.fixture(autouse=True)
def _elsewhere(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that forgets its directory must not write into the checkout."""
    if "vae_run" in request.fixturenames:
        monkeypatch.chdir(request.getfixturevalue("tmp_path"))


@pytest.fixture(scope="session")
def mnist_root() -> str:
    """VAE_RUN_DATA, where it holds MNIST: tests of many seconds run only where it is asked for."""
    root = os.environ.get("VAE_RUN_DATA")
    if root is None or not (Path(root) / "MNIST" / "raw").is_dir():
        pytest.skip("needs MNIST under VAE_RUN_DATA")
    return root


@pytest.fixture(scope="session")
def mnist(mnist_root: str) -> Splits:
    """MNIST without a validation set."""
    from vae_run.data.datasets.mnist import MNIST

    return MNIST(root=mnist_root, download=False, val_size=0).load()


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """`once("name", make)` is the folder that `make(folder)` has made. Read only.

    It is made once for all tests: by the first worker of pytest-xdist that needs it.
    """
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "made-once"
    shared.mkdir(exist_ok=True)

    def made(name: str, make: Callable[[Path], object]) -> Path:
        with FileLock(shared / f"{name}.lock"):
            if not (shared / f"{name}.done").exists():
                make(shared / name)
                (shared / f"{name}.done").touch()
        return shared / name

    return made


@pytest.fixture(scope="session")
def vae(once: Once) -> Path:
    """A finished VAE with two latent dimensions, every figure drawn. Read only."""
    overrides = (
        "latent_dim=2",
        "network.widths=[32]",
        "network.activation=silu",  # 32 rectifiers die, and the posterior collapses
        "trainer.epochs=20",
        "trainer.log_every=10",
        "optimizer.lr=0.01",
        "evaluation.figures=[reconstructions,samples,manifold,traversals,interpolations]",
    )
    return once("vae", lambda run: _train(run, *overrides))


@pytest.fixture(scope="session")
def dae(once: Once) -> Path:
    """A finished denoising autoencoder with three latent dimensions. Read only."""
    figures = "evaluation.figures=[reconstructions,samples,manifold]"
    return once("dae", lambda run: _train(run, "model=dae", "latent_dim=3", figures))


@pytest.fixture
def axes(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The axes that are drawn, in order."""
    from vae_run.plots.canvas import Sheet

    made: list[Any] = []
    original = Sheet.axes

    def kept(sheet: Sheet, *place: int) -> Any:
        made.append(original(sheet, *place))
        return made[-1]

    monkeypatch.setattr(Sheet, "axes", kept)
    return made
