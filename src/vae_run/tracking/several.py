"""`'tracker=[mlflow,wandb]'`: several trackers of one run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vae_run.config.check import check_arguments, import_target
from vae_run.config.schema import Settings
from vae_run.config.signatures import refusals
from vae_run.errors import ConfigError
from vae_run.tracking.tracker import NoTracker, Tracker


class Several(Tracker):
    """Trackers by name, each with its keys below `tracker.NAME`. Records go to its `parts`."""

    def __init__(self, **trackers: dict[str, Any]) -> None:
        self.configs = trackers

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        """Refuse what is wrong with one of them, as if it stood alone."""
        seen: dict[type[Tracker], str] = {}
        for name, config in options.items():
            part, arguments = _checked(name, config, settings.trust)
            yield from refusals(f"tracker.{name}", part, settings, arguments)
            if part in seen:
                yield f"tracker.{name}: is the same class as tracker.{seen[part]}; name it once."
            seen[part] = name

    def parts(self) -> list[Tracker]:
        """The trackers. Their classes have been checked with the rest of the configuration."""
        found = (_checked(name, config, None) for name, config in self.configs.items())
        return [part(**arguments) for part, arguments in found]

    def scalars(self, split: str, values: Mapping[str, float], step: int) -> None:
        """Ignore them: `parts` receives them."""


def parts(tracker: Tracker) -> list[Tracker]:
    """The trackers that `tracker` stands for: none, one, or several."""
    listed = tracker.parts() if isinstance(tracker, Several) else [tracker]
    return [one for one in listed if not isinstance(one, NoTracker)]


def _checked(
    name: str, config: Any, trust: frozenset[str] | None
) -> tuple[type[Tracker], dict[str, Any]]:
    """The class and the keyword arguments of one of them.

    Raises:
        ConfigError: it is no tracker, is not trusted, or has keys that it does not take.
    """
    key = f"tracker.{name}"
    if not isinstance(config, Mapping):
        raise ConfigError(
            f"{key}: found {config!r}, expected the keys of a tracker. Name several trackers as in "
            "'tracker=[mlflow,wandb]'."
        )
    target = config.get("_target_")
    found = import_target(f"{key}._target_", target, trust)
    own = trust is None or found.__module__.split(".")[0] in {"vae_run", *trust}
    if not (isinstance(found, type) and issubclass(found, Tracker) and own):
        raise ConfigError(f"{key}._target_: {target} is no {Tracker.__module__}.Tracker.")
    return found, check_arguments(key, found, config)
