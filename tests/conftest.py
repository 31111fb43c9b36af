"""The command line inside the test process, and trained runs that many tests read.

A subprocess pays seconds of imports, so tests call `vae_run(...)`, which does what the console
script does; only tests of processes (signals, imports) start one, with `python_environment`.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import io
import logging
import os
import pickle
import re
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Two spinning threads of tiny matrix products are a hundred times slower on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Workers of pytest-xdist are as many as the processors, so that one thread each is enough.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from filelock import FileLock
from hydra._internal import config_loader_impl
from hydra._internal import defaults_list as defaults_list_module
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import (
    CachingConfigRepository,
    ConfigRepository,
    IConfigRepository,
)
from hydra._internal.hydra import Hydra
from hydra.core.default_element import InputDefault, ResultDefault
from hydra.core.override_parser.types import Override
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, OmegaConf, flag_override

from vae_run.cli.main import main
from vae_run.config.options import CONF

if TYPE_CHECKING:
    from hydra._internal.defaults_list import DefaultsList, Overrides

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
    for patched in (_options_are_composed_once(), _commands_are_composed_once()):
        next(patched)
        config.add_cleanup(lambda patched=patched: next(patched, None))


def pytest_collection_finish() -> None:
    """What was imported is no garbage; new garbage is looked for less often than by default."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


def _options_are_composed_once() -> Iterator[None]:
    """Hydra reads each file once, and merges the same files once, not in each command.

    A command reads and merges 30 files of `conf/` and of Hydra, which takes longer than many a
    training; there are a thousand commands. Files are merged in halves, and these in halves again,
    so that commands which differ in one option share most of them: merging is associative. Values
    are set and checked anew in each command. Folders of a test's own are always read.
    """
    files: dict[tuple[object, ...], ConfigResult | None] = {}
    lists: dict[tuple[object, ...], DefaultsList] = {}
    merged: dict[tuple[object, ...], bytes] = {}
    load = ConfigRepository.load_config
    make_list = config_loader_impl.create_defaults_list
    merge = ConfigLoaderImpl._compose_config_from_defaults_list
    map_choices = defaults_list_module._create_interpolation_map

    def packaged(repo: IConfigRepository) -> tuple[str, ...] | None:
        paths = tuple(source.path for source in repo.get_sources())
        own = any(path and not path.startswith("hydra") and Path(path) != CONF for path in paths)
        return None if own else paths

    def load_config(repo: ConfigRepository, config_path: str) -> ConfigResult | None:
        paths = packaged(repo)
        if paths is None:
            return load(repo, config_path)
        if (paths, config_path) not in files:
            files[paths, config_path] = load(repo, config_path)
        return files[paths, config_path]

    def create_defaults_list(
        repo: IConfigRepository,
        config_name: str | None,
        overrides_list: list[Override],
        prepend_hydra: bool,
        skip_missing: bool,
    ) -> DefaultsList:
        paths = packaged(repo)
        known = [one for one in overrides_list if not one.is_sweep_override()]
        groups = [one for one in known if repo.group_exists(one.key_or_group)]
        if paths is None or any(isinstance(one.value(), dict) for one in groups):
            return make_list(repo, config_name, overrides_list, prepend_hydra, skip_missing)
        key = (paths, config_name, *(one.input_line for one in groups), prepend_hydra, skip_missing)
        if key not in lists:
            lists[key] = make_list(repo, config_name, groups, prepend_hydra, skip_missing)
        return replace(lists[key], config_overrides=[one for one in known if one not in groups])

    def compose(
        loader: ConfigLoaderImpl, defaults: list[ResultDefault], repo: IConfigRepository
    ) -> DictConfig:
        paths = packaged(repo)
        if paths is None:
            return merge(loader, defaults, repo)
        of_hydra = sum(str(default.config_path).startswith("hydra/") for default in defaults)
        keys = [astuple(default) for default in defaults]

        def part(first: int, end: int) -> DictConfig:
            key = (paths, *keys[first:end])
            if key not in merged:
                if end - first == 1 or end <= of_hydra:  # Hydra's own has a schema: in its order
                    found = merge(loader, defaults[first:end], _Copies(repo))
                else:
                    middle = of_hydra if first < of_hydra else (first + end) // 2
                    found = part(first, middle)
                    with flag_override(found, "no_deepcopy_set_nodes", True):
                        found.merge_with(part(middle, end))
                merged[key] = pickle.dumps(found)
            copied: DictConfig = pickle.loads(merged[key])
            return copied

        return part(0, len(defaults))

    def choices(
        overrides: Overrides, defaults_list: list[InputDefault], self_added: bool
    ) -> DictConfig:
        """What entries of a defaults list may refer to: nothing, where none of them refers."""
        if not any(entry.is_interpolation() for entry in defaults_list if not entry.is_self()):
            return OmegaConf.create()
        return map_choices(overrides, defaults_list, self_added)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ConfigRepository, "load_config", load_config)
        patch.setattr(config_loader_impl, "create_defaults_list", create_defaults_list)
        patch.setattr(defaults_list_module, "_create_interpolation_map", choices)
        patch.setattr(ConfigLoaderImpl, "_compose_config_from_defaults_list", compose)
        yield


class _Copies(CachingConfigRepository):
    """What `repo` has read, for one who merges it into something else, and so changes it."""

    def __init__(self, repo: IConfigRepository) -> None:
        self.delegate, self.cache = repo, {}

    def load_config(self, config_path: str) -> ConfigResult | None:
        return copy.deepcopy(self.delegate.load_config(config_path))


def _commands_are_composed_once() -> Iterator[None]:
    """Hydra composes a command's configuration once to read `hydra.mode`, and then once more.

    No file of `conf/` sets that key, so that the first composition is left out where neither the
    command line nor a folder of its own can set it.
    """
    assert not [
        path
        for path in CONF.rglob("*.yaml")
        if re.search(r"^\s*mode:", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    read = Hydra.get_mode

    def get_mode(hydra: Hydra, config_name: str | None, overrides: list[str]) -> object:
        folders = [path.provider for path in hydra.config_loader.get_search_path().get_path()]
        sets_it = re.compile(r"[+~]*hydra(\.mode|\.searchpath|=|$)")
        if "command-line" in folders or any(map(sets_it.match, overrides)):
            return read(hydra, config_name, overrides)
        return None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Hydra, "get_mode", get_mode)
        yield


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
