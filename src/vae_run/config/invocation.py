"""The call of a task: what the command line passes to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vae_run.config.schema import Settings
from vae_run.errors import ConfigError


@dataclass(frozen=True)
class Call:
    """One job.

    Attributes:
        settings: the checked configuration.
        directory: the run directory, for a task that makes one.
        overrides: the typed words, such as `corruption=masking` or `trainer.epochs=20`.
        choices: the option chosen in each group.
    """

    settings: Settings
    directory: Path
    overrides: Sequence[str]
    choices: Mapping[str, str]

    def on_top_of(
        self,
        config: Mapping[str, Any],
        *,
        allowed: Sequence[str],
        why: str,
        before: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """A run's own configuration `config`, changed by the typed overrides.

        Args:
            config: plain and nested; it is not changed.
            allowed: keys (or groups) that may be typed.
            why: the end of the message that refuses any other key.
            before: the options that the run chose; with it, other keys may be typed with the values
                that they have in the run.

        Raises:
            ConfigError: keys that are not allowed were typed; the message names all of them.
        """
        merged = dict(config)
        refused: list[str] = []
        for override in self.overrides:
            key = override.split("=", 1)[0].lstrip("+~").split("@")[0]
            if key.split(".")[0] in ("task", "run", "trust", "quiet", "hydra"):
                continue
            if not any(key == name or key.startswith(f"{name}.") for name in allowed):
                refused += self._difference(key, config, before)
            else:
                merged = _with(merged, key.split("."), self.settings.raw)
        if refused:
            raise ConfigError(f"{', '.join(refused)}: {why}")
        return merged

    def _difference(
        self, key: str, config: Mapping[str, Any], before: Mapping[str, str] | None
    ) -> list[str]:
        """How the typed `key` differs from a run's `config`: nothing, or one text."""
        if before is None:
            return [key]
        found: Any
        was: Any
        if key in self.choices:
            found, was = self.choices[key], before.get(key)
        else:
            found, was = _at(self.settings.raw, key), _at(config, key)
        return [] if found == was else [f"{key} (found {found}, the run has {was})"]

    def refuse_all_but(self, *allowed: str) -> None:
        """Refuse keys that a task on several runs has no use for.

        Raises:
            ConfigError: a key was typed that is not one of `allowed`.
        """
        for key in self.typed_keys:
            if key not in (*allowed, "quiet") and not key.startswith("hydra"):
                raise ConfigError(
                    f"{key}: task={self.settings.fixed.task} takes the runs as they are; only "
                    f"{', '.join(allowed)} may be given."
                )

    @property
    def typed_keys(self) -> list[str]:
        """The keys of the overrides."""
        return [override.split("=", 1)[0].lstrip("+~") for override in self.overrides]


def _at(config: Mapping[str, Any], key: str) -> Any:
    """The value of the full `key`, or None."""
    value: Any = config
    for name in key.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _with(
    config: Mapping[str, Any], path: Sequence[str], source: Mapping[str, Any]
) -> dict[str, Any]:
    """`config` with the value at `path` taken from `source`."""
    head, *rest = path
    if head not in source:  # ~key took it away
        return {key: value for key, value in config.items() if key != head}
    if not rest or head not in config:
        return {**config, head: source[head]}
    return {**config, head: _with(config[head], rest, source[head])}
