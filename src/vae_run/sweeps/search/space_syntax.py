"""A search space in Hydra's own sweep syntax."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hydra.core.override_parser.types import Override

from vae_run.errors import ConfigError
from vae_run.sweeps.ranges import decimal_range
from vae_run.sweeps.search.space import Axis, Choice, Numbers, Point, Value


@dataclass(frozen=True)
class Space:
    """The overrides of a search.

    Attributes:
        words: by key, in the order typed: a whole override, or None where the key is searched.
        axes: by key, what is searched.
    """

    words: Mapping[str, str | None]
    axes: Mapping[str, Axis]

    @property
    def words_of_ends(self) -> dict[str, list[str]]:
        """By key, its override, or those of the ends of what is searched."""
        return {
            key: [word]
            if word is not None
            else [self._word(key, end) for end in self.axes[key].ends]
            for key, word in self.words.items()
        }

    def overrides(self, point: Point) -> list[str]:
        """The overrides of a job at `point`."""
        return [
            self._word(key, point[key]) if word is None else word
            for key, word in self.words.items()
        ]

    def _word(self, key: str, value: Value) -> str:
        return f"{key}={self.axes[key].text(value)}"


def read_space(overrides: Sequence[Override]) -> Space:
    """The space that overrides span; of several for a key, the last one counts.

    Raises:
        ConfigError: an override cannot be searched, or none has anything to search.
    """
    by_key = {override.get_key_element(): override for override in overrides}
    words = {
        key: None if override.is_sweep_override() else str(override.input_line)
        for key, override in by_key.items()
    }
    axes = {key: _axis(key, by_key[key]) for key, word in words.items() if word is None}
    if not axes:
        raise ConfigError(
            "hydra/sweeper=optuna: there is nothing to search. Give a key a range, such as "
            "'optimizer.lr=tag(log, interval(1e-4,1e-2))', or choices, such as model=ae,vae."
        )
    return Space(words, axes)


def _axis(key: str, override: Override) -> Axis:
    if override.is_choice_sweep():
        choices = tuple(dict.fromkeys(override.sweep_string_iterator()))
        if not choices:
            raise ConfigError(f"{key}: found {override.input_line}, which holds nothing.")
        return Choice(choices)
    sweep: Any = override.value()
    if unknown := sorted(sweep.tags - {"log"}):
        raise ConfigError(f"{key}: found the tag {unknown[0]} in {override.input_line}, expected "
                          "log, or none.")  # fmt: skip
    if override.is_interval_sweep():
        axis = Numbers(sweep.start, sweep.end, log="log" in sweep.tags)
    else:
        axis = _range(key, sweep, log="log" in sweep.tags)
    if axis.low > axis.high or (axis.log and axis.low <= 0):
        wanted = "a lower end above 0" if axis.log else "the lower end first"
        raise ConfigError(f"{key}: found {override.input_line}, expected {wanted}.")
    return axis


def _range(key: str, sweep: Any, *, log: bool) -> Numbers:
    """The numbers that the same range has in a grid: `stop` is excluded."""
    found = decimal_range(key, sweep)
    if log and found.step != 1:
        raise ConfigError(f"{key}: found a logarithmic range with steps; leave out one of the two.")
    low, high = sorted((found.start, found.last))
    if found.whole:
        return Numbers(int(low), int(high), None if log else int(abs(found.step)), log)
    return Numbers(float(low), float(high), float(abs(found.step)), log)


def with_whole_numbers(
    space: Space, check: Callable[[Sequence[str]], object], options: Sequence[Point] = ({},)
) -> Space:
    """`space` with ints for intervals of keys that take only ints: Hydra reads all as floats.

    Args:
        space: as read.
        check: raises `ConfigError` for overrides that are refused, with the wrong key.
        options: choices of options, so many that each key belongs to one.
    """
    axes = dict(space.axes)
    unsure = {
        key: axis
        for key, axis in axes.items()
        if isinstance(axis, Numbers) and axis.step is None and _is_whole(axis.low, axis.high)
    }
    for chosen in options:
        while unsure:
            point = {**{key: axis.ends[0] for key, axis in axes.items()}, **chosen}
            halves = {key: axis.low + 0.5 for key, axis in unsure.items()}
            try:
                check(space.overrides({**point, **halves}))
            except ConfigError as error:
                if error.key not in unsure:
                    break  # something else is wrong, which the check of the whole space reports
                axis = unsure.pop(error.key)
                axes[error.key] = replace(axis, low=int(axis.low), high=int(axis.high))
            else:
                break
    return replace(space, axes=axes)


def _is_whole(*values: float) -> bool:
    return all(isinstance(value, float) and value.is_integer() for value in values)
