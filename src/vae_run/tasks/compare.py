"""`task=compare 'runs=GLOB'`: runs side by side, ranked on val and reported on test."""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path
from typing import Any

from vae_run.comparison import pictures as comparison_pictures
from vae_run.comparison.candidates import find, read
from vae_run.comparison.markup import write_tables
from vae_run.comparison.ranking import Comparison, compare
from vae_run.comparison.tables import red_name, settings_table, told
from vae_run.config.invocation import Call
from vae_run.config.schema import Compare, Figures
from vae_run.errors import ConfigError
from vae_run.plots import write_pictures
from vae_run.reports.comparison import write_page
from vae_run.system.console import console
from vae_run.system.files import write_csv
from vae_run.system.places import try_place

log = logging.getLogger("vae_run")

ALLOWED = ("task", "runs", "metric", "output", "figures.format", "figures.dpi")
PAGE = "compare.html"
TABLES = ("runs.csv", "groups.csv", "differences.csv")


def main(call: Call) -> None:
    """Compare the runs that `runs` names."""
    fixed = call.settings.of(Compare)
    call.refuse_all_but(*ALLOWED)
    patterns = [fixed.runs] if isinstance(fixed.runs, str) else fixed.runs
    folder = output_folder(fixed.output)
    try_place(folder / PAGE)
    comparison = compare(read(find(patterns)), fixed.metric)
    show(comparison)
    write(comparison, folder, fixed.figures)
    log.info("written to %s", folder / PAGE)


def write(comparison: Comparison, folder: Path, look: Figures | None = None) -> None:
    """Write the page of a comparison into `folder`, with its pictures, and its tables."""
    look = look or Figures()
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in zip(
        TABLES, (run_rows(comparison), group_rows(comparison), pair_rows(comparison)), strict=True
    ):
        write_csv(folder / name, rows)
    write_pictures(folder / "figures", comparison_pictures.draw(comparison), look.format, look.dpi)
    write_tables(folder, Path(PAGE).stem, comparison)
    write_page(comparison, folder, PAGE)


def output_folder(name: str | None) -> Path:
    """The folder to write to: a new one, or that of an earlier comparison.

    Raises:
        ConfigError: it is a file, or it holds something else.
    """
    if name is None:
        return Path(f"comparison-{datetime.now():%Y-%m-%d-%H-%M-%S}")
    folder = Path(name).expanduser()
    if folder.is_file() or (
        folder.is_dir() and any(folder.iterdir()) and not (folder / PAGE).is_file()
    ):
        raise ConfigError(
            f"output: {folder} exists and is no folder of an earlier comparison. Name a new one."
        )
    return folder


def show(comparison: Comparison) -> None:
    """Print the groups, why they are not ranked if they are not, and the runs left out."""
    tags = (f"val/{comparison.metric}", f"test/{comparison.metric}")
    if comparison.groups:
        table, left_out = settings_table(comparison, tags)
        console.print(table)
        if left_out:
            said = f"Also different, in groups.csv: {', '.join(left_out)}."
            console.print(said)
    for line in told(comparison):
        console.print(line)
    for refusal in comparison.refusals:
        log.warning("not ranked: %s", refusal)
    for run, why in comparison.rest:
        console.print(red_name(run.name, f"{run.state}  {why}".strip()))


def run_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """A row for each run: its group, seed, state, differing settings and metrics."""
    rows: list[dict[str, Any]] = []
    for index, group in enumerate(comparison.groups):
        label = comparison.label(group)
        for seed, run in sorted(group.runs.items()):
            about = {"run": run.name, "group": index + 1, "seed": seed, "state": run.state}
            rows.append({**about, **label, **run.metrics})
    for run, why in comparison.rest:
        rows.append({"run": run.name, "seed": run.seed, "state": run.state, "message": why})
    return rows


def group_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """A row for each group: settings, seeds, and mean and interval of every metric."""
    rows: list[dict[str, Any]] = []
    for index, group in enumerate(comparison.groups):
        row: dict[str, Any] = {"group": index + 1, "rank": index + 1 if comparison.ranked else ""}
        row |= {**comparison.label(group), "seeds": len(group.runs)}
        row["seeds_counted"] = comparison.counted(group)
        for tag in dict.fromkeys(tag for run in group.runs.values() for tag in run.metrics):
            found = group.estimate(tag)
            row |= {tag: found.mean, f"{tag} half_interval": found.half}
        row["better_than"] = " ".join(str(other + 1) for other in comparison.better_than(index))
        rows.append(row)
    return rows


def pair_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """A row for each pair of groups: the paired difference of the metric, and its interval."""
    tag = f"{comparison.split}/{comparison.metric}"
    return [
        {
            "first": d.first + 1,
            "second": d.second + 1,
            "figure": tag,
            "seeds": " ".join(str(seed) for seed in d.seeds),
            "difference": d.estimate.mean,
            "low": d.estimate.low,
            "high": d.estimate.high,
            "excludes_zero": d.estimate.excludes_zero,
        }
        for d in comparison.differences
    ]
