"""A sweep in the user's trackers: the parent of its jobs, with the sweep's own results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from vae_run.config.schema import Settings
from vae_run.tracking.tracker import NoTracker

RESULTS = ("sweep.html", "sweep.csv", "*.png")
"""Patterns of the files in a sweep's folder that trackers get."""


@contextmanager
def parent(folder: Path, settings: Settings, swept: Sequence[str]) -> Iterator[None]:
    """Within it jobs run, and the sweep is summarised; trackers then get the sweep's results.

    Args:
        folder: of the sweep.
        settings: of one of its jobs; their trackers are the same.
        swept: the keys that vary, or words that say what is searched.
    """
    own = settings.build("tracker")
    if isinstance(own, NoTracker):
        yield
        return
    # It imports TensorBoard, which the parent of jobs has no use for.
    from vae_run.tracking.fan_out import tracked_sweep

    with tracked_sweep(folder, own) as tracker:
        tracker.hparams({"swept": ", ".join(swept)})
        try:
            yield
        finally:
            for pattern in RESULTS:
                for file in sorted(folder.glob(pattern)):
                    tracker.artifact(file)
        tracker.succeeded()
