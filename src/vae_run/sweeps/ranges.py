"""Ranges of numbers in Hydra's sweep syntax, counted in decimals."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from math import ceil

from hydra.core.override_parser.types import RangeSweep

from vae_run.errors import ConfigError


@dataclass(frozen=True)
class DecimalRange:
    """The numbers start, start + step, ..., without the stop, exactly as they were typed.

    Hydra adds up binary fractions: its `range(0,0.4,0.1)` ends with 0.4, the stop, and other
    ranges have numbers such as 0.7000000000000001. Here a range is the same in a grid as in a
    search, and its stop is never one of its numbers.

    Attributes:
        start: the first number.
        step: the difference of neighbours; negative for a range that falls.
        count: how many there are, at least one.
        whole: whether all are whole numbers by their type.
    """

    start: Decimal
    step: Decimal
    count: int
    whole: bool

    @property
    def last(self) -> Decimal:
        """The last number."""
        return self.start + (self.count - 1) * self.step

    def texts(self) -> list[str]:
        """The numbers as they stand in an override and in the name of a directory."""
        numbers = (self.start + i * self.step for i in range(self.count))
        return [str(int(n)) if self.whole else str(float(n)) for n in numbers]


def decimal_range(key: str, sweep: RangeSweep) -> DecimalRange:
    """The numbers of the range that was typed for `key`.

    Raises:
        ConfigError: it has none, or its step is 0.
    """
    ends = (sweep.start, sweep.stop, sweep.step)
    start, stop, step = (Decimal(str(value)) for value in ends)
    typed = f"range({sweep.start},{sweep.stop},{sweep.step})"
    if not step:
        raise ConfigError(f"{key}: found {typed}, whose step is 0. Give another step.")
    count = ceil((stop - start) / step)
    if count < 1:
        raise ConfigError(
            f"{key}: found {typed}, which holds nothing: it would have to reach its stop by its "
            "step. Exchange the two ends, or change the sign of the step."
        )
    return DecimalRange(start, step, count, all(isinstance(value, int) for value in ends))
