"""`task=train`: train, evaluate the best checkpoint on val and test, draw pictures."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from vae_run.config.commands import shell_word
from vae_run.config.invocation import Call
from vae_run.config.schema import Settings
from vae_run.data.splits import Splits
from vae_run.errors import CheckpointError
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.models.networks import parameter_count
from vae_run.models.priors import Fitted
from vae_run.runs import checkpoint_file, claim
from vae_run.runs.data_record import changes, record_of
from vae_run.runs.environment import compiled_before
from vae_run.runs.failed_start import nothing_left
from vae_run.runs.load import load_weights
from vae_run.runs.run_directory import RunDirectory
from vae_run.runs.run_log import logged
from vae_run.runs.saved_yaml import yaml_text
from vae_run.system import ranks
from vae_run.system.device import choose_device
from vae_run.system.machine_lines import write_line
from vae_run.system.signals import StopRequests, at_once
from vae_run.tasks.final_evaluation import conclude
from vae_run.tasks.run_data import load, load_moved
from vae_run.tracking.confirmation import signed
from vae_run.tracking.fan_out import tracked
from vae_run.tracking.hyperparameters import hyperparameters
from vae_run.tracking.tracker import Tracker
from vae_run.training import distributed
from vae_run.training.experiment import Experiment, assemble
from vae_run.training.memory_guard import enough_memory
from vae_run.training.progress import Progress
from vae_run.training.threads import computing_with, threads_of

log = logging.getLogger("vae_run")


@dataclass(frozen=True)
class Training:
    """A run that is ready to train.

    Attributes:
        experiment: data, model and objective.
        run: its directory.
        tracker: what its records are sent to.
        saved: the content of the checkpoint that it continues from, or None.
    """

    experiment: Experiment
    run: RunDirectory
    tracker: Tracker
    saved: Mapping[str, Any] | None

    def finish(self, stop: StopRequests, *, draw: bool = True) -> None:
        """Train to the end, evaluate, and `draw` the pictures."""
        self.experiment.draws = draw
        progress = train(self.experiment, self.run, self.tracker, stop, self.saved)
        if not ranks.leads():
            return
        with at_once():
            conclude(self.experiment, self.run, self.tracker, progress, draw=draw)


def main(call: Call) -> None:
    """Train in `call.directory`, a new run directory."""
    with distributed.joined(call.settings), StopRequests() as stop, begun(call) as training:
        training.finish(stop)


@contextmanager
def begun(call: Call, splits: Splits | None = None) -> Iterator[Training]:
    """A new run in `call.directory`, ready to train; its `status.json` records how this ends.

    If it fails before its first step, it leaves nothing. `splits` are the data, if they are loaded
    already.
    """
    run, settings = RunDirectory(call.directory), call.settings
    before, own = os.listdir(run.path), settings.build("tracker")
    with (
        run.locked(),
        nothing_left(run, before),
        logged(run.path),
        signed(run.path, own),
        run.recorded(),
        enough_memory(settings),
        tracked(run.path, own) as tracker,
    ):
        claim.recorded(run.path)
        tracker.hparams(hyperparameters(settings.raw, call.choices))
        experiment = prepare(settings, run, splits)
        for note in experiment.splits.notes:
            log.info("%s", note)
        if settings.fixed.init_from is not None:
            warm_start(experiment, settings.fixed.init_from)
        tracker.text("config", f"```yaml\n{yaml_text(dict(settings.raw))}```")
        yield Training(experiment, run, tracker, None)


def prepare(settings: Settings, run: RunDirectory, splits: Splits | None = None) -> Experiment:
    """Load the data, build the parts, log their sizes, and write `environment.json`.

    Raises:
        CheckpointError: the run was begun with other data.
    """
    device = choose_device(settings.fixed.device)
    distributed.refuse(settings)
    own = (recorded := run.environment()).get("dataset_fingerprint")
    with at_once(), distributed.in_turn():
        if splits is None:
            splits = load_moved(settings, run) if own else load(settings)
        if own is not None:  # before a model is built for data that may have another shape
            refuse_other_data(run, splits)
        experiment = assemble(settings, device, splits=splits)
        fingerprint = own or splits.fingerprint()
    distributed.check_same(fingerprint)
    log.info(
        "%s %s of %s (%d train, %d val, %d test), %s parameters, on %s",
        f"{splits.train_size + len(splits.val) + len(splits.test):,}",
        splits.noun,
        "x".join(str(size) for size in splits.event_shape),
        splits.train_size,
        len(splits.val),
        len(splits.test),
        f"{parameter_count(experiment.model):,}",
        device,
    )
    about = {
        **record_of(splits),
        "parameters": parameter_count(experiment.model),
        "processes": (ranks.place() or ranks.Place()).size,
    }
    kept = {**about, **compiled_before(recorded)}
    run.write_environment(device, threads_of(experiment, recorded), fingerprint, kept)
    task = settings.fixed.task
    write_line("start", path=run.path, task=task, device=str(device), **about)
    experiment.declared().write(run.path)
    return experiment


def refuse_other_data(run: RunDirectory, splits: Splits) -> None:
    """Refuse data of another fingerprint than those that `run` was begun with.

    Raises:
        CheckpointError: they have another; the message says what has changed.
    """
    if run.fingerprint() != (fingerprint := splits.fingerprint()):
        raise CheckpointError(
            f"{run.path / 'environment.json'}: the run was begun with other data than the dataset "
            f"holds now: {changes(run.environment(), splits)} (dataset_fingerprint "
            f"{run.fingerprint():.8}, now {fingerprint:.8}). Restore the files, or name where they "
            "lie with dataset.path or dataset.root, or start a new run with "
            f"{shell_word('init_from', run.path)}."
        )


def warm_start(experiment: Experiment, source: str) -> None:
    """Start from the best weights of the run `source`, and from nothing else of it.

    A critic begins anew where that run has none, or one of other shapes; its own is left out.
    """
    run = RunDirectory.existing(source)
    state = checkpoint_file.read(run.best, experiment.device)
    if "model" not in state:
        raise CheckpointError(f"{run.best}: holds no model to start from.")
    with checkpoint_file.understood(run.best):
        load_weights(experiment.model, _with_critic(experiment.model, state["model"]), run.best)
    prior = experiment.model.prior
    if isinstance(prior, Fitted):
        prior.fitted.fill_(False)  # it was fitted to the codes of that run
    log.info("weights from %s", run.best)


def _with_critic(model: LatentVariableModel, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`weights`, with those of the critic that `model` has if theirs do not fit it."""
    own = {name: t for name, t in model.state_dict().items() if name.startswith("critic.")}
    fits = all(name in weights and weights[name].shape == t.shape for name, t in own.items())
    rest = {name: t for name, t in weights.items() if not name.startswith("critic.")}
    return {**rest, **({name: weights[name] for name in own} if fits else own)}


def train(
    experiment: Experiment,
    run: RunDirectory,
    tracker: Tracker,
    stop: StopRequests,
    saved: Mapping[str, Any] | None,
) -> Progress:
    """Run the configured trainer, from the checkpoint `saved` if there is one.

    It computes with the threads that `prepare` has recorded.
    """
    trainer = experiment.settings.build("trainer")
    with computing_with(run.environment()["threads"]):
        progress: Progress = trainer.train(experiment, run, tracker, stop, saved)
    return progress
