"""What a reader of a run's report is warned of: recorded in training, or seen in its numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from vae_run.runs.run_directory import RunDirectory
from vae_run.runs.run_log import read_recorded
from vae_run.tracking.history import best_epoch, history

GAP = 0.2
"""Gap between val and train loss, as a share of the fall of val, above which it is called large."""


def warnings(run: RunDirectory, config: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[str]:
    """The warnings that the run recorded (`warnings.jsonl`), and those that its numbers give."""
    recorded = [text for text, level in read_recorded(run.path) if level == "warning"]
    rows = history(run)
    size = (metrics.get("test") or {}).get("effective_sample_size")
    computed = (
        large_gap(rows),
        _warmup(rows, config, best_epoch(rows, metrics)),
        _loose_bound(size),
    )
    found = [*recorded, *(text for text in computed if text)]
    return list(dict.fromkeys(text[0].upper() + text[1:] for text in found))


def notes(run: RunDirectory) -> list[str]:
    """What the run recorded that is no warning."""
    recorded = read_recorded(run.path)
    return [text[0].upper() + text[1:] for text, level in recorded if level == "note"]


def large_gap(rows: Sequence[Mapping[str, float]]) -> str | None:
    """A warning if val stayed far above train in the last epoch that measured both."""
    both = [row for row in rows if {"train/loss", "val/loss"} <= row.keys()]
    if len(both) < 3:
        return None
    last = both[-1]
    gap = last["val/loss"] - last["train/loss"]
    fallen = both[0]["val/loss"] - min(row["val/loss"] for row in both)
    if not (math.isfinite(gap) and math.isfinite(fallen)) or gap <= GAP * max(fallen, 1e-9):
        return None
    return (
        f"Overfitting: at the end the loss on val is {gap:.3g} nats above that on train, while val "
        f"fell by {fallen:.3g} nats over the training. More data, a smaller network, or an earlier "
        "end (trainer.patience) would narrow it."
    )


def _warmup(
    rows: Sequence[Mapping[str, float]], config: Mapping[str, Any], best: float | None
) -> str | None:
    """A warning if the weights that were kept, of epoch `best`, never saw the full beta."""
    epochs = (config.get("objective") or {}).get("warmup_epochs") or 0
    if not rows or not epochs:
        return None
    if rows[-1]["epoch"] < epochs:
        return (
            f"Beta warm-up: training ended at epoch {rows[-1]['epoch']:g}, before the {epochs:g} "
            "epochs of objective.warmup_epochs, so beta never reached its value."
        )
    if best is not None and best < epochs:
        return (
            f"Beta warm-up: the best epoch, {best:g}, lies before its end at {epochs:g}, "
            "so the model was trained with a smaller beta than objective.beta says."
        )
    return None


def _loose_bound(effective_samples: float | None) -> str | None:
    """A warning if the importance-weighted bound rests on few of its samples."""
    if effective_samples is None or effective_samples >= 2:
        return None
    return (
        f"The log-likelihood rests on {effective_samples:.2g} effective samples per image: it is a "
        "loose bound. Raise evaluation.importance_samples."
    )
