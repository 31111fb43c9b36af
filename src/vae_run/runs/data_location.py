"""Where the data of a run are: relative to where it was begun, or where a resumed run found them.

`.hydra/` is never changed: a place that `task=resume` was told of is kept in `data.json`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vae_run.config.keys import DATA_PATHS, SPLIT_KEYS, split_files
from vae_run.data.given import MEMORY
from vae_run.errors import CheckpointError
from vae_run.runs.identity import PLACES, place_keys
from vae_run.runs.saved_json import read_if_whole
from vae_run.runs.saved_yaml import read_yaml
from vae_run.system.files import write_json

FILE = "data.json"
NAMES = tuple(key.removeprefix("dataset.") for key in (*PLACES, *sorted(SPLIT_KEYS)))
"""Keys of places that can be kept; those of splits are given only where they are paths."""
NO_PATHS = ("auto", "none", MEMORY)
"""Values of theirs that are none: words of `cache`, and what stands for data in memory."""


def located(config: Mapping[str, Any], run: Path) -> dict[str, Any]:
    """The saved `config` of the directory `run`, with its paths as this process can open them.

    A relative path is relative to the working directory in which the run was begun, which Hydra has
    saved. If that folder no longer exists, or has no such file while the present one has, it is
    relative to the present working directory, as it is for runs that have not saved theirs.
    """
    dataset = config.get("dataset")
    if not isinstance(dataset, Mapping):
        return dict(config)
    recorded = read_if_whole(run / FILE)
    names = [key.removeprefix("dataset.") for key in place_keys(dataset)]
    kept = {name: recorded[name] for name in names if name in recorded and name in dataset}
    found = {**dataset, **kept}
    found |= {name: _opened(found[name], run) for name in _paths(dataset) if name in found}
    whole = {**config, "dataset": found}
    if "init_from" in config:
        whole["init_from"] = _opened(config["init_from"], run)
    return whole


def told(config: Mapping[str, Any], run: Path) -> list[str]:
    """A sentence on every path of the data that is not the one in the saved `config`."""
    before, now = config.get("dataset"), located(config, run).get("dataset")
    if not isinstance(before, Mapping) or not isinstance(now, Mapping):
        return []
    begun, recorded = begun_in(run), read_if_whole(run / FILE)
    return [
        f"dataset.{name}={now[name]}, where the run was last resumed"
        if name in recorded
        else f"dataset.{name}={before[name]} is relative to {begun}, where the run was begun"
        for name in _paths(before)
        if now.get(name) != before.get(name)
    ]


def record(run: Path, dataset: Mapping[str, Any]) -> None:
    """Keep the places in `dataset` for tasks to come; relative ones are made absolute."""
    kept = {name: dataset[name] for name in NAMES if name in dataset}
    kept |= {
        name: os.path.abspath(os.path.expanduser(value))
        for name, value in kept.items()
        if (name in DATA_PATHS or f"dataset.{name}" in SPLIT_KEYS)
        and isinstance(value, str)
        and value not in NO_PATHS
    }
    write_json(run / FILE, {**read_if_whole(run / FILE), **kept})


def _paths(dataset: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys of `dataset` whose values are paths that are relative to the working directory."""
    return (*DATA_PATHS, *split_files(dataset))


def begun_in(run: Path) -> Path | None:
    """The working directory in which the run was begun; None where it has not saved it."""
    try:
        saved = read_yaml(run / ".hydra" / "hydra.yaml", resolve=False)
        return Path(str(saved["hydra"]["runtime"]["cwd"]))
    except (CheckpointError, LookupError, TypeError):
        return None


def _opened(value: Any, run: Path) -> Any:
    """The saved path `value` as it can be opened here; what is no relative path as it is."""
    if not isinstance(value, str) or value in NO_PATHS or value.startswith(("/", "~")):
        return value
    begun = begun_in(run)
    if begun is None or not os.path.isdir(begun) or begun == Path(os.path.abspath(".")):
        return value
    there = os.path.join(begun, value)
    return value if os.path.exists(value) and not os.path.exists(there) else there
