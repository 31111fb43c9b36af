"""The command line: Hydra composes, the gate checks, a task runs.

The only module that imports Hydra. torch comes with the task, so `--help` and `--cfg` stay quick.
"""

from __future__ import annotations

import os
import secrets
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from vae_run.config.options import folders, refuse_none
from vae_run.errors import ConfigError, Interrupted, RunError, explain_os_error
from vae_run.system import ranks

if TYPE_CHECKING:
    from vae_run.config.invocation import Call


PACKAGE = Path(__file__).parents[1]
CONF = PACKAGE / "conf" if (PACKAGE / "conf").is_dir() else PACKAGE.parents[1] / "conf"
"""The configuration folder: beside the module when installed, the checkout's otherwise."""

WANTS_TRACEBACK = os.environ.get("HYDRA_FULL_ERROR") == "1"


class Outcome:
    """How the jobs of this process ended; Hydra hands no return value back."""

    exit_code = 0
    typed: tuple[str, ...] = ()


def main() -> None:
    """Run the command line and exit with the code of `interface`: 0, 1, 3, 4, 130 or 143."""
    if {"--help", "-h"} & set(sys.argv[1:]):  # Hydra would read every option's file first
        print(help_text())
        return
    register_resolvers()
    Outcome.exit_code, Outcome.typed = 0, tuple(sys.argv[1:])
    if "task=evaluate" in Outcome.typed:
        from vae_run.cli.composition import of_the_run

        sys.argv = [sys.argv[0], *of_the_run(sys.argv[1:]), *sys.argv[1:]]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises, and `_explain` tells
    application = hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(_job)
    with told():
        if {"--multirun", "-m"} & set(Outcome.typed):
            ranks.refuse_several("--multirun")
        refuse_none(Outcome.typed, folders(CONF, Outcome.typed))
        sys.argv = [*sys.argv, *ranks.followers_words()]
        application()
    sys.exit(Outcome.exit_code)


def help_text() -> str:
    """What `vae-run --help` prints."""
    from vae_run.cli.help import text

    return text(CONF)


def register_resolvers() -> None:
    """What `${vae_run.NAME:}` means in the configuration files."""

    def sweep_dir(given: str | None) -> str:
        from datetime import datetime

        return given or f"outputs/{datetime.now():%Y-%m-%d}/{datetime.now():%H-%M-%S}-sweep-{token}"

    token = secrets.token_hex(3)
    for name, resolver in (
        ("unique", lambda: token),
        ("sweep_dir", sweep_dir),
        ("help", help_text),
    ):
        cached = name == "sweep_dir"
        OmegaConf.register_new_resolver(f"vae_run.{name}", resolver, use_cache=cached, replace=True)


def find_plugins() -> None:
    """Import Hydra's plugins now; later it takes no time."""
    from hydra.core.plugins import Plugins

    Plugins.instance()


