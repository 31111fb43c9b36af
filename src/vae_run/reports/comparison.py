"""The page of a comparison."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from vae_run.comparison.ranking import Comparison
from vae_run.comparison.statistics import ALL_PAIRS, Estimate
from vae_run.evaluation.quantity import Place
from vae_run.reports.page import pictures, render
from vae_run.reports.run import NAME as REPORT
from vae_run.system.files import write_atomically
from vae_run.system.formatting import number, ranges

MOST_PAIRS = 60
MOST_ROWS = 200
"""Settings of a page at most, the best: a browser takes seconds for thousands."""
MOST_KEYS = 6
"""Settings that differ and have a column of their own: more do not fit 1280 pixels."""
MOST_COLUMNS = 7
"""Columns of settings and of further metrics together."""
MOST_NAMED = 20
"""Runs of a setting that are named."""
MOST_LEFT_OUT = 200
"""Runs that are left out and named."""
CAPTIONS = {
    "rate_distortion": "What the code costs against what it leaves unexplained. The lower left "
    "corner is the better one.",
}


def write_page(comparison: Comparison, folder: Path, name: str) -> None:
    """Write the page `name` into `folder`, with the pictures that lie in its `figures/`."""
    page = render(
        "compare.html",
        title=f"Comparison of {sum(len(group.runs) for group in comparison.groups)} runs",
        pictures=pictures(folder / "figures", CAPTIONS),
        links=_links(comparison, folder),
        left_out_runs=max(0, len(comparison.rest) - MOST_LEFT_OUT),
        rest=comparison.rest[:MOST_LEFT_OUT],
        **tables(comparison, named=True),
    )
    write_atomically(folder / name, page.encode())


def tables(
    comparison: Comparison, pairs_in: str = "differences.csv", named: bool = False
) -> dict[str, Any]:
    """What `ranking.html` shows: settings and their differences; `pairs_in` has all of these.

    `named`: whether the runs of a setting are named; in a sweep its own keys tell them apart.
    """
    first = comparison.short_keys()
    keys = [*first, *(key for key in comparison.keys if key not in first)]
    beside = [
        name
        for name in comparison.table.shown(Place.COMPARISON)
        if name != comparison.metric and _known(comparison, name)
    ]
    return {
        "keys": keys[:MOST_KEYS],
        "more_keys": keys[MOST_KEYS:],
        "more_rows": max(0, len(comparison.groups) - MOST_ROWS),
        "comparison": comparison,
        "named": named,
        "about": comparison.about,
        "beside": beside[: max(1, MOST_COLUMNS - len(keys[:MOST_KEYS]))],
        "rows": [_row(comparison, index) for index in range(len(comparison.groups[:MOST_ROWS]))],
        "pairs": _pairs(comparison)[:MOST_PAIRS],
        "left_out": max(0, sum(len(d.seeds) > 1 for d in comparison.differences) - MOST_PAIRS),
        "pairs_in": pairs_in,
        "all_pairs": ALL_PAIRS,
    }


def _links(comparison: Comparison, folder: Path) -> dict[str, str]:
    """{run: the address of its report, relative to a page in `folder`}, where it has one."""
    shown = [run for group in comparison.groups[:MOST_ROWS] for run in group.runs.values()]
    reports = {run.name: run.path.absolute() / REPORT for run in shown}
    start = folder.absolute()
    return {
        name: quote(Path(os.path.relpath(report, start)).as_posix())
        for name, report in reports.items()
        if report.is_file()
    }


def _known(comparison: Comparison, name: str) -> bool:
    return any(group.values(f"test/{name}") for group in comparison.groups)


def _row(comparison: Comparison, index: int) -> dict[str, Any]:
    group = comparison.groups[index]
    figures = {tag.split("/")[1] for run in group.runs.values() for tag in run.metrics}
    return {
        "rank": index + 1,
        "label": comparison.label(group),
        "seeds": ", ".join(str(seed) for seed in sorted(group.runs)),
        "count": len(group.runs),
        "counted": comparison.seeds(group),
        "runs": [group.runs[seed].name for seed in sorted(group.runs)[:MOST_NAMED]],
        "val": _cell(group.estimate(f"val/{comparison.metric}")),
        "test": {name: _cell(group.estimate(f"test/{name}")) for name in figures},
        "better": ranges([other + 1 for other in comparison.better_than(index)]),
    }


def _cell(found: Estimate) -> str:
    return number(found.mean, found.half) if found.n else ""


def _pairs(comparison: Comparison) -> list[dict[str, str]]:
    """Differences over two seeds or more, those that exclude zero first."""
    known = [d for d in comparison.differences if len(d.seeds) > 1]
    known.sort(key=lambda d: not d.estimate.excludes_zero)
    return [
        {
            "first": str(d.first + 1),
            "second": str(d.second + 1),
            "seeds": str(len(d.seeds)),
            "difference": number(d.estimate.mean, d.estimate.half),
            "verdict": _verdict(comparison, d.first, d.second),
        }
        for d in known
    ]


def _verdict(comparison: Comparison, first: int, second: int) -> str:
    for better, worse in ((first, second), (second, first)):
        if worse in comparison.better_than(better):
            return f"{better + 1} is better"
    return "cannot be told apart"
