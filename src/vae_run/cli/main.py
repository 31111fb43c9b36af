"""The command line: Hydra composes a configuration, the gate checks it, and a task runs.

torch is imported with the task, so that `--help` and `--cfg` are quick.
"""

from __future__ import annotations

import gc
import os
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from vae_run.cli import hydra_api
from vae_run.cli.composition import of_the_run, plain, words_of
from vae_run.cli.exit_codes import Outcome, ending, report_error
from vae_run.cli.loaders import RunLoader, SweepLoader
from vae_run.cli.machine_report import told_to_programs
from vae_run.cli.resolvers import register_resolvers
from vae_run.cli.shown import shows
from vae_run.config.commands import override
from vae_run.config.options import CONF, folders, refuse_none
from vae_run.errors import Interrupted, RunError
from vae_run.system import ranks
from vae_run.system.hardware import heed_quota
from vae_run.system.streams import lasting_streams

if TYPE_CHECKING:
    from vae_run.config.invocation import Call


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code: 0, 1, 2, 3, 4, or 128 + the signal.

    Args:
        words: what is typed after `vae-run`; None: what this process was started with.
    """
    typed = tuple(sys.argv[1:] if words is None else words)
    Outcome.begin()
    with lasting_streams(), own_backend(), told_to_programs(typed), ending():
        refuse_lost_folder()
        heed_quota()
        if typed[:1] == ("doctor",):
            from vae_run.cli.doctor import examine

            Outcome.exit_code = examine(typed[1:])
        elif not shows(asked := hydra_api.parse(typed), typed):
            _run(asked, typed)
    sys.exit(Outcome.exit_code)


def _run(asked: Namespace, typed: Sequence[str]) -> None:
    """Run the task or the sweep that `asked`, read from the words `typed`, asks for."""
    register_resolvers()
    if asked.multirun:
        ranks.refuse_several("--multirun")
    Outcome.typed = tuple(asked.overrides)
    refuse_none(asked.overrides, folders(CONF, typed))
    of_one = {"task=evaluate", "task=resume"} & set(asked.overrides)
    taken = of_the_run(asked.overrides) if of_one else []
    elsewhere = [] if ranks.leads() else [override("hydra.run.dir", ranks.scratch() / "run")]
    asked.overrides = [*taken, *asked.overrides, *elsewhere]
    hydra_api.run(asked, _job, CONF, SweepLoader if asked.multirun else RunLoader)


def _job(config: DictConfig) -> None:
    """One job: run its task and keep its exit code. A job that fails does not end a sweep."""
    from vae_run.plots.backend import in_own_process
    from vae_run.system.console import say_on_terminal

    say_on_terminal()
    try:
        call = call_of(config)
        task = "sweep_job" if _is_swept() else call.settings.fixed.task
        if not _is_swept():
            own = getattr(call.settings.fixed, "run", None)
            Outcome.directory = call.directory if task == "train" else own and Path(own)
        program = import_module(f"vae_run.tasks.{task}")
        in_own_process()
        _leave_out_modules()
        from vae_run.system.denormals import denormals_flushed

        with denormals_flushed():
            program.main(call)
    except Exception as error:
        report_error(error)
        if isinstance(error, Interrupted):
            raise SystemExit(error.exit_code) from error


@cache
def _leave_out_modules() -> None:
    """Leave what is imported, half a million objects, out of every later garbage collection."""
    gc.freeze()


def call_of(config: DictConfig) -> Call:
    """What Hydra's present job, of the configuration `config`, hands to its task."""
    from vae_run.config.check import check
    from vae_run.config.invocation import Call

    context = HydraConfig.get()
    if context.job.chdir:  # Hydra has entered the run directory; paths mean what was typed
        os.chdir(context.runtime.cwd)
    return Call(
        check(plain(config)),
        Path(context.runtime.output_dir),
        [word for word in words_of(context.overrides.task) if _was_typed(word)],
        {str(k): v for k, v in context.runtime.choices.items() if isinstance(v, str)},
    )


@contextmanager
def own_backend() -> Iterator[None]:
    """Draw to files, whatever backend the environment names: a notebook's is not for processes."""
    before = os.environ.get("MPLBACKEND")
    os.environ["MPLBACKEND"] = "agg"
    try:
        yield
    finally:
        if before is None:
            del os.environ["MPLBACKEND"]
        else:
            os.environ["MPLBACKEND"] = before


def refuse_lost_folder() -> None:
    """Check that there is a working directory.

    Raises:
        RunError: it was removed while the shell was in it.
    """
    try:
        os.getcwd()
    except FileNotFoundError:
        raise RunError(
            "the working directory does not exist any more, and outputs and relative paths lie in "
            "it. Change to another folder with cd."
        ) from None


def _is_swept() -> bool:
    return bool(HydraConfig.get().mode == RunMode.MULTIRUN)


def _was_typed(word: str) -> bool:
    """Whether an override of this job was typed, and not added by `of_the_run`."""
    return _is_swept() or word in Outcome.typed
