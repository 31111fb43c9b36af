"""Densities over the plane, drawn as dashed lines around shares of their mass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vae_run.plots.canvas import INK, SMALL, Array
from vae_run.plots.fonts import families

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Density:
    """A density over a grid of the plane, values [Y, X] at (x, y), and named levels of it."""

    x: Array
    y: Array
    values: Array
    levels: Mapping[str, float]

    def extent(self) -> Array:
        """Points [N, 2] of the grid inside the lowest level."""
        y, x = np.nonzero(self.values >= min(self.levels.values()))
        return np.stack([self.x[x], self.y[y]], axis=1)

    def draw(self, axes: Axes) -> None:
        """Each level as a dark line with its name on it."""
        from matplotlib.patheffects import withStroke

        named = sorted((level, name) for name, level in self.levels.items())
        levels = [level for level, _ in named]
        if len(set(levels)) < len(levels) or not np.isfinite(levels).all():
            return
        drawn = axes.contour(
            self.x,
            self.y,
            self.values,
            levels,
            colors=INK,
            linewidths=1.1,
            linestyles="dashed",
        )
        for text in axes.clabel(
            drawn, fmt=dict(named), fontsize=SMALL, inline=True, inline_spacing=4
        ):
            text.set_path_effects([withStroke(linewidth=3, foreground="white")])


@dataclass(frozen=True)
class Gaussian:
    """A normal distribution in the plane: mean [2], covariance [2, 2], and shares of its mass.

    The smallest region that holds the share m is the ellipse at the Mahalanobis distance
    sqrt(-2 log(1 - m)).
    """

    mean: Array
    covariance: Array
    masses: Sequence[float]

    def ellipse(self, mass: float, points: int = 361) -> Array:
        """The closed curve [points, 2] around the share `mass`."""
        angle = np.linspace(0, 2 * np.pi, points)
        circle = np.stack([np.cos(angle), np.sin(angle)])
        radius = np.sqrt(-2 * np.log1p(-mass))
        values, vectors = np.linalg.eigh(self.covariance)
        curve: Array = self.mean + radius * (vectors * np.sqrt(values.clip(0)) @ circle).T
        return curve

    def extent(self) -> Array:
        """Points [N, 2] of all ellipses."""
        return np.concatenate([self.ellipse(mass) for mass in self.masses])

    def draw(self, axes: Axes) -> None:
        """Each ellipse as a dark dashed line, with its name where it is lowest."""
        for mass in self.masses:
            curve = self.ellipse(mass)
            axes.plot(*curve.T, color=INK, linewidth=1.1, linestyle="dashed")
            x, y = curve[curve[:, 1].argmin()].tolist()
            halo(axes, x, y, f"{mass * 100:g} %", SMALL)


def halo(axes: Axes, x: float, y: float, text: str, size: float, bold: bool = False) -> None:
    """A word in the middle of (x, y), on a white halo."""
    from matplotlib.patheffects import withStroke

    axes.text(
        x,
        y,
        text,
        fontsize=size,
        family=families(text),
        weight="bold" if bold else "normal",
        color=INK,
        ha="center",
        va="center",
        parse_math=False,
        clip_on=True,
        path_effects=[withStroke(linewidth=4, foreground="white")],
    )
