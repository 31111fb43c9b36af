"""What a multirun leaves behind: one row a job, on the terminal and in `sweep.csv`."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from rich.table import Table

from vae_run.checkpoints import write_atomically
from vae_run.runs import RunDirectory
from vae_run.terminal import console

SHOWN = ("val/elbo", "val/loss", "val/mse", "test/elbo", "test/loss")


def summarise(folder: Path) -> None:
    """Print the table of the sweep in `folder`, and write it to `sweep.csv`."""
    rows = [row(path) for path in sorted(folder.glob("*/.hydra"))]
    if not rows:
        return
    columns = list(dict.fromkeys(key for entry in rows for key in entry))
    columns.sort(key=lambda name: name == "message")
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(folder / "sweep.csv", buffer.getvalue().encode())
    show(rows)
    failed = sum(entry["state"] != "completed" for entry in rows)
    console.print(f"{len(rows)} jobs, {failed} not completed; {folder / 'sweep.csv'}")


def row(hydra: Path) -> dict[str, Any]:
    """Directory, overrides, state and figures of one job."""
    run = RunDirectory(hydra.parent)
    entry: dict[str, Any] = {"run": run.path.name}
    for override in OmegaConf.to_container(OmegaConf.load(hydra / "overrides.yaml")) or []:
        key, _, value = str(override).partition("=")
        entry[key] = value
    status = run.read_status()
    entry["state"] = status.get("state", "not started")
    for split, values in run.metrics().items():
        entry |= {f"{split}/{name}": value for name, value in values.items()}
    entry["message"] = status.get("message", "").split("\n")[0]
    return entry


def show(rows: list[dict[str, Any]]) -> None:
    """The overrides that differ, the state and the main figures, as far as any job has them."""
    table = Table(box=None, header_style="bold")
    swept = [
        key
        for key in dict.fromkeys(key for entry in rows for key in entry)
        if not key.startswith(("val/", "test/", "train/"))
        and key not in ("run", "state", "message")
        and len({entry.get(key) for entry in rows}) > 1
    ]
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
