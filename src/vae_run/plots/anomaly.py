"""Scores of normal and of anomalous images, and how well a threshold between them does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vae_run.plots.canvas import (
    BLUE,
    HAIRLINE,
    INK,
    MARGIN,
    SMALL,
    VERMILLION,
    Array,
    Heading,
    Picture,
    Sheet,
)
from vae_run.plots.curves import style
from vae_run.plots.fonts import DEFAULT

_PLOT, _ROC = (520, 170), 170
_INSET, _BETWEEN, _ABOVE, _BELOW = 50, 70, 34, 54
_MOST_PANELS = 5


@dataclass(frozen=True)
class Scores:
    """A score: what it is, with its unit, its values on normal and on anomalous images, and AUROC.

    Attributes:
        roc: false positive rates [T] and true positive rates [T] of all thresholds.
    """

    title: str
    normal: Array
    anomalous: Array
    auroc: float
    roc: tuple[Array, Array]


def anomaly_scores(panels: Sequence[Scores], notes: Sequence[str], noun: str = "images") -> Picture:
    """Histograms of each score, anomalous ones should lie right, and its ROC curve beside them.

    Args:
        panels: at most 5 are drawn.
        notes: which images are normal.
        noun: what the examples are called.
    """
    shown = panels[:_MOST_PANELS]
    width = 2 * MARGIN + _INSET + _PLOT[0] + _BETWEEN + _ROC
    heading = Heading("Anomaly scores", [". ".join(notes)], width - 2 * MARGIN)
    top = MARGIN + heading.height
    pitch = _ABOVE + _PLOT[1] + _BELOW
    sheet = Sheet(width, top + 22 + len(shown) * pitch)
    heading.draw(sheet)
    sheet.key(MARGIN, top + 6, {"normal": BLUE, "anomalous": VERMILLION})
    for row, panel in enumerate(shown):
        upper = top + 22 + row * pitch
        _histograms(sheet, panel, MARGIN + _INSET, upper + _ABOVE, noun)
        _roc(sheet, panel, MARGIN + _INSET + _PLOT[0] + _BETWEEN, upper + _ABOVE)
    return sheet.picture()


def _histograms(sheet: Sheet, panel: Scores, left: int, top: int, noun: str) -> None:
    """Shares of the normal and of the anomalous images in each of 50 steps of the score."""
    axes = sheet.axes(left, top, *_PLOT)
    style(axes)
    both = np.concatenate([panel.normal, panel.anomalous])
    both = both[np.isfinite(both)]
    low, high = np.quantile(both, [0.0, 0.995]) if len(both) else (0.0, 1.0)
    bins = np.linspace(low, high if high > low else low + 1.0, 51).tolist()
    for scores, colour in ((panel.normal, BLUE), (panel.anomalous, VERMILLION)):
        kept = np.clip(scores[np.isfinite(scores)], bins[0], bins[-1])
        if not len(kept):
            continue
        share = np.full(len(kept), 100 / len(kept))
        axes.hist(kept, bins, weights=share, color=colour, alpha=0.45, histtype="stepfilled")
        axes.hist(kept, bins, weights=share, histtype="step", color=colour, linewidth=1.4)
    axes.set_xlim(bins[0], bins[-1])
    axes.set_ylabel(f"% of the {noun}", fontsize=SMALL, color=INK, family=DEFAULT)
    sheet.text(left - _INSET, top - 14, panel.title, bold=True)
    middle, below = left + _PLOT[0] / 2, top + _PLOT[1] + 34
    sheet.text(middle, below, panel.title, size=SMALL, align="center")


def _roc(sheet: Sheet, panel: Scores, left: int, top: int) -> None:
    """True against false positive rate over all thresholds, with the diagonal of chance."""
    axes = sheet.axes(left, top, _ROC, _ROC)
    style(axes)
    axes.plot([0, 100], [0, 100], color=HAIRLINE, linewidth=1.2, linestyle=(0, (4, 3)))
    false, true = panel.roc
    axes.plot(false * 100, true * 100, color=INK, linewidth=1.8, solid_capstyle="round")
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    axes.set_xticks([0, 50, 100])
    axes.set_yticks([0, 50, 100])
    for line in axes.lines:
        line.set_clip_on(False)
    axes.set_ylabel("% of anomalies found", fontsize=SMALL, color=INK, family=DEFAULT)
    sheet.text(left, top - 14, f"AUROC {panel.auroc:.3f}", bold=True)
    sheet.text(left + _ROC / 2, top + _ROC + 34, "% of false alarms", size=SMALL, align="center")
