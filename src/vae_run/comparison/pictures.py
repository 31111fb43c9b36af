"""The pictures of a comparison: metrics against what was swept, and rate against distortion."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vae_run import plots
from vae_run.comparison.ranking import Comparison, Group
from vae_run.comparison.statistics import estimate
from vae_run.evaluation.quantity import Place
from vae_run.plots import Line, Point

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Picture = NDArray[Any]

MOST_KEYS = 4
BARS = "Bars are 95 % Student-t intervals over seeds, cut where they leave the picture"
FEWEST_VALUES = 3
MOST_POINTS = 40
"""Points of a frontier whose numbers can still be read."""


def draw(comparison: Comparison) -> dict[str, Picture]:
    """The pictures that make sense, by the name of their file."""
    drawn: dict[str, Picture] = {}
    for key in numeric_keys(comparison)[:MOST_KEYS]:
        name = "over_" + key.replace(".", "_")
        drawn[name] = over(comparison, key)
    picture = rate_distortion(comparison)
    return drawn if picture is None else {**drawn, "rate_distortion": picture}


def numeric_keys(comparison: Comparison) -> list[str]:
    """Keys that differ and hold three numbers or more."""
    found = []
    for key in comparison.keys:
        values = {value(group, key) for group in comparison.groups}
        if len(values) >= FEWEST_VALUES and all(v == v for v in values):
            found.append(key)
    return found


def value(group: Group, key: str) -> float:
    """The number at `key`, alone or as a list's only entry; NaN where there is none."""
    return number(group.written(key))


def over(comparison: Comparison, key: str) -> Picture:
    """The metric, and a few beside it, against the numbers at `key`, a dot a run."""
    panels: dict[str, list[Line]] = {}
    settings = by_setting(comparison, key)
    if joined := len(settings) <= MOST_SETTINGS:
        seeds = {seed for group in comparison.groups for seed in group.runs}
        many = len(seeds) > 1
        notes = [f"mean over up to {len(seeds)} seeds; every run is a dot", BARS] if many else []
    else:
        others = [other for other in comparison.short_keys() if other != key]
        settings = {"": comparison.groups}
        notes = [f"every run is a dot; also varied: {', '.join(others)}"]
    for name in dict.fromkeys((comparison.metric, *comparison.table.shown(Place.COMPARISON))):
        for setting, members in settings.items():
            for split in ("val", "test"):
                points = [
                    (value(group, key), y)
                    for group in members
                    for y in group.values(f"{split}/{name}").values()
                ]
                if points:
                    line = with_intervals(setting, split, points, joined)
                    panels.setdefault(name, []).append(line)
    title = f"Metrics against {key}"
    units = comparison.table.units(panels)
    return plots.sweep_curves(panels, key, title=title, notes=notes, joined=joined, units=units)


def with_intervals(
    setting: str, split: str, points: Sequence[tuple[float, float]], joined: bool = True
) -> Line:
    """The points (x, y) of a setting, with the interval of the mean where several share an x.

    Where the points are not `joined`, those that share an x are not repetitions: no interval.
    """
    shared: dict[float, list[float]] = {}
    for x, y in points:
        if math.isfinite(y):
            shared.setdefault(x, []).append(y)
    halves = {x: estimate(ys).half for x, ys in shared.items() if joined and len(ys) > 1}
    return Line(setting, split, [x for x, _ in points], [y for _, y in points], halves)


def by_setting(comparison: Comparison, *apart: str) -> dict[str, list[Group]]:
    """Groups by what differs between them besides the keys `apart`, with as few keys as needed."""
    keys = [key for key in comparison.short_keys() if key not in apart]
    found: dict[str, list[Group]] = {}
    for group in comparison.groups:
        label = comparison.label(group)
        found.setdefault("  ".join(f"{key}={label[key]}" for key in keys), []).append(group)
    return found


def rate_distortion(comparison: Comparison) -> Picture | None:
    """Test `reconstruction` against test `kl` for sweeps over the objective, as over its beta.

    None where less than three settings of the objective have both, or more than `MOST_POINTS`, or
    where the likelihood or the data differ, so that distortions cannot be compared.
    """
    swept = [key for key in numeric_keys(comparison) if key.startswith("objective.")]
    likelihoods = {group.settings.get("likelihood") for group in comparison.groups}
    data = {run.data for group in comparison.groups for run in group.runs.values()}
    if not swept or len(likelihoods) > 1 or len(data) > 1:
        return None
    key = "objective.beta" if "objective.beta" in swept else swept[0]
    lines = {
        setting: _points(members, key) for setting, members in by_setting(comparison, key).items()
    }
    if not FEWEST_VALUES <= sum(len(points) for points in lines.values()) <= MOST_POINTS:
        return None
    many = any(len(group.runs) > 1 for group in comparison.groups)
    notes = [f"Test split{', means over seeds' if many else ''}", f"The numbers are {key}"]
    notes += [BARS] if many else []
    return plots.frontier(lines, notes, comparison.table.of("kl").unit)


def _points(groups: Sequence[Group], key: str) -> list[Point]:
    found = []
    for group in groups:
        rate, distortion = group.estimate("test/kl"), group.estimate("test/reconstruction")
        if rate.n and distortion.n:
            name = f"{value(group, key):g}"
            found.append(Point(name, rate.mean, distortion.mean, rate.half, distortion.half))
    return found


MOST_SETTINGS = 7
"""Settings whose learning curves one picture can hold."""


def number(text: Any) -> float:
    """The number that an override gives, alone or as a list's only entry; NaN where it is none."""
    try:
        return float(re.sub(r"^\[([^,]*)\]$", r"\1", str(text)))
    except ValueError:
        return math.nan
