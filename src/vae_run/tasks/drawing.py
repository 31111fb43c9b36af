"""The pictures of a run's best checkpoint, drawn again after training."""

from __future__ import annotations

from vae_run.config.invocation import Call
from vae_run.errors import ConfigError
from vae_run.reports.run import write_report
from vae_run.tasks.evaluate import opened
from vae_run.tasks.evaluation_place import evaluation_name
from vae_run.tasks.final_evaluation import drawn
from vae_run.tasks.train import refuse_other_data


def draw_again(call: Call) -> None:
    """Draw the run that `run` names, on its own data, and write its report with the pictures.

    Args:
        call: of `task=evaluate`.

    Raises:
        ConfigError: another corruption or checkpoint is named.
        CheckpointError: the data are not those of the run.
    """
    if name := evaluation_name(call, None):
        raise ConfigError(
            f"{name}: the pictures in the run's own report are of its best checkpoint, under its "
            "own corruption. Others have a folder of their own: vae_run.evaluate(run, "
            "figures=True, ...) with these keys."
        )
    found = opened(call)
    if found.other is not None:
        refuse_other_data(found.run, found.experiment.loaded)
    drawn(found.experiment, found.run, found.epoch)
    write_report(found.run)
