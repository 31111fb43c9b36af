"""A comparison on the terminal: a row for each setting, and how to read them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.table import Table
from rich.text import Text

from vae_run.comparison.ranking import Comparison
from vae_run.comparison.statistics import ALL_PAIRS, Estimate
from vae_run.system.console import console
from vae_run.system.formatting import number, ranges


def interval(found: Estimate) -> str:
    """The mean with half the width of its interval."""
    return number(found.mean, found.half) if found.n else ""


def widest(build: Callable[[Sequence[str]], Table], tags: Sequence[str], least: int = 2) -> Table:
    """The table with as many of the columns `tags` as fit the terminal, `least` or more."""
    tags, unlimited = list(tags), console.options.update(width=10_000)
    while len(tags) > least:
        if console.measure(build(tags), options=unlimited).maximum <= console.width:
            break
        tags.pop()
    return build(tags)


def groups_table(
    comparison: Comparison,
    tags: Sequence[str],
    most: int | None = None,
    last: Sequence[str] | None = None,
) -> Table:
    """A row for each group, or for the first `most` of them: settings, seeds, and metrics.

    Args:
        comparison: the groups.
        tags: of the metrics.
        most: rows.
        last: settings that stand behind the metrics; None: those that tell all groups apart stand
            before them.
    """
    first = comparison.short_keys() if last is None else []
    said = comparison.ranked and len(comparison.groups) > 1
    table = Table(box=None, header_style="bold")
    for name in ("rank", *first):
        table.add_column(name, no_wrap=True)
    for name in ("seeds", *tags):
        table.add_column(name, no_wrap=True, justify="right")
    if said:
        table.add_column("better than")
    for name in last or ():
        table.add_column(name, no_wrap=True)
    for index, group in enumerate(comparison.groups[:most]):
        label = comparison.label(group)
        cells = [str(index + 1) if comparison.ranked else "-", *(label[key] for key in first)]
        cells += [comparison.seeds(group), *(interval(group.estimate(tag)) for tag in tags)]
        if said:
            cells.append(ranges([other + 1 for other in comparison.better_than(index)]))
        table.add_row(*cells, *(label[key] for key in last or ()))
    return table


def settings_table(comparison: Comparison, tags: Sequence[str]) -> tuple[Table, list[str]]:
    """A row for each group with as many settings that differ as fit, and those that do not.

    Those that tell the groups apart come first.
    """
    first = comparison.short_keys()
    keys = [*first, *(key for key in comparison.keys if key not in first)]
    kept = list[str]()

    def build(some: Sequence[str]) -> Table:
        kept[:] = some
        return groups_table(comparison, tags, last=some)

    return widest(build, keys, least=0), keys[len(kept) :]


def red_name(name: str, message: str) -> Text:
    """A line on a run that is left out: its name in red, and why."""
    return Text.assemble((name, "red"), f": {message}")


def told(comparison: Comparison) -> list[str]:
    """How to read the table, a line each."""
    lines, metric = [], comparison.metric
    if any(len(group.runs) > 1 for group in comparison.groups):
        lines.append("± is half the 95 % Student-t interval over seeds.")
    if comparison.incomplete is not None:
        lines.append(comparison.incomplete)
    pairs = max((d.comparisons for d in comparison.differences if len(d.seeds) > 1), default=0)
    if comparison.ranked and pairs:
        lines.append(
            f"Ranked by {metric} on val. Better: the interval of the difference on "
            f"{comparison.split}, paired "
            f"by seed and corrected for {pairs:,} comparison{'s' * (pairs != 1)} (Bonferroni), "
            "excludes zero."
        )
        if len(comparison.groups) > ALL_PAIRS:
            lines.append(f"Of more than {ALL_PAIRS} settings, each is compared with the best.")
    elif comparison.ranked and len(comparison.groups) > 1:
        why = "No two settings share two seeds"
        if len(comparison.groups) > ALL_PAIRS:
            why = (
                f"Of more than {ALL_PAIRS} settings, each is compared with the best alone, and "
                "none shares two seeds with it"
            )
        lines.append(
            f"Ranked by {metric} on val. {why}, so none can be called better: repeat them with "
            "'seed=range(3)'."
        )
    return lines
