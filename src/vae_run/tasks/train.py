"""`task=train`: train, evaluate the best checkpoint on val and test, draw the figures."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from omegaconf import OmegaConf

from vae_run import checkpoints
from vae_run.call import Call
from vae_run.config import Settings
from vae_run.errors import CheckpointError
from vae_run.experiment import Experiment, assemble, choose_device
from vae_run.networks import parameter_count
from vae_run.progress import Progress
from vae_run.runs import RunDirectory, load_weights
from vae_run.signals import StopRequests
from vae_run.tasks.closing import conclude
from vae_run.terminal import also_in_file
from vae_run.tracking import Tracker

log = logging.getLogger("vae_run")


def main(call: Call) -> None:
    """Train in `call.directory`, a new run directory."""
    run = RunDirectory(call.directory)
    with StopRequests() as stop, also_in_file(run.path / "train.log"), run.recorded():
        experiment = prepare(call.settings, run)
        if call.settings.fixed.init_from is not None:
            warm_start(experiment, call.settings.fixed.init_from)
        tracker = Tracker(run.path)
        try:
            tracker.text("config", f"```yaml\n{OmegaConf.to_yaml(dict(call.settings.raw))}```")
            progress = train(experiment, run, tracker, stop, None)
            conclude(experiment, run, tracker, progress, call.choices)
        finally:
            tracker.close()


def prepare(settings: Settings, run: RunDirectory) -> Experiment:
    """Load and build, say what was built, and write `environment.json`."""
    device = choose_device(settings.fixed.device)
    experiment = assemble(settings, device)
    splits = experiment.splits
    log.info(
        "%s images of %s (%d train, %d val, %d test), %s parameters, on %s",
        f"{len(splits.train) + len(splits.val) + len(splits.test):,}",
        "x".join(str(size) for size in splits.event_shape),
        len(splits.train),
        len(splits.val),
        len(splits.test),
        f"{parameter_count(experiment.model):,}",
        device,
    )
    named = (("train", splits.train), ("val", splits.val), ("test", splits.test))
    about = {
        "images": {name: len(split) for name, split in named},
        "event_shape": list(splits.event_shape),
        "parameters": parameter_count(experiment.model),
    }
    run.write_environment(device, splits.fingerprint(), about)
    return experiment


def warm_start(experiment: Experiment, source: str) -> None:
    """Start from the best weights of the run `source`; everything else starts afresh."""
    run = RunDirectory.existing(source)
    state = checkpoints.read(run.best, experiment.device)
    if "model" not in state:
        raise CheckpointError(f"{run.best}: holds no model to start from.")
    load_weights(experiment.model, state["model"], run.best)
    log.info("weights from %s", run.best)


def train(
    experiment: Experiment,
    run: RunDirectory,
    tracker: Tracker,
    stop: StopRequests,
    saved: Mapping[str, Any] | None,
) -> Progress:
    """Run the configured trainer, from the checkpoint `saved` if there is one."""
    progress: Progress = experiment.settings.build("trainer").train(
        experiment, run, tracker, stop, saved
    )
    return progress
