"""What a multirun leaves behind: a row a job, on the terminal and in `sweep.csv`, and figures."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from rich.table import Table

from vae_run import sweep_figures
from vae_run.checkpoints import write_atomically
from vae_run.errors import CheckpointError
from vae_run.runs import RunDirectory
from vae_run.terminal import console

SHOWN = (
    *("val/elbo", "val/loss", "val/mse", "test/elbo", "test/loss"),
    *("test/mse_auroc", "test/elbo_auroc", "test/pca_32_auroc"),
)


def summarise(folder: Path) -> None:
    """Print the table of the sweep in `folder`, write it to `sweep.csv`, and draw its figures."""
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
    for picture in sweep_figures.draw(folder, rows, _mark(folder / rows[0]["run"])):
        console.print(str(picture))


def _mark(run: Path) -> str | float | None:
    """What the sweep that `run` belongs to marks in its figure."""
    try:
        found: str | float | None = RunDirectory(run).config()["sweep"]["mark"]
    except (CheckpointError, KeyError, TypeError):
        return None
    return found


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
    entry |= _training_loss(run.path / "history.csv")
    entry["message"] = status.get("message", "").split("\n")[0]
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
