"""The gate: a wrong configuration is refused before Hydra makes a directory for it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from vae_run.cli.composition import (
    plain,
    put_home_for_tilde,
    refuse_merged_trackers,
    refuse_without_package,
    words_of,
)
from vae_run.cli.exit_codes import Outcome, ending
from vae_run.cli.job_start import refuse_large
from vae_run.config.commands import command, override
from vae_run.errors import ConfigError, explain_os_error
from vae_run.system.places import try_place

_SMALL = 20_000
"""Characters of a configuration whose size need not be looked at more closely."""


class Gate(Callback):
    """A Hydra callback, named in `conf/config.yaml`, that checks a configuration before its job.

    Hydra turns an exception of a callback into a warning, so a refusal ends the process instead.
    """

    def __init__(self) -> None:
        self._made: list[Path] = []

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        with ending():
            self._made = admit(config)
            be_quiet(config.quiet)
            if config.task == "train":
                _mention_sweep(config)

    def on_run_end(self, config: DictConfig, **kwargs: Any) -> None:
        remove_empty(self._made)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        with ending():
            put_home_for_tilde(config)
            refuse_without_package(config)
            refuse_merged_trackers(config)
            be_quiet(config.quiet is True)
            Outcome.directory = Path(config.hydra.sweep.dir)


def be_quiet(quiet: bool) -> None:
    """Print only warnings and errors, or everything."""
    from vae_run.system import console

    console.be_quiet(quiet)


def admit(config: DictConfig) -> list[Path]:
    """Check the composed `config` of one job; for a training, make its run directory.

    Returns:
        The directories that were not there before, the innermost first.

    Raises:
        RunError: the configuration is wrong, or the run directory cannot be made.
    """
    put_home_for_tilde(config)
    refuse_without_package(config)
    refuse_merged_trackers(config)
    large = _check(config)
    _refuse_unknown_of_hydra(words_of(config.hydra.overrides.hydra))
    if config.task != "train":
        return []
    refuse_unknown_source(config.init_from)
    if large:
        refuse_large(config)
    return _claim(Path(config.hydra.run.dir), "hydra.run.dir")


def remove_empty(made: Iterable[Path]) -> None:
    """Remove those of the directories `made` that are empty: a start failed before its first step.

    Args:
        made: as `admit` returns them.
    """
    for directory in made:
        with suppress(OSError):
            directory.rmdir()


def _check(config: DictConfig) -> bool:
    """Check the values; True: they may be too many for the files of a run."""
    from vae_run.config.check import check
    from vae_run.system.device import choose_device
    from vae_run.training.distributed import refuse

    settings = check(content := plain(config))
    refuse(settings)
    choose_device(settings.fixed.device)
    return len(repr(content)) > _SMALL


def _refuse_unknown_of_hydra(overrides: list[str]) -> None:
    """Refuse a `+hydra.KEY` that Hydra does not have: with the plus Hydra accepts any."""
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


def _claim(directory: Path, key: str) -> list[Path]:
    """Make the run directory `directory`; refuse one that another run has, or has just claimed.

    One whose start was killed before its run was recorded is taken over.

    Returns:
        The directories that were not there before, the innermost first.
    """
    from vae_run.runs.claim import claim

    try:
        made = [path for path in (directory, *directory.parents) if not path.exists()]
        if (directory / "status.json").exists():
            raise FileExistsError
        try_place(directory / "status.json")
        directory.mkdir(parents=True, exist_ok=True)
        claim(directory)
        return [path.absolute() for path in made]
    except FileExistsError as error:
        if directory.is_file():
            raise ConfigError(f"{key}: {directory} is a file. Choose another directory.") from error
        again = command("task=resume", override("run", directory))
        raise ConfigError(
            f"{key}: {directory} already holds a run. Choose another directory, or go on with it: "
            f"{again}"
        ) from error
    except OSError as error:
        raise ConfigError(f"{key}: {explain_os_error(error)}") from error


def refuse_unknown_source(run: str | None) -> None:
    """Refuse an `init_from` that is no run.

    Raises:
        CheckpointError: there is no run directory at `run`.
    """
    if run is not None:
        from vae_run.runs.run_directory import RunDirectory

        RunDirectory.existing(run, key="init_from")


def _mention_sweep(config: DictConfig) -> None:
    """Print what an experiment that is a sweep would sweep, when it is run without -m."""
    params = config.hydra.sweeper.get("params") or {}
    if params:
        swept = ", ".join(f"{key}={values}" for key, values in params.items())
        from vae_run.system.console import console

        console.print(f"One run; with -m this experiment is a sweep of {swept}.")
