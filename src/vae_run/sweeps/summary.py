"""The summary of a multirun: tables on the terminal, `sweep.csv`, pictures, and `sweep.html`."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from pydantic import ValidationError
from rich.table import Table

from vae_run.comparison import pictures as comparison_pictures
from vae_run.comparison.candidates import read
from vae_run.comparison.markup import write_tables
from vae_run.comparison.ranking import Comparison, compare
from vae_run.comparison.tables import groups_table, red_name, told, widest
from vae_run.config.schema import Figures
from vae_run.errors import CheckpointError, ConfigError
from vae_run.evaluation.quantities import TABLE
from vae_run.evaluation.quantity import Place
from vae_run.plots import write_pictures
from vae_run.reports.sweep import FAILED, write_sweep_page
from vae_run.reports.sweep_warnings import job_warnings
from vae_run.runs.run_directory import RunDirectory
from vae_run.sweeps import pictures as sweep_pictures
from vae_run.sweeps.ledger import Entry, Ledger
from vae_run.system.console import console, say_on_terminal
from vae_run.system.files import columns_of, csv_text, write_atomically
from vae_run.tracking.history import read_history

log = logging.getLogger("vae_run")

MOST_ROWS = 30
"""Rows of a table on the terminal; for more jobs, settings are listed instead, over all seeds."""


def summarise(ledger: Ledger) -> None:
    """Print a summary of a sweep; write `sweep.csv`, `sweep.html` and its pictures."""
    folder = ledger.folder
    rows = rows_of(ledger)
    if not rows:
        return
    say_on_terminal()
    write_table(folder / "sweep.csv", rows)
    swept = sweep_pictures.swept_keys(rows)
    comparison = compared(folder, rows, swept)
    table = TABLE if comparison is None else comparison.table
    tags = [f"{split}/{name}" for split in ("val", "test") for name in table.shown(Place.TABLES)]
    shown = [tag for tag in tags if any(tag in entry for entry in rows)]
    show(folder, rows, swept, shown, comparison)
    mark, look = _settings(folder / rows[0]["run"])
    files = sweep_pictures.draw(folder, rows, mark, table, look)
    frontier = None if comparison is None else comparison_pictures.rate_distortion(comparison)
    files += write_pictures(folder, {"rate_distortion": frontier}, look.format, look.dpi)
    write_tables(folder, "sweep", comparison)
    for file in (*files, write_sweep_page(folder, rows, swept, shown, comparison)):
        console.print(str(file))


def rows_of(ledger: Ledger) -> list[dict[str, Any]]:
    """The `row` of each job, in the order of their numbers."""
    entries = sorted(ledger.jobs.values(), key=lambda entry: _number(entry.directory))
    return [row(ledger.folder, entry) for entry in entries]


def _number(directory: str) -> tuple[int, str]:
    """The key that directories are sorted by: their number, of three digits or more."""
    number = directory.split("-")[0]
    return int(number) if number.isdecimal() else 0, directory


def _settings(run: Path) -> tuple[str | float | None, Figures]:
    """`sweep.mark` and `figures` of the sweep that `run` belongs to, or their defaults."""
    try:
        config = RunDirectory(run).config()
        return config["sweep"]["mark"], Figures(**config.get("figures", {}))
    except (CheckpointError, KeyError, TypeError, ValidationError):
        return None, Figures()


def row(folder: Path, job: Entry) -> dict[str, Any]:
    """Directory, overrides, state and metrics of a job; an unreadable file becomes its message."""
    run = RunDirectory(folder / job.directory)
    entry: dict[str, Any] = {"run": job.directory}
    for override in job.overrides:
        key, _, value = override.partition("=")
        entry[key.lstrip("+")] = plain(override, value)
    entry |= {"state": job.state, "job_seconds": round(job.seconds, 3)}
    message = job.message
    try:
        for split, values in run.metrics().items():
            entry |= {f"{split}/{name}": value for name, value in values.items()}
        entry |= _training_loss(run.path / "history.csv")
    except CheckpointError as error:
        message = message or str(error)
    entry["message"] = message
    return entry


def plain(override: str, value: str) -> str:
    """The `value` of an override as text for people: without Hydra's quotes and escapes."""
    if not value or not (value[0] in "'\"" or "\\" in value):
        return value
    found = OverridesParser.create().parse_override(override).value()
    return found if isinstance(found, str) else value


def _training_loss(history: Path) -> dict[str, float]:
    """The loss of the last epoch of training, where there were epochs."""
    if not history.is_file():
        return {}
    found = [row["train/loss"] for row in read_history(history) if "train/loss" in row]
    return {"train/loss": found[-1]} if found else {}


