"""What a multirun leaves behind: a row a job, on the terminal and in `sweep.csv`, and figures."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from rich.table import Table

from vae_run import sweep_figures
from vae_run.checkpoints import write_atomically
from vae_run.errors import CheckpointError
from vae_run.runs import RunDirectory
from vae_run.sweeping.ledger import Entry, Ledger
from vae_run.terminal import console

SHOWN = (
    *("val/elbo", "val/loss", "val/mse", "test/elbo", "test/loss"),
    *("test/mse_auroc", "test/elbo_auroc", "test/pca_32_auroc"),
)


def summarise(ledger: Ledger) -> None:
    """Print the table of a sweep, write it to `sweep.csv`, and draw its figures."""
    folder = ledger.folder
    entries = sorted(ledger.jobs.values(), key=lambda entry: entry.directory)
    rows = [row(folder, entry) for entry in entries]
    if not rows:
        return
    columns = list(dict.fromkeys(key for each in rows for key in each))
    columns.sort(key=lambda name: name == "message")
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(folder / "sweep.csv", buffer.getvalue().encode())
    show(rows)
    failed = sum(each["state"] not in ("completed", "pruned") for each in rows)
    console.print(f"{len(rows)} jobs, {failed} not completed; {folder / 'sweep.csv'}")
    for picture in sweep_figures.draw(folder, rows, _mark(folder / rows[0]["run"])):
        console.print(str(picture))


def _mark(run: Path) -> str | float | None:
    """What the sweep that `run` belongs to marks in its figure."""
    try:
        found: str | float | None = RunDirectory(run).config()["sweep"]["mark"]
    except (CheckpointError, KeyError, TypeError):
        return None
    return found


def row(folder: Path, job: Entry) -> dict[str, Any]:
    """Directory, overrides, state and figures of one job."""
    run = RunDirectory(folder / job.directory)
    entry: dict[str, Any] = {"run": job.directory}
    for override in job.overrides:
        key, _, value = override.partition("=")
        entry[key.lstrip("+")] = value
    entry |= {"state": job.state, "job_seconds": round(job.seconds, 3)}
    for split, values in run.metrics().items():
        entry |= {f"{split}/{name}": value for name, value in values.items()}
    entry |= _training_loss(run.path / "history.csv")
    entry["message"] = job.message
    return entry


def _training_loss(history: Path) -> dict[str, float]:
    """The loss of the last epoch of training, where there were epochs."""
    if not history.is_file():
        return {}
    with history.open(newline="", encoding="utf-8") as file:
        found = [row["train/loss"] for row in csv.DictReader(file) if row.get("train/loss")]
    return {"train/loss": float(found[-1])} if found else {}


def show(rows: list[dict[str, Any]]) -> None:
    """The overrides that differ, the state and the main figures, as far as any job has them."""
    table = Table(box=None, header_style="bold")
    swept = sweep_figures.swept_keys(rows)
    shown = [name for name in SHOWN if any(name in entry for entry in rows)]
    for name in ("job", *swept, "state"):
        table.add_column(name, no_wrap=True)
    for name in shown:
        table.add_column(name, no_wrap=True, justify="right")
    for entry in rows:
        cells = [entry["run"].split("-")[0], *(entry.get(key, "") for key in swept), entry["state"]]
        cells += [f"{entry[name]:.4g}" if name in entry else "" for name in shown]
        table.add_row(*cells, style="" if entry["state"] == "completed" else "red")
    console.print(table)
    for entry in rows:
        if entry["state"] != "completed":
            console.print(f"[red]{entry['run']}[/]: {entry['message']}")
