"""What a run's own files say of its training: its epochs, and what a reader is warned of."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from vae_run.runs.run_directory import RunDirectory
from vae_run.tracking.history import best_row, history

GAP = 0.2
"""Gap between val and train loss, as a share of how far val fell, that is called large."""


def warnings(run: RunDirectory, config: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[str]:
    """What was warned of in training, and what the figures themselves warn of."""
    found = []
    log = run.path / "train.log"
    if log.is_file():
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            if match := re.match(r"[\d-]+ [\d:,]+ WARNING (.*)", line):
                found.append(match[1])
    rows = history(run)
    found += [text for text in (large_gap(rows), _warmup(rows, config)) if text]
    size = (metrics.get("test") or {}).get("effective_sample_size")
    if size is not None and size < 2:
        found.append(
            f"The log-likelihood rests on {size:.2g} effective samples an image: it is a loose "
            "bound. Raise evaluation.importance_samples."
        )
    return list(dict.fromkeys(text[0].upper() + text[1:] for text in found if text))


def large_gap(rows: Sequence[Mapping[str, float]]) -> str | None:
    """A warning where val has stayed far above train, at the last epoch that measured both."""
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


def _warmup(rows: Sequence[Mapping[str, float]], config: Mapping[str, Any]) -> str | None:
    epochs = (config.get("objective") or {}).get("warmup_epochs") or 0
    best = best_row(rows)
    if not rows or not epochs:
        return None
    if rows[-1]["epoch"] < epochs:
        return (
            f"Beta warm-up: training ended at epoch {rows[-1]['epoch']:g}, before the {epochs:g} "
            "epochs of objective.warmup_epochs, so beta never reached its value."
        )
    if best is not None and best["epoch"] < epochs:
        return (
            f"Beta warm-up: the best epoch, {best['epoch']:g}, lies before its end at {epochs:g}, "
            "so the model was trained with a smaller beta than objective.beta says."
        )
    return None
