"""Calls of tasks made inside a Python program: composed and checked as the command line does.

Hydra keeps its state in singletons, and OmegaConf its resolvers in a class. A program may use both
for itself, so they are put back when a call has been composed.
"""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.singleton import Singleton
from hydra.core.utils import JobRuntime, setup_globals
from hydra.errors import HydraException
from hydra.types import RunMode
from hydra.version import VersionBase
from omegaconf import DictConfig, open_dict, read_write
from omegaconf.basecontainer import BaseContainer
from omegaconf.errors import OmegaConfBaseException

from vae_run.cli.callbacks import admit, remove_empty
from vae_run.cli.composition import of_the_run, plain, words_of
from vae_run.cli.exit_codes import message
from vae_run.cli.hydra_api import (
    ConfigLoaderImpl,
    apply_overrides,
    create_config_search_path,
    get_overrides_dirname,
    set_version_base,
)
from vae_run.cli.job_start import save_configuration
from vae_run.cli.resolvers import register_resolvers
from vae_run.cli.words import understood
from vae_run.config.commands import override
from vae_run.config.options import CONF, refuse_none
from vae_run.errors import ConfigError, RunError, explain_os_error
from vae_run.system import ranks

if TYPE_CHECKING:
    from vae_run.config.invocation import Call

_LOCK = threading.RLock()
"""Held while the state that Hydra keeps for the whole process is that of one call."""

_STATE = (GlobalHydra, HydraConfig, JobRuntime, VersionBase)
"""Singletons with a program's state; others hold what was found on the Python path, for all."""

_OWN_SOURCES = {("file", str(CONF)), ("pkg", "hydra.conf"), ("structured", "")}
"""The scheme and path of the sources of files that vae-run and Hydra come with."""

_MOST_KEPT = 64
_KEPT: dict[tuple[str, ...], tuple[object, bytes]] = {}
"""By the words that choose options: the stamp of `CONF`, and what was composed of them."""


@contextmanager
def own_hydra() -> Iterator[None]:
    """Let this thread have Hydra's state for itself inside; afterwards it is what it was."""
    with _LOCK:
        instances, resolvers = dict(Singleton._instances), dict(BaseContainer._resolvers)
        for kind in _STATE:
            Singleton._instances.pop(kind, None)
        try:
            yield
        finally:
            for kind in _STATE:
                Singleton._instances.pop(kind, None)
                if kind in instances:
                    Singleton._instances[kind] = instances[kind]
            BaseContainer._resolvers.clear()
            BaseContainer._resolvers.update(resolvers)


@contextmanager
def own_errors() -> Iterator[None]:
    """Raise errors of Hydra, of OmegaConf and of files as those of vae-run.

    Raises:
        RunError: what is wrong, in one message.
    """
    try:
        yield
    except RunError:
        raise
    except (OmegaConfBaseException, HydraException) as error:
        raise ConfigError(message(error)) from None
    except OSError as error:
        if error.filename is None:
            raise
        raise RunError(explain_os_error(error)) from None


@dataclass(frozen=True)
class Prepared:
    """A call that may be made.

    Attributes:
        call: what the task is given.
        made: the directories that were made for it, the innermost first.
    """

    call: Call
    made: Sequence[Path]

    def tidy(self) -> None:
        """Remove the directories of a start that failed before its first step."""
        remove_empty(self.made)


def prepared(words: Sequence[str]) -> Prepared:
    """The call of the task that the overrides `words` choose, as in a command line without -m.

    Raises:
        RunError: a word, or what they compose, is wrong; nothing was made.
    """
    with own_errors(), own_hydra():
        typed = understood(words, multirun=False)
        refuse_none(typed, [CONF])
        of_one = {"task=evaluate", "task=resume"} & set(typed)
        taken = of_the_run(typed) if of_one else []
        elsewhere = [] if ranks.leads() else [override("hydra.run.dir", ranks.scratch() / "run")]
        setup_globals()
        set_version_base()
        register_resolvers()
        config = _composed([*taken, *typed, *elsewhere])
        made = admit(config)
        return Prepared(_call(config, typed), made)


