"""Keys that only some of a sweep's options have: a job is given those that its own options have.

`model=ae,vae objective.beta=1,2` spans four combinations and three jobs: an autoencoder's objective
has no `beta`, so that it is left out for `model=ae`, whose two combinations become one job.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from vae_run.cli.composition import options_having
from vae_run.config.groups import GROUPS
from vae_run.errors import ConfigError
from vae_run.sweeps.composer import Composer

Axes = Mapping[str, Sequence[str]]
"""By key, as it was typed, the overrides that give it each of its values."""

Chosen = tuple[str, ...]
"""An override for each group that is in the axes: one combination of options."""


@dataclass
class PartialKeys:
    """Which keys of a sweep each combination of its options has.

    Attributes:
        composer: of the jobs.
        axes: of the sweep. Every combination of those that choose options is looked at.
    """

    composer: Composer
    axes: Axes
    _groups: list[str] = field(init=False)
    _lacking: dict[Chosen, frozenset[str]] = field(init=False)
    _foreign: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        first = {key: self.composer.parse([words[0]])[0] for key, words in self.axes.items()}
        self._groups = [key for key, word in first.items() if self.composer.chooses_option(word)]
        # `+key` adds a key and `~key` removes one; Hydra judges them.
        values = [key for key in self.axes if key not in self._groups and key[0] not in "+~"]
        values = [key for key in values if not first[key].is_hydra_override()]
        self._lacking = {}
        lacking: dict[Chosen, frozenset[str]] = {}
        deciding = [place for place, key in enumerate(self._groups) if _decides(key, values)]
        for chosen in product(*(self.axes[key] for key in self._groups)):
            own = tuple(chosen[place] for place in deciding)
            if own not in lacking:
                keys = self.composer.keys(chosen) if values else {}
                lacking[own] = frozenset(key for key in values if not _has(keys, key))
            self._lacking[chosen] = lacking[own]
        # What no option has stays, so that Hydra refuses it.
        self._foreign = frozenset.intersection(*self._lacking.values())
        self._lacking = {chosen: keys - self._foreign for chosen, keys in self._lacking.items()}

    def refuse_foreign(self) -> None:
        """Refuse a key that no option of the sweep has, though others have it.

        Raises:
            ConfigError: there is one; the message names the options that have it.
        """
        for key in sorted(self._foreign):
            if having := options_having(key, self.composer.places, ending=""):
                raise ConfigError(f"{key}: no option of this sweep has it; {having}.")

    def lines(self) -> Iterator[str]:
        """A line for each key that is left out, and option of its group that lacks it."""
        for key in self.axes:
            group, found = key.split(".")[0], dict[str, list[Chosen]]()
            for chosen in (chosen for chosen, keys in self._lacking.items() if key in keys):
                option = self.composer.choices(chosen).get(group)
                found.setdefault(f"{group}={option}" if option else group, []).append(chosen)
            for option, members in found.items():
                because = [word for word in self._because(key, members) if word != option]
                told = f" ({', '.join(because)})" if because else ""
                yield f"{key}: left out for {option}{told}, which has no such key"

    def _because(self, key: str, members: Sequence[Chosen]) -> Iterator[str]:
        """The swept options of `members`, which lack `key`, that no combination with it has."""
        others = [chosen for chosen, keys in self._lacking.items() if key not in keys]
        for place in range(len(self._groups)):
            here, there = ({chosen[place]: None for chosen in each} for each in (members, others))
            if not here.keys() & there.keys():
                yield from here

    def kinds(self) -> list[dict[str, str]]:
        """Combinations of options, one for each set of keys that are left out, by group."""
        first: dict[frozenset[str], Chosen] = {}
        for chosen, keys in self._lacking.items():
            first.setdefault(keys, chosen)
        return [dict(zip(self._groups, chosen, strict=True)) for chosen in first.values()]

    def keys(self, words: Sequence[str]) -> list[str]:
        """The keys, among those of the axes, that a job of the overrides `words` has."""
        by_key = dict(zip(self.axes, words, strict=True))
        lacking = self._lacking[tuple(by_key[key] for key in self._groups)]
        return [key for key in self.axes if key not in lacking]

    def of(self, words: Sequence[str]) -> list[str]:
        """Those of a job's overrides `words`, one for each key of the axes, whose keys it has."""
        by_key = dict(zip(self.axes, words, strict=True))
        return [by_key[key] for key in self.keys(words)]

    def jobs(self, points: Iterable[Sequence[str]]) -> list[list[str]]:
        """The overrides of the jobs at `points`; those that become equal once, at the first."""
        found, seen = [], set[tuple[str, ...]]()
        for words in points:
            own = self.of(words)
            if len(own) < len(words):
                if tuple(own) in seen:
                    continue
                seen.add(tuple(own))
            found.append(own)
        return found


def _decides(group: str, keys: Sequence[str]) -> bool:
    """Whether the option of `group` can decide which of `keys` exist.

    An option of a part has the keys of that part; a preset may choose any part.
    """
    return group not in GROUPS or any(key.startswith(f"{group}.") for key in keys)


def _has(config: Mapping[str, Any], key: str) -> bool:
    """Whether a nested configuration has the full `key`; what is in a list is not looked at."""
    place: Any = config
    for name in key.split("@")[0].split("."):
        if not isinstance(place, Mapping):
            return True
        if name not in place:
            return False
        place = place[name]
    return True