def plain(config: DictConfig) -> dict[str, Any]:
    """The job's configuration as plain values, without Hydra's own.

    Raises:
        ConfigError: a value is missing.
    """
    job = config
    if "hydra" in config:
        job = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    try:
        values = OmegaConf.to_container(job, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        key = str(error.full_key or error).split(": ")[-1]
        raise ConfigError(f"{key}: a value is needed; say {key}=...") from error
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


class Gate(Callback):
    """Refuses a wrong configuration before Hydra makes a directory for it."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        with told():
            _check(config)
            _refuse_unknown_of_hydra(config.hydra.overrides.hydra)
            if config.task == "train":
                refuse_unknown_source(config.init_from)
                _claim(Path(config.hydra.run.dir), "hydra.run.dir")
                _tell_of_sweep(config)


def _tell_of_sweep(config: DictConfig) -> None:
    """Say what an experiment that is a sweep would sweep, when it is run without -m."""
    params = config.hydra.sweeper.get("params") or {}
    if params:
        swept = ", ".join(f"{key}={values}" for key, values in params.items())
        print(f"One run; with -m this experiment is a sweep of {swept}.")


def _check(config: DictConfig) -> None:
    from vae_run.config.check import check
    from vae_run.system.device import choose_device
    from vae_run.training.distributed import refuse

    settings = check(plain(config))
    refuse(settings)
    choose_device(settings.fixed.device)


def _refuse_unknown_of_hydra(overrides: list[str]) -> None:
    """Refuse a `+hydra.KEY` that Hydra does not have: with the plus it accepts any."""
    from dataclasses import fields

    from hydra.conf import HydraConf, JobConf, RunDir, SweepDir

    from vae_run.config.keys import unknown_key

    sections = {"job": JobConf, "run": RunDir, "sweep": SweepDir}
    for word in overrides:
        _, first, *rest = [*word.lstrip("+~").split("=", 1)[0].split("."), ""]
        for names, kind in (((first,), HydraConf), ((first, *rest[:1]), sections.get(first))):
            known = [] if kind is None else [field.name for field in fields(kind)]
            if known and names[-1] and names[-1] not in known and "/" not in word.split("=", 1)[0]:
                prefix = ".".join(("hydra", *names[:-1]))
                raise ConfigError(
                    unknown_key(f"{prefix}.{names[-1]}", [f"{prefix}.{name}" for name in known])
                )


def _claim(directory: Path, key: str) -> None:
    """Make the run directory `directory`, which no other run has, and none started just now."""
    try:
        if (directory / "status.json").exists():
            raise FileExistsError
        directory.mkdir(parents=True, exist_ok=True)
        (directory / ".hydra").mkdir()
    except FileExistsError as error:
        if directory.is_file():
            raise ConfigError(f"{key}: {directory} is a file. Choose another directory.") from error
        raise ConfigError(
            f"{key}: {directory} already holds a run. Choose another directory, or go on with it: "
            f"vae-run task=resume 'run={directory}'"
        ) from error
    except OSError as error:
        raise ConfigError(f"{key}: {explain_os_error(error)}") from error


def refuse_unknown_source(run: str | None) -> None:
    """Refuse an `init_from` that is no run."""
    if run is not None:
        from vae_run.runs.run_directory import RunDirectory

        RunDirectory.existing(run, key="init_from")


def _job(config: DictConfig) -> None:
    """One job: run its task, and keep its exit code. A failed job does not end a sweep."""
    from vae_run.system.console import say_on_terminal

    say_on_terminal()
    try:
        call = call_of(config)
        task = "job" if _is_swept() else call.settings.fixed.task
        program = import_module(f"vae_run.tasks.{task}")
        program.main(call)
    except Exception as error:
        tell(error)
        if isinstance(error, Interrupted):
            raise SystemExit(error.exit_code) from error


def call_of(config: DictConfig) -> Call:
    """What the job that Hydra is at, of the configuration `config`, asks of its task."""
    from vae_run.config.check import check
    from vae_run.config.invocation import Call

    context = HydraConfig.get()
    return Call(
        check(plain(config)),
        Path(context.runtime.output_dir),
        [word for word in context.overrides.task if _was_typed(word)],
        {str(k): v for k, v in context.runtime.choices.items() if isinstance(v, str)},
    )


def tell(error: Exception) -> int:
    """Say what a job ended with; its exit code, which is also kept."""
    from vae_run.system.console import log

    if WANTS_TRACEBACK:
        traceback.print_exception(error)
    log.error("%s", _explain(error))
    Outcome.exit_code = max(Outcome.exit_code, _code(error))
    return _code(error)


def _is_swept() -> bool:
    return bool(HydraConfig.get().mode == RunMode.MULTIRUN)


def _was_typed(word: str) -> bool:
    """Whether an override of this job is not one that `of_the_run` added."""
    return _is_swept() or word in Outcome.typed


@contextmanager
def told() -> Iterator[None]:
    """Turn an exception into one message on stderr and an exit code."""
    try:
        yield
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    except Exception as error:
        if WANTS_TRACEBACK:
            traceback.print_exc()
        # Hydra wraps what a launcher or a sweeper refuses.
        own = error.__cause__ if isinstance(error.__cause__, RunError) else error
        if ranks.leads():
            print(f"error: {_explain(own)}", file=sys.stderr)
        raise SystemExit(_code(own)) from error


def _code(error: Exception) -> int:
    return error.exit_code if isinstance(error, RunError) else 1


def _explain(error: Exception) -> str:
    """One message for a person."""
    if isinstance(error, RunError):
        return str(error)
    if isinstance(error, hydra.errors.OverrideParseException):
        return (
            f"{error.override}: this cannot be read as KEY=VALUE. Quote a value with brackets, "
            "spaces, * or =, and close its brackets: 'network.widths=[400,200]'."
        )
    if isinstance(error, (OmegaConfBaseException, hydra.errors.HydraException)):
        from vae_run.cli.composition import explain

        return explain(error, CONF)
    if isinstance(error, OSError) and error.filename is not None:
        return explain_os_error(error)
    return f"{type(error).__name__}: {error}\nSet HYDRA_FULL_ERROR=1 for the traceback."
