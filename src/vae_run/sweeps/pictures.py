"""The pictures of a multirun: metrics against a swept key, and learning curves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vae_run import plots
from vae_run.comparison.pictures import BARS, MOST_SETTINGS, number, with_intervals
from vae_run.config.schema import Figures
from vae_run.errors import CheckpointError
from vae_run.evaluation.quantities import TABLE
from vae_run.evaluation.quantity import Place, Quantities
from vae_run.plots import Line
from vae_run.plots.curves import short
from vae_run.runs.identity import Effect, has_effect
from vae_run.system.console import log
from vae_run.tracking.history import read_history

Row = Mapping[str, Any]

OWN = ("run", "state", "job_seconds", "message")
SPLITS = ("train", "val", "test")


def swept_keys(rows: Sequence[Row]) -> list[str]:
    """The overrides that differ between jobs."""
    return [
        key
        for key in dict.fromkeys(key for row in rows for key in row)
        if not key.startswith(tuple(f"{split}/" for split in SPLITS))
        and key not in OWN
        and not has_effect(key, Effect.NONE)
        and len({row.get(key) for row in rows}) > 1
    ]


def draw(
    folder: Path,
    rows: Sequence[Row],
    mark: str | float | None,
    table: Quantities = TABLE,
    look: Figures = Figures(),  # noqa: B008 (it is frozen)
) -> list[Path]:
    """Write `sweep.png` and `curves.png` into `folder` as far as they make sense; their paths.

    A picture that an earlier command drew, and that the jobs no longer allow, is removed.

    Args:
        folder: of the sweep, with the directory `run` of every row.
        rows: overrides by key, `state`, and figures by split/name, of every job.
        mark: a place on the axis of `sweep.png`, or the name of a figure whose mean is one.
        table: the quantities, with what the runs declare.
        look: the format of the pictures, and their dots per inch.
    """
    done = [row for row in rows if any(f"{split}/loss" in row for split in SPLITS[1:])]
    drawn = {
        "sweep": over_key(done, mark, len(rows) - len(done), table),
        "curves": over_epochs(folder, done, table),
    }
    written = plots.write_pictures(folder, drawn, look.format, look.dpi)
    keys = [key for key in swept_keys(done) if key != "seed"]
    if keys and numeric_key(done) is None:
        log.info("no sweep.png: its axis needs a swept key of numbers, not %s", ", ".join(keys))
    return written


def over_key(
    rows: Sequence[Row], mark: str | float | None, missing: int, table: Quantities = TABLE
) -> Any:
    """The main metrics against the numeric key with the most values; None where there is none."""
    key = numeric_key(rows)
    if key is None:
        return None
    rows, without = [r for r in rows if key in r], [r for r in rows if key not in r]
    panels: dict[str, list[Line]] = {}
    settings = by_setting(rows, key)
    if joined := len(settings) <= MOST_SETTINGS:
        notes = []
    else:  # as in a search, where no two jobs have the same values
        settings, notes = {"": list(rows)}, [also_varied(rows, key)]
    for name in table.shown(Place.SWEEP):
        lines = [
            with_intervals(setting, split, [(number(r[key]), r[tag]) for r in each], joined)
            for setting, members in settings.items()
            for split in SPLITS
            if (tag := f"{split}/{name}") and (each := [row for row in members if tag in row])
        ]
        if any(line.split != "train" for line in lines):
            panels[name] = lines
    seeds = {row.get("seed") for row in rows}
    if joined and len(seeds) > 1:
        notes += [f"mean over {len(seeds)} seeds; every run is a dot", BARS]
    total = len(rows) + len(without) + missing
    notes.append(f"{len(without)} of {total} jobs are given no {key}" if without else "")
    notes.append(f"{missing} of {total} jobs left no metrics" if missing else "")
    return plots.sweep_curves(
        panels,
        key,
        title=f"Sweep of {key}",
        notes=[note for note in notes if note],
        marks=marks(rows, mark),
        joined=joined,
        units=table.units(panels),
    )


def also_varied(rows: Sequence[Row], key: str) -> str:
    """The note on a picture against `key` whose dots belong to too many other settings."""
    return f"every run is a dot; also varied: {', '.join(k for k in swept_keys(rows) if k != key)}"


def numeric_key(rows: Sequence[Row]) -> str | None:
    """The swept key, except `seed`, with the most values, all of them numbers.

    Options of some jobs may have no such key.
    """
    values = {
        key: {number(row[key]) for row in rows if key in row}
        for key in swept_keys(rows)
        if key != "seed"
    }
    counts = {key: len(found) for key, found in values.items() if all(map(math.isfinite, found))}
    return max(counts, key=lambda key: counts[key], default=None)


def by_setting(rows: Sequence[Row], *apart: str) -> dict[str, list[Row]]:
    """The rows grouped by the swept keys, except `seed` and the keys `apart`."""
    keys = [key for key in swept_keys(rows) if key not in ("seed", *apart)]
    found: dict[str, list[Row]] = {}
    for row in rows:
        name = "  ".join(f"{key}={row[key]}" for key in keys if key in row)
        found.setdefault(name, []).append(row)
    return found


def marks(rows: Sequence[Row], mark: str | float | None) -> dict[str, float]:
    """The marked values of the axis, by their labels."""
    if mark is None:
        return {}
    if not isinstance(mark, str):
        return {short(mark): float(mark)}
    found = [row.get(f"test/{mark}", row.get(f"val/{mark}", math.nan)) for row in rows]
    finite = [value for value in found if math.isfinite(value)]
    if not finite:
        log.warning("sweep.mark: no job measured %s; see evaluation.metrics.", mark)
        return {}
    mean = sum(finite) / len(finite)
    return {f"{mark} {mean:.3g}": mean}


def over_epochs(folder: Path, rows: Sequence[Row], table: Quantities = TABLE) -> Any:
    """What was measured on val at every epoch, a line a run; None for one run or too many settings.

    Runs that differ in their seed alone are lines of one setting.
    """
    settings = by_setting(rows)
    if len(rows) < 2 or len(settings) > MOST_SETTINGS:
        return None
    panels: dict[str, list[Line]] = {}
    for setting, members in settings.items():
        for row in members:
            for name, epochs, values in history(folder / row["run"] / "history.csv"):
                panels.setdefault(name, []).append(Line(setting, "val", epochs, values))
    if not panels:
        return None
    ordered = {name: panels[name] for name in table.ordered(panels)}
    few = all(len(line.x) < 3 for lines in panels.values() for line in lines)
    title, units = "Learning curves on val", table.units(panels)
    return plots.sweep_curves(ordered, "epoch", title=title, dots=few, units=units)


def history(path: Path) -> Iterator[tuple[str, list[float], list[float]]]:
    """(name, epochs, values) of every metric on val in a run's `history.csv`."""
    try:
        rows = read_history(path)
    except CheckpointError:  # none was written, or the job's message explains what is wrong with it
        return
    for column in dict.fromkeys(key for row in rows for key in row):
        points = [(row["epoch"], row[column]) for row in rows if column in row]
        if column.startswith("val/"):
            yield column.removeprefix("val/"), [e for e, _ in points], [v for _, v in points]