def _composed(words: Sequence[str]) -> DictConfig:
    """The configuration of one job, with Hydra's own section: what Hydra composes of `words`.

    Hydra reads and merges 30 files, which takes longer than many a small training. That of earlier
    calls with the same options is kept, and the values are set in a copy, as Hydra sets them. With
    folders of the user's own, Hydra composes all words, since any of them may choose a file there.
    """
    parsed: list[Override] = OverridesParser.create().parse_overrides(list(words))
    ConfigLoaderImpl.validate_sweep_overrides_legal(parsed, RunMode.RUN, from_shell=True)
    searched = any(_key(word).startswith("hydra.searchpath") for word in parsed)
    choosing = [searched or _chooses(word) for word in parsed]
    chosen = [str(w.input_line) for w, chooses in zip(parsed, choosing, strict=True) if chooses]
    config: DictConfig = pickle.loads(_of_options(tuple(chosen)))  # noqa: S301 - our own bytes
    values = [word for word, chooses in zip(parsed, choosing, strict=True) if not chooses]
    apply_overrides(config, values)
    of_hydra = [word.input_line for word in parsed if word.is_hydra_override()]
    own = [word for word in parsed if not word.is_hydra_override()]
    with read_write(config), read_write(config.hydra):
        config.hydra.overrides.hydra = of_hydra
        config.hydra.overrides.task = [word.input_line for word in own]
        config.hydra.runtime.cwd = os.getcwd()
        config.hydra.job.override_dirname = get_overrides_dirname(
            own, **config.hydra.job.config.override_dirname
        )
        config.hydra.mode = RunMode.RUN
    HydraConfig.instance().set_config(config)
    return config


def _key(word: Override) -> str:
    return str(word.key_or_group)


def _chooses(word: Override) -> bool:
    """Whether it can choose a file, or say where files are, and does not only set a value."""
    key = _key(word)
    of_hydra = key.startswith("hydra") and key != "hydra.run.dir"
    return word.package is not None or of_hydra or "/" in key or (CONF / key).is_dir()


def _of_options(chosen: tuple[str, ...]) -> bytes:
    """What Hydra composes of the words `chosen`, pickled.

    It is kept only where every file is vae-run's or Hydra's own, and until a file of `CONF`
    changes: those of another folder may be edited, or a relative path may come to mean another.
    """
    stamp = _stamp()
    if (kept := _KEPT.get(chosen)) is not None and kept[0] == stamp:
        return kept[1]
    loader = ConfigLoaderImpl(config_search_path=create_config_search_path(str(CONF)))
    JobRuntime.instance().set("name", "vae-run")
    config = loader.load_configuration("config", list(chosen), RunMode.RUN)
    found = pickle.dumps(config)
    sources = {(str(each.schema), str(each.path)) for each in config.hydra.runtime.config_sources}
    if sources <= _OWN_SOURCES:
        if len(_KEPT) >= _MOST_KEPT:
            _KEPT.pop(next(iter(_KEPT)), None)
        _KEPT[chosen] = stamp, found
    return found


def _stamp() -> tuple[tuple[str, int, int], ...]:
    """The path, time of change and size of every file of `CONF`."""
    found = []
    for folder, _, files in os.walk(CONF):
        for name in files:
            state = os.stat(os.path.join(folder, name))
            found.append((os.path.join(folder, name), state.st_mtime_ns, state.st_size))
    return tuple(sorted(found))


def _call(config: DictConfig, typed: Sequence[str]) -> Call:
    """What the task is given; the composed configuration of a training is saved in its run."""
    from vae_run.config.check import check
    from vae_run.config.invocation import Call

    directory = Path(os.path.abspath(str(config.hydra.run.dir)))
    with read_write(config.hydra.runtime), open_dict(config.hydra.runtime):
        config.hydra.runtime.output_dir = str(directory)
    choices: dict[Any, Any] = dict(config.hydra.runtime.choices)
    if config.task == "train":
        save_configuration(config, directory / ".hydra")
    return Call(
        check(plain(config)),
        directory,
        [word for word in words_of(config.hydra.overrides.task) if word in typed],
        {str(k): v for k, v in choices.items() if isinstance(v, str)},
    )
