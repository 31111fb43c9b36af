"""The command line: Hydra composes, the gate checks, a task runs.

The only module that imports Hydra. torch comes with the task, so `--help` and `--cfg` stay quick.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from vae_run.errors import ConfigError, Interrupted, RunError

# Read when torch is imported. GNU OpenMP's threads spin for a millisecond before they sleep, which
# makes small products many times slower as soon as another process wants a core, as in a sweep or
# on a shared machine; at once asleep, they make them slower everywhere. Microseconds cost neither.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

HERE = Path(__file__).parent
CONF = HERE / "conf" if (HERE / "conf").is_dir() else HERE.parents[1] / "conf"
"""The configuration folder: beside the module when installed, the checkout's otherwise."""

WANTS_TRACEBACK = os.environ.get("HYDRA_FULL_ERROR") == "1"


class _Outcome:
    """How the jobs of this process ended; Hydra hands no return value back."""

    exit_code = 0
    sweep: Path | None = None
    typed: tuple[str, ...] = ()


def main() -> None:
    """Run the command line and exit with the code of `interface`: 0, 1, 3, 4, 130 or 143."""
    if {"--help", "-h"} & set(sys.argv[1:]):  # Hydra would read every option's file first
        print(help_text())
        return
    _register_resolvers()
    _Outcome.typed = tuple(sys.argv[1:])
    sys.argv = [sys.argv[0], *_of_the_run(sys.argv[1:]), *sys.argv[1:]]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises, and `_explain` tells
    application = hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(_job)
    with _told():
        try:
            application()
        finally:
            if _Outcome.sweep is not None:
                from vae_run.sweeps import summarise

                summarise(_Outcome.sweep)
    sys.exit(_Outcome.exit_code)


def _of_the_run(typed: list[str]) -> list[str]:
    """What `task=evaluate run=DIR` takes over from the run for typed keys of its parts to exist.

    `corruption.level=0.5` is a key of the corruption that the run was trained with, not of the
    default one: the run's choice in that group, and what was typed of it then, come first.
    """
    keys = {word.split("=", 1)[0].lstrip("+~") for word in typed}
    runs = [word.split("=", 1)[1] for word in typed if word.startswith("run=")]
    groups = [
        group
        for group in ("dataset", "corruption")
        if group not in keys and any(key.startswith(f"{group}.") for key in keys)
    ]
    if "task=evaluate" not in typed or len(runs) != 1 or not groups:
        return []
    saved = Path(runs[0].strip("'\"")) / ".hydra"
    try:
        choices = OmegaConf.select(OmegaConf.load(saved / "hydra.yaml"), "hydra.runtime.choices")
        before = [str(word) for word in OmegaConf.load(saved / "overrides.yaml")]
    except (OSError, ValueError, OmegaConfBaseException):
        return []  # the task says what is wrong with the run
    taken = [f"{group}={choices[group]}" for group in groups]
    for word in before:
        key = word.split("=", 1)[0].lstrip("+~")
        if key.split(".")[0] in groups and "." in key and key not in keys:
            taken.append(word)
    return taken


def help_text() -> str:
    """What `vae-run --help` prints."""
    from vae_run.help import text

    return text(CONF)


def _register_resolvers() -> None:
    def sweep_dir(given: str | None) -> str:
        from datetime import datetime

        return given or f"outputs/{datetime.now():%Y-%m-%d}/{datetime.now():%H-%M-%S}-sweep-{token}"

    def job_dir(number: int | str, overrides: str) -> str:
        readable = re.sub(r"[^\w.=,+-]+", "_", overrides)[:100].strip("_,")
        return f"{int(number):03d}-{readable}" if readable else f"{int(number):03d}"

    token = secrets.token_hex(3)
    for name, resolver in (
        ("unique", lambda: token),
        ("sweep_dir", sweep_dir),
        ("job_dir", job_dir),
        ("help", help_text),
    ):
        cached = name == "sweep_dir"
        OmegaConf.register_new_resolver(f"vae_run.{name}", resolver, use_cache=cached, replace=True)


