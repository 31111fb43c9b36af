"""`task=ensemble 'runs=GLOB'`: the mean of several runs' reconstructions, and each of them.

The squared error of the ensemble is the mean of the members' errors minus the mean squared distance
of the members from their mean (Krogh & Vedelsby 1995). It is never above the mean of the errors,
and it is below the error of the best member if members of similar error differ enough.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.table import Table

from vae_run.comparison.candidates import find, told_apart
from vae_run.config.invocation import Call
from vae_run.config.schema import Ensemble
from vae_run.data.splits import Splits
from vae_run.errors import CheckpointError, ConfigError
from vae_run.evaluation.view import View
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.runs import checkpoint_file
from vae_run.runs.data_record import changes
from vae_run.runs.load import load_model
from vae_run.runs.run_directory import RunDirectory
from vae_run.system.console import console
from vae_run.system.device import choose_device
from vae_run.system.files import write_csv, write_json
from vae_run.system.nouns import counted
from vae_run.tasks.run_data import read_data
from vae_run.tasks.user_files import check_output
from vae_run.training.experiment import assemble

log = logging.getLogger("vae_run")

ALLOWED = (
    *("task", "runs", "output", "overwrite", "checkpoint", "device", "trust"),
    "evaluation.batch_size",
)


@dataclass(frozen=True)
class Errors:
    """`mse` of every member and of the ensemble on one split."""

    members: Sequence[float]
    ensemble: float

    def rows(self) -> list[float]:
        """The errors of the members, their mean, the least of them, and that of the ensemble."""
        mean = sum(self.members) / len(self.members)
        return [*self.members, mean, min(self.members), self.ensemble]


def main(call: Call) -> None:
    """Measure the runs that `runs` names, and the mean of their reconstructions."""
    fixed = call.settings.of(Ensemble)
    call.refuse_all_but(*ALLOWED)
    output = None
    if fixed.output is not None:
        output = check_output(fixed.output, (".csv", ".json"), overwrite=fixed.overwrite)
    runs = members(fixed.runs)
    refuse_differing(runs)
    device = choose_device(fixed.device)
    settings = runs[0].settings(fixed.trust)
    splits, other = read_data(runs[0], settings)
    refuse_other_data(other, runs[0], splits)
    first = assemble(settings, device, splits=splits, fresh=False)
    models = [load(run, fixed.checkpoint, fixed.trust).to(device).eval() for run in runs]
    batch_size = call.settings.parts["evaluation"]["batch_size"]
    found = {
        name: measure(models, replace(first.view(split), batch_size=batch_size))
        for name, split in (("val", first.splits.val), ("test", first.splits.test))
        if len(split)
    }
    each = told_apart([run.path for run in runs])
    names = [*each, "mean of members", "best member", "ensemble"]
    show(names, found)
    if output is not None:
        write(output, names, found)
        log.info("%s measured; written to %s", counted(len(runs), "runs"), output)


def members(pattern: str | Sequence[str]) -> list[RunDirectory]:
    """The runs that `pattern` finds, or any of several, as for `task=compare`.

    Raises:
        CheckpointError: a pattern finds none, or there are fewer than two.
    """
    patterns = [pattern] if isinstance(pattern, str) else pattern
    runs = [RunDirectory(path) for path in find(patterns)]
    if len(runs) < 2:
        raise CheckpointError(
            f"runs: {pattern} matches 1 run; an ensemble needs two or more. Give a folder of "
            "runs, or a pattern of run directories, quoted: 'runs=outputs/DAY/SWEEP/*'."
        )
    return runs


def refuse_differing(runs: Sequence[RunDirectory]) -> None:
    """Refuse runs that were not trained on the same splits, or not with the same corruption.

    Raises:
        ConfigError: two of them differ.
    """
    first = runs[0]
    for run in runs[1:]:
        if run.fingerprint() != first.fingerprint():
            raise ConfigError(
                f"runs: the data of {run.path} are not those of {first.path} (their "
                "dataset_fingerprint differs). Choose runs of the same dataset, split_seed, "
                "val_size, classes and binarize."
            )
        found, expected = (each.config().get("corruption") for each in (run, first))
        if found != expected:
            raise ConfigError(
                f"runs: corruption of {run.path} is {found}, of {first.path} {expected}. Members "
                "must be given the same images; choose runs of one corruption."
            )


def refuse_other_data(other: str | None, run: RunDirectory, splits: Splits) -> None:
    """Refuse data that have changed since `run` was trained.

    Raises:
        CheckpointError: they have, to `splits`, of the fingerprint `other`.
    """
    if other is not None:
        raise CheckpointError(
            f"runs: the data have changed since {run.path} was trained: "
            f"{changes(run.environment(), splits)}. Restore the files, or train again."
        )


def load(run: RunDirectory, checkpoint: str, trust: Sequence[str]) -> LatentVariableModel:
    """The trained model of `run`."""
    file = run.best if checkpoint == "best" else run.last
    return load_model(run.settings(trust), checkpoint_file.read(file), file)


@torch.inference_mode()
def measure(models: Sequence[LatentVariableModel], view: View) -> Errors:
    """Squared errors per pixel over the images of `view`, as the metric `mse` has them."""
    totals = torch.zeros(len(models) + 1, dtype=torch.double)
    for batch in view.batches():
        outputs = [m.given(batch.given).reconstruct(batch.input).double().cpu() for m in models]
        outputs.append(torch.stack(outputs).mean(0))
        target = batch.target.double().cpu()
        totals += torch.stack([(output - target).square().sum() for output in outputs])
    *each, ensemble = (totals / (view.size * math.prod(view.split.event_shape))).tolist()
    return Errors(each, ensemble)


def show(names: Sequence[str], found: dict[str, Errors]) -> None:
    """Print a row for each member, and below them their mean, the best and the ensemble."""
    table = Table("run", *(f"{split}/mse" for split in found), box=None, header_style="bold")
    rows = zip(*(errors.rows() for errors in found.values()), strict=True)
    for place, (name, values) in enumerate(zip(names, rows, strict=True)):
        style = "bold" if name == "ensemble" else ""
        table.add_row(name, *(f"{value:.6g}" for value in values), style=style)
        if place == len(names) - 4:
            table.add_section()
    console.print(table)


def write(path: Path, names: Sequence[str], found: dict[str, Errors]) -> None:
    """Write the table as CSV, or as JSON: {row: {split: {"mse": value}}}; rows have own names."""
    columns = {split: errors.rows() for split, errors in found.items()}
    if path.suffix.lower() == ".json":
        content = {
            name: {split: {"mse": values[i]} for split, values in columns.items()}
            for i, name in enumerate(names)
        }
        write_json(path, content)
    else:
        table = [
            {"run": name, **{f"{split}/mse": values[i] for split, values in columns.items()}}
            for i, name in enumerate(names)
        ]
        write_csv(path, table)
