"""Everything that depends on Hydra's version or on Hydra's private API: the one place for both.

Hydra's public entry, `hydra.main`, reads `sys.argv`; `run` takes a list instead. Hydra 1.4
deprecates `version_base`, wants a whitelist of classes that a configuration may instantiate, and
needs an OmegaConf that renames `register_new_resolver`. All of that is chosen here by the installed
version, so that no other file asks for it.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib import metadata
from pathlib import Path
from typing import Any

import hydra
from hydra import version
from hydra._internal import hydra as hydra_application
from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra._internal.utils import _run_hydra, create_config_search_path, get_args_parser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.types import TaskFunction
from omegaconf import DictConfig, OmegaConf

from vae_run.cli.job_start import run_job
from vae_run.cli.options_typed import misspelt
from vae_run.cli.words import understood
from vae_run.version import __version__

__all__ = [
    "FULL_ERROR",
    "WHITELIST",
    "ConfigLoaderImpl",
    "apply_overrides",
    "composing",
    "create_config_search_path",
    "find_plugins",
    "get_overrides_dirname",
    "parse",
    "register_resolver",
    "run",
    "set_version_base",
    "trusted",
]

FULL_ERROR = "HYDRA_FULL_ERROR"
"""The environment variable that makes Hydra raise errors instead of printing them and exiting."""

WHITELIST = (
    "vae_run.*",
    "hydra_plugins.*",
    "hydra._internal.core_plugins.*",
    "hydra.experimental.*",
)
"""What a configuration may instantiate under Hydra 1.4: callbacks, launchers and sweepers of this
package, of Hydra, and of any plugin, since Hydra finds plugins only in `hydra_plugins`. Parts of an
experiment are built by `config`, not by Hydra."""

_BASE = {} if hasattr(hydra.utils, "execution_whitelist") else {"version_base": "1.3"}


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The command line `words`, read by Hydra's own parser.

    Options may stand anywhere between the overrides. Overrides that give a path are read as
    `cli.words` says; a folder for `--config-dir` may begin with `~`.

    Raises:
        SystemExit: with code 2 for options that argparse refuses, 0 after `--version`.
        ConfigError: a word is not Unicode text.
    """
    parser = _parser()
    options = [option for action in parser._actions for option in action.option_strings]
    if near := [told for word in words if (told := misspelt(word, options))]:
        parser.error(" ".join(near))
    parsed = parser.parse_intermixed_args(list(words))
    multirun = parsed.multirun or "hydra.mode=MULTIRUN" in parsed.overrides
    parsed.overrides = understood(parsed.overrides, multirun=multirun)
    if parsed.config_dir is not None:
        parsed.config_dir = os.path.expanduser(parsed.config_dir)
    if parsed.experimental_rerun is not None:
        parser.error("--experimental-rerun is not supported; use task=resume run=DIR")
    return parsed


def _parser() -> argparse.ArgumentParser:
    parser = get_args_parser()
    parser.prog = "vae-run"
    for action in parser._actions:
        if isinstance(action, argparse._VersionAction):
            found = (f"{name} {metadata.version(name)}" for name in ("torch", "hydra-core"))
            action.version = f"vae-run {__version__} ({', '.join(found)})"
            action.help = "Show the versions of vae-run, torch and Hydra and exit"
    parser.add_argument("--schema", action="store_true", help="Print a JSON Schema of all keys")
    parser.add_argument("--json", action="store_true", help="Print lines of JSON for programs")
    return parser


def run(
    asked: argparse.Namespace, task: TaskFunction, conf: Path, loader: type[ConfigLoaderImpl]
) -> None:
    """Do what a command line asks of Hydra: run `task`, sweep it, or show things.

    Args:
        asked: the command line, as `parse` returns it.
        task: is given the composed configuration of each job.
        conf: the folder with `config.yaml`.
        loader: of configurations, in place of Hydra's own.

    Raises:
        Exception: whatever Hydra or `task` raises; nothing is printed in its place.
    """
    set_version_base()
    with _raising(), _own_parts(loader), trusted():
        _run_hydra(
            args=asked,
            args_parser=_parser(),
            task_function=task,
            config_path=str(conf),
            config_name="config",
        )


def set_version_base() -> None:
    """Choose the defaults of Hydra 1.3, where Hydra still asks for a choice."""
    if _BASE:
        version.setbase(_BASE["version_base"])


def composing(conf: Path) -> Any:
    """A context within which `hydra.compose` composes from the folder `conf`."""
    return hydra.initialize_config_dir(str(conf), **_BASE)


def apply_overrides(config: DictConfig, overrides: Sequence[Override]) -> None:
    """Set in `config`, which is changed, the values that `overrides` give, as Hydra itself does.

    `hydra.compose` also reads all files of the configuration again, which takes about 80 ms; this
    takes 4 ms.

    Raises:
        hydra.errors.HydraException: a key does not exist, or a value cannot be set.
    """
    ConfigLoaderImpl._apply_overrides_to_config(list(overrides), config)


def trusted() -> Any:
    """A context within which Hydra 1.4 instantiates what `WHITELIST` has, without a warning.

    A process that is started for a job enters it anew.
    """
    whitelist = getattr(hydra.utils, "execution_whitelist", None)
    return nullcontext() if whitelist is None else whitelist(WHITELIST)


def register_resolver(name: str, resolver: Callable[..., Any], *, cached: bool) -> None:
    """Let `${NAME:...}` stand for what `resolver` returns; `cached`: it is called only once."""
    register = getattr(OmegaConf, "register_resolver", OmegaConf.register_new_resolver)
    if not _BASE:
        register(name, resolver, use_cache=cached, replace=True)
    else:
        OmegaConf.register_new_resolver(name, resolver, use_cache=cached, replace=True)


def find_plugins() -> None:
    """Import Hydra's plugins, and so register what configurations may refer to."""
    Plugins.instance()


@contextmanager
def _own_parts(loader: type[ConfigLoaderImpl]) -> Iterator[None]:
    """Let Hydra take `loader` for its own, and start jobs by `job_start.run_job`."""
    module: Any = hydra_application
    before = module.ConfigLoaderImpl, module.run_job
    module.ConfigLoaderImpl, module.run_job = loader, run_job
    try:
        yield
    finally:
        module.ConfigLoaderImpl, module.run_job = before


@contextmanager
def _raising() -> Iterator[None]:
    """Let Hydra raise errors; the environment is afterwards as it was."""
    before = os.environ.get(FULL_ERROR)
    os.environ[FULL_ERROR] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[FULL_ERROR]
        else:
            os.environ[FULL_ERROR] = before
