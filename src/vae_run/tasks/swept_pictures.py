"""Which pictures a job of a sweep draws: of small runs, drawing would take most of the time."""

from __future__ import annotations

from collections.abc import Sequence

from vae_run.config.schema import Settings
from vae_run.evaluation.selection import Entry, is_outside, target

FEW = ("reconstructions", "samples")
"""The pictures that each job of a sweep draws, with its learning curves; they are quick to draw."""


def swept_pictures(
    settings: Settings, overrides: Sequence[str]
) -> tuple[Sequence[Entry], Sequence[str]]:
    """The entries of `evaluation.figures` that a job draws, and the names of those it leaves out.

    With `figures.in_sweep=few` it draws `FEW` and the user's own pictures, unless one of its
    `overrides` chooses the evaluation, and with it the pictures, or its `figures`.
    """
    figures: list[Entry] = settings.build("evaluation").figures
    keys = {word.lstrip("+~").split("=", 1)[0] for word in overrides}
    chosen = bool(keys & {"evaluation", "evaluation.figures"})
    if settings.fixed.figures.in_sweep == "all" or chosen:
        return figures, []
    few = [entry for entry in figures if is_outside(entry) or target(entry) in FEW]
    return few, [target(entry) for entry in figures if entry not in few]
