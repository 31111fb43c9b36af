"""Groups of runs that differ in their seed alone, ranked on val, where they can be compared."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from vae_run.comparison.candidates import Candidate
from vae_run.comparison.statistics import Difference, Estimate, estimate, paired_differences
from vae_run.errors import ConfigError
from vae_run.evaluation.quantities import TABLE
from vae_run.evaluation.quantity import Place, Quantities, Quantity

MOST_KEYS = 6
"""Keys that are named when they make metrics incomparable; of others, only the number."""


@dataclass
class Group:
    """Completed runs of the same settings, by seed."""

    settings: Mapping[str, Any]
    runs: dict[int, Candidate] = field(default_factory=dict)

    def written(self, key: str) -> str:
        """The setting at `key` as it was typed, or as one would type it; "" where there is none."""
        for run in self.runs.values():
            if key in run.typed:
                return run.typed[key]
        return written(self.settings[key]) if key in self.settings else ""

    def values(self, tag: str) -> dict[int, float]:
        """The values of `tag`, such as test/elbo, by seed, where it is there and finite."""
        found = {seed: run.metrics.get(tag, math.nan) for seed, run in self.runs.items()}
        return {seed: value for seed, value in found.items() if math.isfinite(value)}

    def estimate(self, tag: str) -> Estimate:
        return estimate(list(self.values(tag).values()))


@dataclass(frozen=True)
class Comparison:
    """Groups of runs, their ranking, and what it rests on.

    Attributes:
        metric: by which groups are ranked.
        groups: best first where they are ranked.
        keys: settings that differ between groups, by their number of values.
        refusals: why groups cannot be ranked; then they are not.
        differences: of ranked groups on `split`, as indices into `groups`.
        rest: runs that are not completed, and repetitions of a seed.
        split: of the differences, test or val.
        table: the quantities, with what the runs declare.
    """

    metric: str
    groups: list[Group]
    keys: list[str]
    refusals: list[str]
    differences: list[Difference]
    rest: list[tuple[Candidate, str]]
    split: str
    table: Quantities = TABLE

    @property
    def about(self) -> Quantity:
        """What the metric is."""
        return self.table.of(self.metric)

    @property
    def ranked(self) -> bool:
        return not self.refusals

    def label(self, group: Group) -> dict[str, str]:
        """The settings that differ, as text; "" where the group has no such key."""
        return {key: group.written(key) for key in self.keys}

    def counted(self, group: Group) -> int:
        """How many runs of `group` have the metric that ranks: what its interval rests on."""
        return min((len(group.values(tag)) for tag in self._tags), default=len(group.runs))

    @cached_property
    def _tags(self) -> list[str]:
        """The metric on val and test, where any group has it."""
        tags = (f"{split}/{self.metric}" for split in ("val", "test"))
        return [tag for tag in tags if any(group.values(tag) for group in self.groups)]

    def seeds(self, group: Group) -> str:
        """The number of seeds of `group`, and how many of them have the metric if not all do."""
        counted, total = self.counted(group), len(group.runs)
        return str(total) if counted == total else f"{counted} of {total}"

    @cached_property
    def incomplete(self) -> str | None:
        """A sentence on how to read `seeds`, where a run lacks the metric; else None."""
        whole = all(self.counted(group) == len(group.runs) for group in self.groups)
        return None if whole else f"Seeds: n of m have a finite {self.metric} on val and test."

    def short_keys(self) -> list[str]:
        """As few of the keys as tell all groups apart."""
        labels = [self.label(group) for group in self.groups]
        chosen, told = list[str](), 1
        while told < len(labels):
            counts = {
                key: len({(*(label[k] for k in chosen), label[key]) for label in labels})
                for key in self.keys
                if key not in chosen
            }
            best = max(counts, key=lambda key: counts[key], default=None)
            if best is None:
                break
            chosen, told = [*chosen, best], counts[best]
        return chosen

    def better_than(self, index: int) -> list[int]:
        """Groups whose corrected interval of the paired difference to group `index` says worse."""
        return self._worse.get(index, [])

    @cached_property
    def _worse(self) -> dict[int, list[int]]:
        """By index, the groups that a group is better than."""
        sign = self.about.better
        found: dict[int, list[int]] = {}
        for d in self.differences:
            if d.estimate.excludes_zero:
                first_wins = sign * d.estimate.mean > 0
                better, worse = (d.first, d.second) if first_wins else (d.second, d.first)
                found.setdefault(better, []).append(worse)
        return {index: sorted(worse) for index, worse in found.items()}


def compare(
    candidates: Sequence[Candidate],
    metric: str | None = None,
    keys: Sequence[str] | None = None,
) -> Comparison:
    """Group the runs, check whether their metrics can be compared, and rank them.

    `metric` is by default `elbo` where every completed run has it on val, else `mse`; `keys`, by
    which groups are told apart, are by default all that differ.
    """
    rest = [(run, run.message) for run in candidates if not run.complete]
    groups: dict[str, Group] = {}
    for run in (candidate for candidate in candidates if candidate.complete):
        group = groups.setdefault(_key(run), Group(run.settings))
        if run.seed in group.runs:
            rest.append((run, f"repeats seed {run.seed} of {group.runs[run.seed].name}; left out"))
        else:
            group.runs[run.seed] = run
    found = list(groups.values())
    rows = (row for run in candidates for row in run.declared.quantities)
    nouns = {run.declared.noun for run in candidates if run.complete}
    table = TABLE.with_declared(rows, nouns)
    metric = metric or _default_metric(found, table)
    refusals = [*obstacles(found, metric, table)]
    if not refusals:
        sign = table.of(metric).better
        found.sort(key=lambda group: -sign * group.estimate(f"val/{metric}").mean)
    split = "test" if all(group.values(f"test/{metric}") for group in found) else "val"
    values = [group.values(f"{split}/{metric}") for group in found]
    differences = [] if refusals else paired_differences(values)
    keys = _differing(found) if keys is None else list(keys)
    return Comparison(metric, found, keys, refusals, differences, rest, split, table)


def _key(run: Candidate) -> str:
    """What runs of one group have in common: settings, and typed keys that are not among them."""
    more = {key: text for key, text in run.typed.items() if key not in run.settings}
    return json.dumps([run.settings, more], sort_keys=True, default=str)


def _default_metric(groups: Sequence[Group], table: Quantities) -> str:
    for name in table.shown(Place.RANKING):
        if all(group.values(f"val/{name}") for group in groups):
            return name
    return "loss"


def _differing(groups: Sequence[Group]) -> list[str]:
    """Keys whose values differ between groups: the preset, then those with the most values."""
    keys = list(dict.fromkeys(key for group in groups for key in group.settings))
    counts = {key: len({written(group.settings.get(key)) for group in groups}) for key in keys}
    return sorted(
        (key for key in keys if counts[key] > 1),
        key=lambda k: (k == "data", k != "model", -counts[k], "." in k, keys.index(k)),
    )


def obstacles(groups: Sequence[Group], metric: str, table: Quantities) -> list[str]:
    """Why `metric` of these groups cannot be ranked: what differs, by name.

    Raises:
        ConfigError: no run has this metric on val, or neither direction of it is better.
    """
    tag, about = f"val/{metric}", table.of(metric)
    if not groups:
        return ["no run is completed"]
    if not any(group.values(tag) for group in groups):
        known = sorted(
            {t[4:] for g in groups for r in g.runs.values() for t in r.metrics if "val/" in t}
        )
        if not known:
            return ["the runs have no metrics on val (dataset.val_size=0), which ranking needs"]
        raise ConfigError(f"metric: no run has {metric!r} on val. They have {', '.join(known)}.")
    if about.better == 0:
        raise ConfigError(
            f"metric: neither direction of {metric} is better, so it cannot rank. Use one "
            "such as elbo, mse or loss."
        )
    found = []
    if lacking := sum(not group.values(tag) for group in groups):
        found.append(f"{lacking} of {len(groups)} settings have no {tag}")
    if len({run.data for group in groups for run in group.runs.values()}) > 1:
        found.append(f"the data differ ({_named(groups, 'dataset') or 'their fingerprints'})")
    if keys := _named(groups, "corruption"):
        found.append(f"the encoder sees other inputs ({keys})")
    kinds = sorted({str(group.settings.get("likelihood")) for group in groups})
    if about.of_likelihood and len(kinds) > 1:
        found.append(f"{metric} is of different likelihoods (likelihood: {', '.join(kinds)})")
    if metric == "loss" and (keys := _named(groups, "objective")):
        found.append(f"different losses were minimised ({keys})")
    samples = {run.importance_samples for group in groups for run in group.runs.values()}
    if metric == "log_likelihood" and len(samples) > 1:
        counts = f"({', '.join(map(str, sorted(samples)))})"
        found.append(f"the bounds have different evaluation.importance_samples {counts}")
    return found


def _named(groups: Sequence[Group], part: str) -> str:
    """The keys of `part` that differ, with their values."""
    keys = [key for key in _differing(groups) if key == part or key.startswith(f"{part}.")]
    told = []
    for key in sorted(keys)[:MOST_KEYS]:
        values = list(dict.fromkeys(written(group.settings.get(key)) for group in groups))
        told.append(f"{key}: {', '.join(values[:4])}{', ...' if len(values) > 4 else ''}")
    more = len(keys) - len(told)
    return "; ".join([*told, *([f"{more} more keys"] if more else [])])


def written(value: Any) -> str:
    """A setting as one would type it."""
    if isinstance(value, bool) or value is None:
        return "null" if value is None else str(value).lower()
    if isinstance(value, list):
        return f"[{','.join(written(item) for item in value)}]"
    return str(value)
