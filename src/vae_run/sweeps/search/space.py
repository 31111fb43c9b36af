"""What a search varies: axes of choices and of numbers, and the check of their ends."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, product
from typing import TypeAlias

from vae_run.errors import ConfigError

Value: TypeAlias = str | int | float
Point: TypeAlias = Mapping[str, Value]
"""A value for each key that is searched."""

TRIED = 100
"""Most points that are tried before an end of an axis counts as impossible."""

FINE = 1e-4
"""Share of an axis by which a number may be rounded, for readable names of directories."""


@dataclass(frozen=True)
class Choice:
    """One of several values, as text that Hydra reads."""

    values: tuple[str, ...]

    @property
    def ends(self) -> tuple[Value, ...]:
        return self.values

    def text(self, value: Value) -> str:
        """`value` in an override."""
        return str(value)

    def __str__(self) -> str:
        return f"one of {', '.join(self.values)}"


@dataclass(frozen=True)
class Numbers:
    """Numbers from `low` to `high`, both included; ints where both are ints.

    Attributes:
        step: between two of them; None: any number, or every int.
        log: whether they are drawn uniformly on a logarithmic scale.
    """

    low: int | float
    high: int | float
    step: int | float | None = None
    log: bool = False

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def ends(self) -> tuple[Value, ...]:
        return (self.low, self.high)

    def text(self, value: Value) -> str:
        """`value` in an override, with as few digits as `FINE` allows."""
        if isinstance(value, (str, int)):
            return str(value)
        if self.step is not None:
            return f"{value:.12g}"
        width = value * math.log(self.high / self.low) if self.log else self.high - self.low
        for digits in range(3, 17):
            text = f"{value:.{digits}g}"
            if abs(float(text) - value) <= FINE * width and self.low <= float(text) <= self.high:
                return text
        return repr(value)

    def __str__(self) -> str:
        kind = "whole numbers " if self.whole else ""
        step = f" in steps of {self.step:g}" if self.step not in (None, 1) else ""
        scale = ", on a logarithmic scale" if self.log else ""
        return f"{kind}{self.low:g} to {self.high:g}{step}{scale}"


Axis: TypeAlias = Choice | Numbers


def check_ends(
    axes: Mapping[str, Axis],
    check: Callable[[Point], None],
    taken: Callable[[Point], Collection[str]] = lambda point: point.keys(),
) -> None:
    """Check that every choice, and both ends of all numbers, are possible somewhere in the space.

    The space may contain points whose parts exclude each other; a search learns to avoid them.

    Args:
        axes: by key.
        check: raises `ConfigError` for a point that is impossible.
        taken: the keys of a point that its job has; its others prove nothing of their values.

    Raises:
        ConfigError: the first that `check` raised for an end that is possible nowhere.
    """
    proven: set[tuple[str, Value]] = set()

    def refusal(point: Point) -> ConfigError | None:
        try:
            check(point)
        except ConfigError as error:
            return error
        proven.update((key, point[key]) for key in taken(point) if key in point)
        return None

    for index in range(max(len(axis.ends) for axis in axes.values())):
        refusal({key: axis.ends[index % len(axis.ends)] for key, axis in axes.items()})
    for key, axis in axes.items():
        for end in axis.ends:
            if (key, end) not in proven:
                points = (p for p in _points({**axes, key: _only(end)}) if key in taken(p))
                said = map(refusal, islice(points, TRIED))
                first = next(said)
                if first is not None and all(error is not None for error in said):
                    raise first


def _only(end: Value) -> Axis:
    return Choice((end,)) if isinstance(end, str) else Numbers(end, end)


def _points(axes: Mapping[str, Axis]) -> Iterator[Point]:
    """Every combination of ends."""
    for values in product(*(dict.fromkeys(axis.ends) for axis in axes.values())):
        yield dict(zip(axes, values, strict=True))