def write_table(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A row a job, with all columns that any job has, the message last."""
    columns = sorted(columns_of(rows), key=lambda name: name == "message")
    write_atomically(file, csv_text(rows, columns).encode())


def compared(
    folder: Path, rows: Sequence[Mapping[str, Any]], swept: Sequence[str]
) -> Comparison | None:
    """The comparison of the completed jobs by the swept keys; None without completed jobs."""
    done = [each for each in rows if each["state"] == "completed"]
    if not done:
        return None
    keys = [key for key in swept if key != "seed"]
    candidates = [
        replace(found, typed={key: str(each[key]) for key in keys if key in each})
        for found, each in zip(read([folder / each["run"] for each in done]), done, strict=True)
    ]
    try:
        comparison = compare(candidates, keys=keys)
    except ConfigError as error:
        log.warning("the sweep's jobs are not compared: %s", error)
        return None
    return comparison if comparison.groups else None


def show(
    folder: Path,
    rows: Sequence[Mapping[str, Any]],
    swept: Sequence[str],
    shown: Sequence[str],
    comparison: Comparison | None,
) -> None:
    """Print tables of jobs, of settings over their seeds, and of failures, and counts of states."""
    folded = len(rows) > MOST_ROWS
    if not folded:
        console.print(widest(lambda tags: jobs_table(rows, swept, tags), shown))
    if comparison is not None and (folded or any(len(g.runs) > 1 for g in comparison.groups)):
        show_settings(comparison, shown)
    wrong = [each for each in rows if each["state"] in FAILED]
    if wrong:
        for line in failure_lines(folder, wrong):
            console.print(line)
    for warning in job_warnings(folder, (each["run"] for each in rows)):
        number, n = warning.jobs[0].split("-")[0], len(warning.jobs)
        whose = f"{number} and {n - 1:,} more were" if n > 1 else f"{number} was"
        console.print(f" {whose} warned: {warning.message}", markup=False)
    states = Counter(each["state"] for each in rows if each["state"] not in ("completed", "pruned"))
    counts = f" ({', '.join(f'{n} {state}' for state, n in states.items())})" if states else ""
    console.print(
        f"{len(rows)} job{'s' * (len(rows) != 1)}, {states.total()} not completed{counts}; "
        f"{folder / 'sweep.csv'}"
    )


def jobs_table(
    rows: Sequence[Mapping[str, Any]], swept: Sequence[str], tags: Sequence[str]
) -> Table:
    """A row for each job: the overrides that differ, the state, and the metrics `tags`."""
    table = Table(box=None, header_style="bold")
    for name in ("job", *swept, "state"):
        table.add_column(name, no_wrap=True)
    for name in tags:
        table.add_column(name, no_wrap=True, justify="right")
    for entry in rows:
        cells = [entry["run"].split("-")[0], *(entry.get(key, "") for key in swept), entry["state"]]
        cells += [f"{entry[name]:.4g}" if name in entry else "" for name in tags]
        style = "" if entry["state"] in ("completed", "pruned") else "red"
        table.add_row(*cells, style=style)
    return table


def show_settings(comparison: Comparison, shown: Sequence[str]) -> None:
    """Print a row for each setting, with means over seeds and explanations; at most MOST_ROWS."""
    metric = comparison.metric
    tags = list(dict.fromkeys((f"val/{metric}", f"test/{metric}", *shown)))
    tags = [tag for tag in tags if any(group.values(tag) for group in comparison.groups)]
    console.print(widest(lambda few: groups_table(comparison, few, MOST_ROWS), tags))
    left = len(comparison.groups) - MOST_ROWS
    if left > 0:
        first = "best" if comparison.ranked else "first"
        console.print(f"The {first} {MOST_ROWS} settings; {left:,} more are in sweep.html.")
    for line in told(comparison):
        console.print(line)
    for refusal in comparison.refusals:
        log.warning("not ranked: %s", refusal)
    for run, why in comparison.rest:
        console.print(red_name(run.name, why))


def failure_lines(folder: Path, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Job, state and first line of the error of jobs, and below it the log, as a path to copy.

    Equal errors of many jobs are counted in one line.
    """
    alike: dict[Any, list[Mapping[str, Any]]] = {}
    for each in rows:
        own = each["run"] if len(rows) <= MOST_ROWS else ""
        alike.setdefault((each["state"], each["message"], own), []).append(each)
    for members in list(alike.values())[:MOST_ROWS]:
        first = members[0]
        more = f" and {len(members) - 1:,} more" if len(members) > 1 else ""
        message = first["message"].split("\n")[0]
        yield f" {first['run'].split('-')[0]}{more}  {first['state']}  {message}"
        log_file = folder / first["run"] / "train.log"
        if log_file.exists():  # it does not where a job failed before its first step
            yield f"      {log_file}"
    if len(alike) > MOST_ROWS:
        yield f" {len(alike) - MOST_ROWS:,} more errors are in sweep.html"
