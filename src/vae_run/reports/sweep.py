"""`sweep.html`: what a sweep did, how its settings compare, and where each job's own report is."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from vae_run.comparison.ranking import Comparison
from vae_run.config.commands import command, override, shell_word
from vae_run.errors import CheckpointError
from vae_run.reports.comparison import tables
from vae_run.reports.page import pictures, render
from vae_run.reports.run import NAME as REPORT
from vae_run.reports.sweep_warnings import job_warnings
from vae_run.runs.saved_yaml import read_yaml
from vae_run.system.files import write_atomically
from vae_run.system.formatting import number, short_path

NAME = "sweep.html"
FAILED = ("failed", "diverged")
CAPTIONS = {
    "sweep": "What was measured against what was swept.",
    "curves": "What was measured on val at every epoch, a line a run.",
    "rate_distortion": "What the code costs against what it leaves unexplained. The lower left "
    "corner is the better one.",
}
PAIRS_IN = "differences.csv of task=compare"
MOST_VALUES = 12
"""Values of a key that are told; of more, the first ones and the last."""


def write_sweep_page(
    folder: Path,
    rows: Sequence[Mapping[str, Any]],
    swept: Sequence[str],
    figures: Sequence[str],
    comparison: Comparison | None,
) -> Path:
    """Write `sweep.html` into the sweep's `folder`, with the pictures that lie there.

    Args:
        folder: of the sweep.
        rows: run, state, job_seconds, message, overrides by key and figures of every job.
        swept: keys whose values differ between jobs.
        figures: split/name of what is told of every job.
        comparison: of the completed jobs; None where there are none.
    """
    states = Counter(str(row["state"]) for row in rows)
    page = render(
        NAME,
        title=f"Sweep of {', '.join(swept)}" if swept else "Sweep of one job",
        name=folder.resolve().name,
        states=dict(states.most_common()),
        tiles=_tiles(rows, states, comparison),
        command=_command(folder),
        facts=_facts(folder, rows),
        swept={key: _values(rows, key) for key in swept},
        failures=[_job(folder, row, swept, ()) for row in rows if row["state"] in FAILED],
        warned=job_warnings(folder, (row["run"] for row in rows)),
        jobs=[_job(folder, row, swept, figures) for row in rows],
        figures=figures,
        folder=_quoted(folder),
        same_folder=shell_word("sweep.dir", short_path(folder.resolve())),
        compare=command("task=compare", override("runs", short_path(folder.resolve()))),
        pictures=pictures(folder, CAPTIONS),
        **({"comparison": None} if comparison is None else tables(comparison, PAIRS_IN)),
    )
    write_atomically(folder / NAME, page.encode())
    return folder / NAME


def _tiles(
    rows: Sequence[Mapping[str, Any]], states: Mapping[str, int], comparison: Comparison | None
) -> list[tuple[str, str, str]]:
    """Name, value and unit of what stands first."""
    done, wrong = states.get("completed", 0), sum(states.get(state, 0) for state in FAILED)
    tiles = [("completed", f"{done:,}", f"of {len(rows):,} job{'s' * (len(rows) != 1)}")]
    if wrong:
        tiles.append(("failed", f"{wrong:,}", "their errors are below"))
    if comparison is not None and comparison.ranked:
        name, best = comparison.metric, comparison.groups[0]
        for split in ("val", "test"):
            found = best.estimate(f"{split}/{name}")
            if found.n:
                unit = f"{comparison.about.unit}, {split}".lstrip(", ")
                label = f"best {name.replace('_', ' ')}" if split == "val" else "the same on test"
                tiles.append((label, number(found.mean, found.half), unit))
    seconds = sum(row["job_seconds"] for row in rows)
    return [*tiles, ("all jobs together", duration(seconds), "of running")]


def duration(seconds: float) -> str:
    """A time in the two units that tell it."""
    whole = round(seconds)
    for size, name, size_below, below in ((86400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if whole >= size:
            return f"{whole // size:,} {name} {whole % size // size_below} {below}"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{seconds:.1f} s"


def _command(folder: Path) -> str:
    """What the sweep was begun with; "" where nobody knows."""
    try:
        words = read_yaml(folder / "multirun.yaml", resolve=False)["hydra"]["overrides"]
        own = [word for word in words["hydra"] if not word.startswith("hydra.mode=")]
        return command("-m", *map(str, [*words["task"], *own]))
    except (CheckpointError, LookupError, TypeError, AttributeError):
        return ""


def _facts(folder: Path, rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """When the sweep was, and what its jobs have in common."""
    begun = folder / "multirun.yaml"
    keys = [key for key in rows[0] if not key.startswith(("val/", "test/", "train/"))]
    own = ("run", "state", "job_seconds", "message", "sweep.dir")
    shared = [f"{key}={rows[0][key]}" for key in keys if key not in own]
    same = [word for word in shared if all(_has(row, word) for row in rows)]
    when = datetime.fromtimestamp(begun.stat().st_mtime) if begun.is_file() else None
    return [
        ("begun", f"{when:%Y-%m-%d %H:%M:%S}" if when else ""),
        ("summed up", f"{datetime.now():%Y-%m-%d %H:%M:%S}"),
        ("folder", str(_quoted(folder))),
        ("the same in all jobs", shlex.join(same)),
    ]


def _has(row: Mapping[str, Any], word: str) -> bool:
    key, _, value = word.partition("=")
    return str(row.get(key)) == value


def _values(rows: Sequence[Mapping[str, Any]], key: str) -> str:
    """The values that jobs gave `key`, in order, and how many they are where not all are told."""
    values = list(dict.fromkeys(str(row.get(key, "not given")) for row in rows))
    if len(values) <= MOST_VALUES:
        return ", ".join(values)
    return f"{', '.join(values[: MOST_VALUES - 1])}, …, {values[-1]} ({len(values):,} values)"


def _job(
    folder: Path, row: Mapping[str, Any], swept: Sequence[str], figures: Sequence[str]
) -> dict[str, Any]:
    """A row of a table of jobs; addresses are relative to the page."""
    place = folder / row["run"]
    values = [row.get(name) for name in figures]
    return {
        "run": row["run"],
        "report": quote(f"{row['run']}/{REPORT}") if (place / REPORT).is_file() else "",
        "log": f"{row['run']}/train.log" if (place / "train.log").is_file() else "",
        "log_address": quote(f"{row['run']}/train.log"),
        "state": row["state"],
        "settings": [row.get(key, "") for key in swept],
        "figures": ["" if value is None else number(value) for value in values],
        "seconds": f"{row['job_seconds']:,.1f}" if row["job_seconds"] else "",
        "message": row["message"],
    }


def _quoted(path: Path) -> str:
    """The shortest path to `path`, quoted for the shell."""
    return shlex.quote(str(short_path(path.resolve())))
