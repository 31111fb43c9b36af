"""The folder of an evaluation under other conditions than a run's own: its name and its data."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from vae_run.config.invocation import Call
from vae_run.config.schema import OnCheckpoint
from vae_run.data.given import MEMORY
from vae_run.errors import CheckpointError
from vae_run.runs.run_directory import RunDirectory
from vae_run.system.files import write_json

CONDITIONS = ("dataset", "corruption")
"""Groups that, when changed, give other metrics than the run's own."""

LONGEST = 120
"""Bytes of a folder's name at most, apart from a fingerprint; file systems take 255 in all."""


def evaluation_place(run: RunDirectory, call: Call, other: str | None) -> Path:
    """The folder of the results of `call`: that of the run, or one below `evaluations/`.

    A name has the words of the command, in which a relative path can mean other data than before.
    Where the folder of that name holds an evaluation of other data, or of data that are not known,
    the name gets the fingerprint of these.

    Args:
        run: that is evaluated.
        call: of the task.
        other: the fingerprint of the data, if it is not that of the run's own.
    """
    name = evaluation_name(call, other)
    if name is None:
        return run.path
    place = run.path / "evaluations" / name
    free = not (place / "metrics.json").exists()
    if other is None or free or _data_of(place) == other:
        return place
    return place.with_name(f"{name},data-{other[:8]}")


def write_data(place: Path, other: str | None) -> None:
    """Keep in `place` the fingerprint `other` of the data that were evaluated there.

    Args:
        place: a folder below `evaluations/`.
        other: as in `evaluation_place`; for the run's own data nothing is written.
    """
    if other is not None:
        write_json(place / "environment.json", {"dataset_fingerprint": other})


def _data_of(place: Path) -> str | None:
    """The fingerprint of the data of the evaluation in `place`; None if it is not known."""
    try:
        return RunDirectory(place).fingerprint()
    except CheckpointError:
        return None


def evaluation_name(call: Call, other: str | None) -> str | None:
    """The folder's name below `evaluations/`, or None where the results are the run's own.

    Args:
        call: of the task; it is named by the words that change what is measured. Words on a
            dataset count only where they name other data than the run's own.
        other: the fingerprint of the data, if it is not that of the run's own. Without such words
            it is the name.
    """
    conditions = [word for word in call.overrides if _group(word) in CONDITIONS]
    if other is None or call.settings.raw["dataset"].get("path") == MEMORY:
        conditions = [word for word in conditions if _group(word) != "dataset"]
    if other is not None and not any(_group(word) == "dataset" for word in conditions):
        conditions.append(f"data-{other[:8]}")
    if call.settings.of(OnCheckpoint).checkpoint == "last":
        conditions.append("last")
    return folder_name(conditions) or None


def folder_name(words: list[str]) -> str:
    """A name of a folder made of `words`, in their order by letters.

    Of one that is too long the beginning is kept, with a hash of the whole.
    """
    text = ",".join(sorted(words))
    name = re.sub(r"[^\w.=,+-]+", "_", text)
    if len(name.encode()) <= LONGEST:
        return name
    end = f"-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return name.encode()[: LONGEST - len(end)].decode(errors="ignore") + end


def _group(word: str) -> str:
    """The group that the override `word` belongs to."""
    return word.lstrip("+~").split("=")[0].split(".")[0]
