"""What each latent dimension holds: KL as bars, the spectrum of the codes, their distributions.

Letters: D latent dimensions, N codes, G grid points.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vae_run.plots.canvas import (
    BLUE,
    BODY,
    MARGIN,
    MUTED,
    ORANGE,
    SMALL,
    VERMILLION,
    Array,
    Heading,
    Picture,
    Sheet,
    text_width,
)
from vae_run.plots.curves import short, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

IDLE = "#aab3be"
"""Colour of the bars of dimensions that are not active."""
_PLOT = (640, 260)
_INSET, _BELOW = 60, 48
_PANEL, _LARGE_PANEL = (196, 128), (300, 180)
_MOST_NAMED = 32


def kl_bars(nats: Sequence[float], active: Sequence[bool], notes: Sequence[str]) -> Picture:
    """KL(q(z_d|x) || p(z_d)) of every dimension, the largest first.

    Args:
        nats: mean over images, [D]; what is not finite has no bar.
        active: [D], whether the dimension counts as active: those bars are blue, others grey.
        notes: how many images, which threshold.
    """
    values: Array = np.asarray(nats, dtype=float)
    order = np.argsort(-np.nan_to_num(values, nan=-np.inf))
    sheet, left, top = _page("KL per latent dimension", notes, key={"active": BLUE, "not": IDLE})
    axes = sheet.axes(left, top, *_PLOT)
    style(axes)
    colours = [BLUE if active[d] else IDLE for d in order]
    axes.bar(range(len(order)), np.nan_to_num(values[order]), 0.8, color=colours, linewidth=0)
    axes.set_xlim(-0.6, max(len(order), 8) - 0.4)
    highest = float(np.nanmax(np.append(values, 0)))
    axes.set_ylim(min(0.0, float(np.nanmin(np.append(values, 0)))), highest * 1.08 or 1.0)
    _name_dimensions(axes, [f"z{d}" for d in order])
    sheet.text(left, top - 12, "nats", size=SMALL, colour=MUTED)
    _below(sheet, left, top, "latent dimension, by KL")
    return sheet.picture()


def spectrum(codes: Sequence[float], pca: Sequence[float], notes: Sequence[str]) -> Picture:
    """Eigenvalues of the covariance of the codes beside PCA's, each as a share of its own sum.

    Args:
        codes: falling eigenvalues, [D].
        pca: falling eigenvalues of the pixels, at most D of them.
        notes: of what; the participation ratio of either is added.
    """
    shares = {name: _shares(values) for name, values in (("codes", codes), ("PCA", pca))}
    said = [
        f"{(s.sum() ** 2 / np.square(s).sum()):.1f} for {name}"
        for name, s in shares.items()
        if s.sum() > 0
    ]
    if said:
        notes = [*notes, f"Effective dimensions (participation ratio): {', '.join(said)}"]
    sheet, left, top = _page("Spectrum of the codes", notes, key={"codes": BLUE, "PCA": ORANGE})
    axes = sheet.axes(left, top, *_PLOT)
    style(axes)
    for (_, share), colour, marker in zip(shares.items(), (BLUE, ORANGE), ("o", "s"), strict=True):
        drawn = np.where(share > 1e-9, share * 100, np.nan)
        size = 5 if len(drawn) <= 40 else 0
        axes.plot(range(len(drawn)), drawn, color=colour, linewidth=1.8, marker=marker, ms=size)
    if any(share.any() for share in shares.values()):
        _percent(axes)
    sheet.text(left, top - 12, "% of their variance", size=SMALL, colour=MUTED)
    _below(sheet, left, top, "principal direction")
    return sheet.picture()


def scree(shares: Sequence[float], kept: int, notes: Sequence[str]) -> Picture:
    """Shares of the variance by principal component as bars, and their running sum as a line.

    Args:
        shares: falling, each in [0, 1].
        kept: the first so many, in colour, are in the code.
        notes: of what, and how much the first ones hold together.
    """
    bars: Array = np.asarray(shares, dtype=float) * 100
    key = {"in the code": BLUE, "not": IDLE, "all up to here": ORANGE}
    sheet, left, top = _page("Principal components", notes, key=key)
    axes = sheet.axes(left, top, *_PLOT)
    style(axes)
    places, colours = np.arange(len(bars)), [BLUE] * kept + [IDLE] * (len(bars) - kept)
    axes.bar(places, bars, 0.8, color=colours, linewidth=0)
    size = 4 if len(bars) <= 40 else 0
    axes.plot(places, bars.cumsum(), color=ORANGE, linewidth=1.8, marker="o", ms=size)
    axes.set_xlim(-0.6, max(len(bars), 8) - 0.4)
    axes.set_ylim(0, 102)
    sheet.text(left, top - 12, "% of the variance", size=SMALL, colour=MUTED)
    _below(sheet, left, top, "principal component")
    return sheet.picture()


@dataclass(frozen=True)
class Marginal:
    """A latent dimension: its name, samples of it [N], and the prior's density [G] at x [G]."""

    name: str
    samples: Array
    x: Array
    density: Array | None


