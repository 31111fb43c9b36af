r"""A comparison as a table for a paper or a page: LaTeX (booktabs) and Markdown.

A row is a setting over its seeds: the mean, with half its 95 % interval where there are two seeds
or more, to the digits that the interval leaves. Where settings are ranked, the best mean of every
column that has a better direction is bold.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vae_run.comparison.ranking import Comparison
from vae_run.comparison.statistics import Estimate
from vae_run.evaluation.quantity import Place
from vae_run.system.files import write_atomically
from vae_run.system.formatting import number

_LATEX: Mapping[str, str] = {
    **{each: f"\\{each}" for each in "&%$#_{}"},
    **{"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "\n": " "},
}
_BETTER = {1: "higher", -1: "lower"}


@dataclass(frozen=True)
class _Column:
    """A metric on a split: its values by group, its better direction, and the best group."""

    split: str
    name: str
    unit: str
    better: int
    values: Sequence[Estimate]
    best: int | None


def write_tables(folder: Path, stem: str, comparison: Comparison | None) -> None:
    """Write STEM.tex and STEM.md into `folder`; without a comparison, remove earlier ones."""
    for ending, table in ((".tex", latex), (".md", markdown)):
        file = folder / f"{stem}{ending}"
        if comparison is None or not comparison.groups:
            file.unlink(missing_ok=True)
        else:
            write_atomically(file, table(comparison).encode())


def latex(comparison: Comparison) -> str:
    r"""The table as LaTeX: a `tabular` of booktabs, to be taken in by `\input`."""
    keys, columns = comparison.short_keys(), _columns(comparison)
    arrows = {1: r" $\uparrow$", -1: r" $\downarrow$", 0: ""}
    heads = [latex_text(key) for key in keys] + ["seeds"]
    heads += [f"{c.split} {latex_text(c.name)}{arrows[c.better]}" for c in columns]
    lines = [
        r"% Needs \usepackage{booktabs}.",
        *(f"% {line}" for line in _notes(comparison, columns)),
        rf"\begin{{tabular}}{{{'l' * len(keys)}{'r' * (1 + len(columns))}}}",
        r"\toprule",
        " & ".join(heads) + r" \\",
        r"\midrule",
    ]
    for place, group in enumerate(comparison.groups):
        cells = [latex_text(comparison.label(group)[key]) for key in keys]
        cells += [comparison.seeds(group), *(_latex_cell(c, place) for c in columns)]
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def markdown(comparison: Comparison) -> str:
    """The table as Markdown, with a sentence on how to read it."""
    keys, columns = comparison.short_keys(), _columns(comparison)
    arrows = {1: " ↑", -1: " ↓", 0: ""}
    heads = [markdown_text(key) for key in keys] + ["seeds"]
    heads += [f"{c.split} {markdown_text(c.name)}{arrows[c.better]}" for c in columns]
    rules = ["---"] * len(keys) + ["---:"] * (1 + len(columns))
    rows = [heads, rules]
    for place, group in enumerate(comparison.groups):
        cells = [markdown_text(comparison.label(group)[key]) for key in keys]
        rows.append([*cells, comparison.seeds(group), *(_markdown_cell(c, place) for c in columns)])
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*lines, "", *(f"{line}  " for line in _notes(comparison, columns)), ""])


def latex_text(text: str) -> str:
    """`text` with everything that LaTeX would take as a command made to stand for itself."""
    return "".join(_LATEX.get(each, each) for each in text)


def markdown_text(text: str) -> str:
    """`text` with everything that Markdown would take as markup made to stand for itself."""
    return re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", text.replace("\n", " "))


def _columns(comparison: Comparison) -> list[_Column]:
    """The ranking metric on val and test, and on test those that are shown beside it."""
    beside = [n for n in comparison.table.shown(Place.COMPARISON) if n != comparison.metric]
    tags = [(split, comparison.metric) for split in ("val", "test")]
    found = []
    for split, name in [*tags, *(("test", name) for name in beside)]:
        values = [group.estimate(f"{split}/{name}") for group in comparison.groups]
        about = comparison.table.of(name)
        if any(each.n for each in values):
            ranked = comparison.ranked and about.better != 0
            best = _best(values, about.better) if ranked else None
            found.append(_Column(split, name, about.unit, about.better, values, best))
    return found


def _best(values: Sequence[Estimate], better: int) -> int | None:
    """The place of the best mean; None for fewer than two of them."""
    means = {i: better * each.mean for i, each in enumerate(values) if math.isfinite(each.mean)}
    return max(means, key=lambda place: means[place]) if len(means) > 1 else None


def _latex_cell(column: _Column, place: int) -> str:
    value = column.values[place]
    if not value.n:
        return ""
    if not math.isfinite(value.mean):
        return "not finite"
    text = number(value.mean, value.half).replace("−", "-").replace("±", r"\pm")
    text = re.sub(r"e([-+]?)0*(\d+)", r" \\times 10^{\1\2}", text).replace("^{+", "^{")
    text = text.replace(",", "{,}")
    return rf"$\mathbf{{{text}}}$" if place == column.best else f"${text}$"


def _markdown_cell(column: _Column, place: int) -> str:
    value = column.values[place]
    text = number(value.mean, value.half) if value.n else ""
    return f"**{text}**" if place == column.best else text


def _notes(comparison: Comparison, columns: Sequence[_Column]) -> list[str]:
    """How to read the table, a line each."""
    lines = []
    if any(len(group.runs) > 1 for group in comparison.groups):
        lines.append("Mean over seeds ± half its 95 % Student-t interval.")
    if comparison.incomplete is not None:
        lines.append(comparison.incomplete)
    units: dict[str, list[str]] = {}
    for column in columns:
        if column.unit and column.name not in units.setdefault(column.unit, []):
            units[column.unit].append(column.name)
    lines += [f"{unit}: {', '.join(names)}." for unit, names in units.items()]
    if comparison.ranked:
        better = _BETTER[comparison.about.better]
        lines.append(f"Ranked by {comparison.metric} on val, {better} is better; bold: best mean.")
    else:
        lines.append(f"Not ranked: {'; '.join(comparison.refusals)}.")
    return [line.replace("\n", " ") for line in lines]
