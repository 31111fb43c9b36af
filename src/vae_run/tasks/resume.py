"""`task=resume`: go on with an interrupted run exactly where it stood, or extend a finished one."""

from __future__ import annotations

import logging

from vae_run import checkpoints
from vae_run.call import Call
from vae_run.config import check
from vae_run.progress import Progress
from vae_run.runs import RunDirectory, load_weights
from vae_run.signals import StopRequests
from vae_run.tasks.closing import conclude
from vae_run.tasks.train import prepare, train
from vae_run.terminal import also_in_file
from vae_run.tracking import Tracker

log = logging.getLogger("vae_run")

EXTENDING = ("trainer.epochs", "trainer.steps", "trainer.max_time")
WHY = (
    "task=resume goes on with the run as it was configured; only "
    f"{', '.join(EXTENDING)} may change. Start a new run with init_from=DIR to change more."
)


def main(call: Call) -> None:
    """Resume the run that `run` names."""
    path = call.settings.fixed.run
    assert path is not None, "the schema of task=resume asks for it"
    run = RunDirectory.existing(path)
    run.refuse_while_running()
    saved = checkpoints.read(run.last)
    # What an earlier resume extended is in the checkpoint: `.hydra/` stays as training wrote it.
    config = run.config()
    config["trainer"] = {**config["trainer"], **saved["trainer"]}
    config = call.on_top_of(config, allowed=EXTENDING, why=WHY)
    settings = check(config, trust=call.settings.fixed.trust)
    with StopRequests() as stop, also_in_file(run.path / "train.log"):
        over = settings.build("trainer").is_over(Progress(**saved["progress"]))
        if over and run.read_status().get("state") == "completed":
            log.info(
                "%s: is complete at epoch %.4g; nothing to do. Extend it with trainer.epochs=N.",
                run.path,
                saved["epoch"],
            )
            return
        with run.recorded():
            experiment = prepare(settings, run)
            load_weights(experiment.model, saved["model"], run.last)
            log.info("%s: goes on at epoch %.4g, step %d", run.path, saved["epoch"], saved["step"])
            tracker = Tracker(run.path, resumed_step=saved["step"])
            try:
                progress = train(experiment, run, tracker, stop, saved)
                conclude(experiment, run, tracker, progress, run.choices())
            finally:
                tracker.close()