def aggregate_posterior(
    marginals: Sequence[Marginal],
    notes: Sequence[str],
    noun: str = "image",
    *,
    line: str = "prior",
    stochastic: bool = True,
    title: str = "Aggregate posterior and prior",
) -> Picture:
    """Histograms of the codes of a whole split, a panel a dimension, with a density beside them.

    Args:
        marginals: at most 12 are drawn.
        notes: which codes.
        noun: what an example is called.
        line: what the density is of: a prior, or what was fitted to the codes.
        stochastic: the codes are samples of q(z|x).
        title: of the picture.
    """
    shown = marginals[:12]
    panel = _PANEL if len(shown) > 4 else _LARGE_PANEL
    columns = min(4 if len(shown) > 4 else 2, len(shown))
    pitch = (panel[0] + 30, panel[1] + 62)
    width = max(440, 2 * MARGIN + columns * pitch[0])
    heading = Heading(title, [". ".join(notes)], width - 2 * MARGIN)
    top = MARGIN + heading.height
    has_prior = any(m.density is not None for m in shown)
    sheet = Sheet(width, top + 24 + math.ceil(len(shown) / columns) * pitch[1])
    heading.draw(sheet)
    codes = "one sample of q(z|x)" if stochastic else "one"
    entries = {f"codes, {codes} per {noun}": BLUE}
    sheet.key(MARGIN, top + 6, {**entries, line: VERMILLION} if has_prior else entries)
    for index, marginal in enumerate(shown):
        row, column = divmod(index, columns)
        left, upper = MARGIN + 8 + column * pitch[0], top + 46 + row * pitch[1]
        _marginal(sheet, marginal, left, upper, panel)
    return sheet.picture()


def _marginal(
    sheet: Sheet, marginal: Marginal, left: int, upper: int, panel: tuple[int, int]
) -> None:
    """A histogram of the samples, and the density as a line."""
    head, _, detail = marginal.name.partition("  ")
    sheet.text(left, upper - 10, head, bold=True)
    right = left + text_width(head, BODY, bold=True) + 8
    sheet.text(right, upper - 10, detail, size=SMALL, colour=MUTED)
    axes = sheet.axes(left, upper, *panel)
    style(axes)
    axes.grid(visible=False)
    axes.yaxis.set_visible(False)
    count = int(np.clip(2 * math.sqrt(len(marginal.samples)), 8, 40))
    bins = np.linspace(marginal.x[0], marginal.x[-1], count + 1).tolist()
    # One outline, not a patch a bin, which takes many times longer to draw.
    look: dict[str, Any] = {"color": BLUE, "alpha": 0.55, "histtype": "stepfilled"}
    axes.hist(marginal.samples, bins, density=True, **look)
    if marginal.density is not None:
        axes.plot(marginal.x, marginal.density, color=VERMILLION, linewidth=2.0)
    axes.set_xlim(marginal.x[0], marginal.x[-1])


def _page(title: str, notes: Sequence[str], key: dict[str, str]) -> tuple[Sheet, int, int]:
    """A page with one plot: the sheet, and the left and top of its axes."""
    width = 2 * MARGIN + _INSET + _PLOT[0]
    heading = Heading(title, [". ".join(notes)], width - 2 * MARGIN)
    top = MARGIN + heading.height + 44
    sheet = Sheet(width, top + _PLOT[1] + _BELOW)
    heading.draw(sheet)
    sheet.key(MARGIN, MARGIN + heading.height + 6, key)
    return sheet, MARGIN + _INSET, top


def _below(sheet: Sheet, left: int, top: int, name: str) -> None:
    sheet.text(left + _PLOT[0] / 2, top + _PLOT[1] + 34, name, size=SMALL, align="center")


def _name_dimensions(axes: Axes, names: Sequence[str]) -> None:
    from matplotlib.ticker import FixedFormatter, FixedLocator

    step = math.ceil(len(names) / _MOST_NAMED)
    places = list(range(0, len(names), step))
    axes.xaxis.set_major_locator(FixedLocator(places))
    axes.xaxis.set_major_formatter(FixedFormatter([names[place] for place in places]))
    axes.tick_params(axis="x", labelsize=SMALL if len(places) <= 20 else 8)


def _shares(values: Sequence[float]) -> Array:
    found: Array = np.clip(np.nan_to_num(np.asarray(values, dtype=float)), 0, None)
    total = found.sum()
    return found / total if total > 0 else found


def _percent(axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if high < 10 * low:
        axes.set_yscale("linear")
        return
    steps = (1, 2, 5) if high < 1000 * low else (1,)
    axes.yaxis.set_major_locator(LogLocator(subs=steps, numticks=10))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
