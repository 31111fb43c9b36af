"""The data of a run, read again: whether they are those that it was trained on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vae_run.config.keys import split_files
from vae_run.config.schema import Settings
from vae_run.data.given import MEMORY
from vae_run.data.splits import Splits
from vae_run.errors import DataError
from vae_run.runs import data_location
from vae_run.runs.run_directory import RunDirectory

log = logging.getLogger("vae_run")


def read_data(
    run: RunDirectory, settings: Settings, white: int | None = None
) -> tuple[Splits, str | None]:
    """The data that `settings` name, and their fingerprint if it is not that of the run's own.

    Args:
        run: whose model they are for. A run that was stopped before it had read its data has no
            fingerprint, and any data are its own.
        settings: of the run, with what was typed on top.
        white: the stored value of white in the run's own data, which other data with
            `dataset.white=auto` have too; None: they decide. Those of a run on 0 and 1 decide too.

    Raises:
        DataError: the data are missing, unreadable or damaged.
    """
    for line in data_location.told(run.config(), run.path):
        log.info("%s", line)
    splits = load_moved(settings, run, white)
    own = run.environment().get("dataset_fingerprint")
    found = splits.fingerprint()
    return splits, None if own in (None, found) else found


def load(settings: Settings, white: int | None = None) -> Splits:
    """The data that `settings` name.

    Raises:
        DataError: they are missing, unreadable or damaged.
    """
    dataset: Any = settings.build("dataset")
    if white not in (None, 1) and getattr(dataset, "white", None) == "auto":
        dataset = replace(dataset, white=white)
    splits: Splits = dataset.load(settings.fixed.vector_conditions)
    return splits


def load_moved(settings: Settings, run: RunDirectory, white: int | None = None) -> Splits:
    """The data of `run`, as `load`; where they are missing, the message says how to name them."""
    try:
        return load(settings, white)
    except DataError as error:
        kept = settings.parts["dataset"]
        keys = ("path", "root", *split_files(settings.raw["dataset"]))
        places = {key: kept[key] for key in keys if isinstance(kept.get(key), str)}
        gone = [
            key for key, at in places.items() if at != MEMORY and not Path(at).expanduser().exists()
        ]
        if not gone:
            raise
        raise DataError(
            f"{error}. If the data of {run.path} have moved, name where they are now: "
            f"{' '.join(f'dataset.{key}=NEW' for key in gone)}"
        ) from error


def refuse_other_shape(splits: Splits, settings: Settings, event_shape: Sequence[int]) -> None:
    """Refuse data whose images have another shape than `event_shape`, that of a run's model.

    Raises:
        DataError: they have.
    """
    found, expected = list(splits.event_shape), list(event_shape)
    if found != expected:
        raise DataError(
            f"dataset: {settings.build('dataset')} holds {splits.noun} of shape {found}, but the "
            f"run's model was trained on {splits.noun} of shape {expected}. Name data of "
            "that shape."
        )
