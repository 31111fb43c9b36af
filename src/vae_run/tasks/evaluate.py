"""`task=evaluate run=DIR`: a run's checkpoint measured again, on its own or on other data."""

from __future__ import annotations

import logging
import re

from rich.table import Table

from vae_run.config.check import check
from vae_run.config.invocation import Call
from vae_run.reports.run import write_evaluation_report, write_report
from vae_run.runs import checkpoint_file
from vae_run.runs.run_directory import RunDirectory
from vae_run.system.console import console
from vae_run.system.device import choose_device
from vae_run.tasks.closing import draw_all, measure, use_checkpoint, write_pictures
from vae_run.tracking.tracker import Tracker
from vae_run.training.experiment import assemble

log = logging.getLogger("vae_run")

CONDITIONS = ("dataset", "corruption")
"""Groups whose change makes other figures than the run's own."""
ALLOWED = (*CONDITIONS, "evaluation", "checkpoint", "device", "precision")
WHY = (
    "task=evaluate rebuilds the run from its own configuration; only "
    f"{', '.join(ALLOWED)} may be given."
)


def main(call: Call) -> None:
    """Evaluate the run that `run` names."""
    fixed = call.settings.fixed
    assert fixed.run is not None, "the schema of task=evaluate asks for it"
    run = RunDirectory.existing(fixed.run)
    config = call.on_top_of(run.config(), allowed=ALLOWED, why=WHY)
    config.pop("checkpoint", None)
    settings, device = check(config, trust=fixed.trust), choose_device(fixed.device)
    classes = checkpoint_file.read(run.best if fixed.checkpoint == "best" else run.last).get(
        "classes"
    )
    experiment = assemble(settings, device, classes)
    epoch = use_checkpoint(experiment, run, fixed.checkpoint)
    metrics = measure(experiment, epoch)
    pictures = draw_all(experiment, epoch)
    name = evaluation_name(call)
    declared = experiment.evaluation.declared()
    if name is None:
        declared.write(run.path)
        step = round(run.read_status().get("step", 0))
        kept = run.metrics()
        run.write_metrics({**kept, **{k: {**kept.get(k, {}), **v} for k, v in metrics.items()}})
        tracker = Tracker(run.path, layout=False)
        for split in ("val", "test"):  # figures that the run has already are not drawn twice
            known = kept.get(split, {})
            new = {name: value for name, value in metrics[split].items() if name not in known}
            tracker.scalars(split, new, step)
        tracker.pictures(pictures, step)
        tracker.close()
        place = run.path
    else:
        place = run.path / "evaluations" / name
        place.mkdir(parents=True, exist_ok=True)
        declared.write(place)
        RunDirectory(place).write_metrics(metrics)
    write_pictures(RunDirectory(place), pictures)
    if name is None:
        write_report(run)
    else:
        write_evaluation_report(run, place, call.overrides)
    show(metrics)
    log.info("%s checkpoint of epoch %.4g; written to %s", fixed.checkpoint, epoch, place)


def evaluation_name(call: Call) -> str | None:
    """The folder below `evaluations/`, or None where the figures are the run's own test figures."""
    conditions = [
        override
        for override in call.overrides
        if override.lstrip("+~").split("=")[0].split(".")[0] in CONDITIONS
    ]
    if call.settings.fixed.checkpoint == "last":
        conditions.append("last")
    name = re.sub(r"[^\w.=,+-]+", "_", ",".join(sorted(conditions)))
    return name[:120] or None


def show(metrics: dict[str, dict[str, float]]) -> None:
    """Val and test side by side, in a table on the terminal."""
    table = Table("metric", *metrics, box=None, header_style="bold")
    for name in dict.fromkeys(key for values in metrics.values() for key in values):
        cells = (f"{v[name]:.6g}" if name in v else "" for v in metrics.values())
        table.add_row(name, *cells)
    console.print(table)
