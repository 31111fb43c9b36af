"""The data of a run, read again: whether they are those that it was trained on."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from vae_run.config.schema import Settings
from vae_run.data.splits import Splits
from vae_run.errors import DataError
from vae_run.runs import data_location
from vae_run.runs.run_directory import RunDirectory

log = logging.getLogger("vae_run")


def read_data(run: RunDirectory, settings: Settings) -> tuple[Splits, str | None]:
    """The data that `settings` name, and their fingerprint if it is not that of the run's own.

    Args:
        run: whose model they are for. A run that was stopped before it had read its data has no
            fingerprint, and any data are its own.
        settings: of the run, with what was typed on top.

    Raises:
        DataError: the data are missing, unreadable or damaged.
    """
    for line in data_location.told(run.config(), run.path):
        log.info("%s", line)
    splits: Splits = settings.build("dataset").load(settings.fixed.vector_conditions)
    own = run.environment().get("dataset_fingerprint")
    found = splits.fingerprint()
    return splits, None if own in (None, found) else found


def refuse_other_shape(splits: Splits, settings: Settings, event_shape: Sequence[int]) -> None:
    """Refuse data whose images have another shape than `event_shape`, that of a run's model.

    Raises:
        DataError: they have.
    """
    found, expected = list(splits.event_shape), list(event_shape)
    if found != expected:
        raise DataError(
            f"dataset: {settings.build('dataset')} holds images of shape {found}, but the run's "
            f"model was trained on images of shape {expected}. Name data of that shape."
        )
