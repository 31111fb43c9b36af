"""Which parts of a configuration need each batch as a whole, in one pass and in one process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vae_run.config.schema import Settings


def needing_whole_batches(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """(full key, its value, what to do without it) of the parts of a model that do."""
    for group in ("objective", "posterior", "likelihood"):
        yield from settings.classes[group].whole_batches(settings.parts[group])