def _plain(config: DictConfig) -> dict[str, Any]:
    """The job's configuration as plain values, without Hydra's own."""
    job = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    try:
        plain = OmegaConf.to_container(job, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        key = str(error.full_key or error).split(": ")[-1]
        raise ConfigError(f"{key}: a value is needed; say {key}=...") from error
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


class Gate(Callback):
    """Refuses a wrong configuration before Hydra makes a directory for it."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        with _told():
            _check(config)
            if config.task == "train":
                _refuse_used(Path(config.hydra.run.dir), "hydra.run.dir")
                _refuse_unknown_source(config.init_from)
                _tell_of_sweep(config)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        with _told():
            if config.task != "train":
                raise ConfigError(f"task: found {config.task}, but a sweep (-m) is of task=train.")
            folder = Path(config.hydra.sweep.dir)
            if folder.is_dir() and any(folder.iterdir()):
                raise ConfigError(
                    f"sweep.dir: {folder} is not empty. Choose a new folder for the sweep."
                )
            for job in _jobs(config):
                _check(job)
            _Outcome.sweep = folder


def _jobs(config: DictConfig) -> Iterator[DictConfig]:
    """The configuration of every job of a multirun with Hydra's own sweeper."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser

    if "BasicSweeper" not in config.hydra.sweeper._target_:
        return
    own = [f"{key}={values}" for key, values in (config.hydra.sweeper.params or {}).items()]
    typed = OverridesParser.create().parse_overrides([*own, *config.hydra.overrides.task])
    for batch in BasicSweeper.split_arguments(typed, max_batch_size=None):
        for overrides in batch:
            yield hydra.compose("config", list(overrides))


def _tell_of_sweep(config: DictConfig) -> None:
    """Say what an experiment that is a sweep would sweep, when it is run without -m."""
    params = config.hydra.sweeper.get("params") or {}
    if params:
        swept = ", ".join(f"{key}={values}" for key, values in params.items())
        print(f"One run; with -m this experiment is a sweep of {swept}.")


def _check(config: DictConfig) -> None:
    from vae_run.config import check
    from vae_run.experiment import choose_device

    choose_device(check(_plain(config)).fixed.device)


def _refuse_used(directory: Path, key: str) -> None:
    if (directory / ".hydra").exists() or (directory / "status.json").exists():
        raise ConfigError(
            f"{key}: {directory} already holds a run. Choose another directory, or go on with it: "
            f"vae-run task=resume 'run={directory}'"
        )


def _refuse_unknown_source(run: str | None) -> None:
    if run is not None:
        from vae_run.runs import RunDirectory

        RunDirectory.existing(run, key="init_from")


def _job(config: DictConfig) -> None:
    """One job: run its task, and keep its exit code. A failed job does not end a sweep."""
    from vae_run.call import Call
    from vae_run.config import check
    from vae_run.terminal import log, say_on_terminal

    context = HydraConfig.get()
    say_on_terminal()
    try:
        settings = check(_plain(config))
        call = Call(
            settings,
            Path(context.runtime.output_dir),
            [word for word in context.overrides.task if _was_typed(word)],
            {str(k): v for k, v in context.runtime.choices.items() if isinstance(v, str)},
        )
        import_module(f"vae_run.tasks.{settings.fixed.task}").main(call)
    except Exception as error:
        if WANTS_TRACEBACK:
            traceback.print_exc()
        log.error("%s", _explain(error))
        _Outcome.exit_code = max(_Outcome.exit_code, _code(error))
        if isinstance(error, Interrupted):
            raise SystemExit(error.exit_code) from error


def _was_typed(word: str) -> bool:
    """Whether an override of this job is not one that `_of_the_run` added."""
    return _Outcome.sweep is not None or word in _Outcome.typed


@contextmanager
def _told() -> Iterator[None]:
    """Turn an exception into one message on stderr and an exit code."""
    try:
        yield
    except Exception as error:
        if WANTS_TRACEBACK:
            traceback.print_exc()
        print(f"error: {_explain(error)}", file=sys.stderr)
        raise SystemExit(_code(error)) from error


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
        from vae_run.composition import explain

        return explain(error, CONF)
    return f"{type(error).__name__}: {error}\nSet HYDRA_FULL_ERROR=1 for the traceback."
