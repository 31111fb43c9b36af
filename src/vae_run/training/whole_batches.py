"""Which parts of a configuration need each batch as a whole, in one pass and in one process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vae_run.config.schema import Settings


def needing_whole_batches(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """(full key, its value, what to do without it) of the parts of a model that do."""
    objective, options = settings.classes["objective"], settings.parts["objective"]
    if (remedy := objective.whole_batches(options)) is not None:
        yield "objective", objective.__name__, remedy
    for group in ("posterior", "likelihood"):
        for key, value in settings.classes[group].whole_batch(settings.parts[group]):
            yield key, value, f"Choose another {key}"
