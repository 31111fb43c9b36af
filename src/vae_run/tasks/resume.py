"""`task=resume`: continue an interrupted run exactly where it stood, or extend a finished one."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vae_run.config.check import check
from vae_run.config.invocation import Call
from vae_run.config.schema import Resume, Settings
from vae_run.data.splits import Splits
from vae_run.errors import DivergedError, Interrupted
from vae_run.runs import checkpoint_file, data_location
from vae_run.runs.identity import PLACES, Effect, keys_with, place_keys
from vae_run.runs.load import load_weights, refuse_other_model
from vae_run.runs.run_directory import RunDirectory
from vae_run.runs.run_log import logged
from vae_run.runs.status import write_status
from vae_run.system import ranks
from vae_run.system.signals import StopRequests
from vae_run.tasks.train import Training, prepare, warm_start
from vae_run.tracking.confirmation import confirmed
from vae_run.tracking.fan_out import tracked
from vae_run.tracking.hyperparameters import hyperparameters
from vae_run.training import distributed
from vae_run.training.experiment import Experiment
from vae_run.training.memory_guard import enough_memory
from vae_run.training.progress import Progress

log = logging.getLogger("vae_run")

ALLOWED = (*keys_with(Effect.LENGTH), "tracker", "device", *PLACES)
WHY = (
    "task=resume goes on with the run as it was configured; only "
    f"{', '.join(ALLOWED)} may change. Start a new run with init_from=DIR to change more."
)


def main(call: Call) -> None:
    """Resume the run that `run` names."""
    run = RunDirectory.existing(call.settings.of(Resume).run)
    go_on(RunDirectory(ranks.seen_by_this(run.path)), call)


def go_on(run: RunDirectory, call: Call) -> None:
    """Continue `run` from its last checkpoint; nothing is done if it is complete."""
    with (
        distributed.joined(call.settings),
        StopRequests() as stop,
        continued(run, call) as training,
    ):
        if training is not None:
            training.finish(stop)


def has_checkpoint(run: RunDirectory) -> bool:
    """Whether a job of a sweep in `run` goes on; without a checkpoint it starts from the beginning.

    A kill while a checkpoint was written can have left `previous.pt` alone.
    """
    return run.last.is_file() or run.previous.is_file()


@contextmanager
def continued(
    run: RunDirectory, call: Call, splits: Splits | None = None
) -> Iterator[Training | None]:
    """`run` at its newest undamaged checkpoint, ready to train; None if it is complete.

    A run that was stopped before its first checkpoint starts from the beginning. Its `status.json`
    records how this ends. `splits` are the data, if they are loaded already.
    """
    with run.locked(), logged(run.path):
        saved, file = run.newest() or (None, run.last)
        config, progress, places = extended(run, call, saved, file)
        settings = check(config, trust=call.settings.fixed.trust)
        if saved is not None:
            refuse_other_model(settings, saved, file)
        own = confirmed(run.path, settings.build("tracker"), call.settings.build("tracker"))
        over = None if saved is None else settings.build("trainer").why_over(progress)
        if over is not None and run.read_status().get("state") == "completed":
            log.info("%s: %s", run.path, nothing_to_do(over, progress, settings))
            yield None
            return
        with completed_unless_begun(run), run.recorded(), enough_memory(settings):
            for line in () if places else data_location.told(run.config(), run.path):
                log.info("%s", line)
            experiment = prepare(settings, run, splits)
            if places:
                data_location.record(run.path, places)
            restore(experiment, run, saved, file)
            step = progress.step if saved is not None or run.has_history() else None
            with tracked(run.path, own, step) as tracker:
                told = {**config, "dataset": run.config()["dataset"]}
                tracker.hparams(hyperparameters(told, run.choices()))
                yield Training(experiment, run, tracker, saved)


def extended(
    run: RunDirectory, call: Call, saved: Mapping[str, Any] | None, file: Path
) -> tuple[dict[str, Any], Progress, dict[str, Any]]:
    """How `run` goes on from the checkpoint `saved`, read from `file`.

    Returns:
        Its configuration, with what `call` changes; where it stands; and what `call` says of where
        its data lie.
    """
    config, progress = run.located(), Progress()
    if saved is not None:
        # What an earlier resume extended is in the checkpoint: `.hydra/` stays as it was.
        with checkpoint_file.understood(file):
            config["trainer"] = {**config["trainer"], **saved["trainer"]}
            progress = Progress(**saved["progress"])
    places = newly_typed(call, config["dataset"])
    if call.settings.fixed.task == "resume":
        allowed = (*ALLOWED, *place_keys(config["dataset"]))
        config = call.on_top_of(config, allowed=allowed, why=WHY, before=run.choices())
    else:  # a job of a sweep
        config["dataset"] = {**config["dataset"], **places}
        config["tracker"] = call.settings.raw["tracker"]
    return config, progress, places


def newly_typed(call: Call, dataset: Mapping[str, Any]) -> dict[str, Any]:
    """What `call` says of where the data lie, where that is not what `dataset` has."""
    typed = call.settings.raw["dataset"]
    wanted = place_keys(dataset)
    names = {key.removeprefix("dataset.") for key in call.typed_keys if key in wanted}
    return {
        name: typed[name] for name in sorted(names & set(typed)) if typed[name] != dataset.get(name)
    }


def nothing_to_do(over: str, progress: Progress, settings: Settings) -> str:
    """Why a completed run does not go on, and which key lets it.

    Args:
        over: why it is over, as the trainer says it.
        progress: where it stands.
        settings: with what was typed.
    """
    where = f"is complete at epoch {progress.epoch:.4g}; nothing to do. "
    if over != "finished":
        key = next(key for key in keys_with(Effect.LENGTH) if key in over)
        return f"{where}What ended it: {over}. It goes on with a greater {key}, or {key}=null."
    steps = settings.parts["trainer"].get("steps") is not None
    return f"{where}Extend it with trainer.{'steps' if steps else 'epochs'}=N."


@contextmanager
def completed_unless_begun(run: RunDirectory) -> Iterator[None]:
    """Leave the status of a completed run as it was if resuming it fails before its first step."""
    before = run.read_status()
    try:
        yield
    except Exception as error:
        failed = not isinstance(error, (Interrupted, DivergedError))
        if failed and before.get("state") == "completed" and not run.stepped:
            write_status(run.path, before)
        raise


def restore(
    experiment: Experiment, run: RunDirectory, saved: Mapping[str, Any] | None, file: Path
) -> None:
    """Load the weights of the checkpoint `saved`, read from `file`, into the experiment's model."""
    if saved is None:
        log.info("%s: was stopped before its first checkpoint; from the beginning", run.path)
        if experiment.settings.fixed.init_from is not None:
            warm_start(experiment, experiment.settings.fixed.init_from)
        return
    with checkpoint_file.understood(file):
        load_weights(experiment.model, saved["model"], file)
        log.info("%s: goes on at epoch %.4g, step %d", run.path, saved["epoch"], saved["step"])
