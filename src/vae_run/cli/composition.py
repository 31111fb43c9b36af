"""A composed configuration: as plain values, what it takes from a run, what its errors mean."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue

from vae_run.config.groups import GROUPS, OPTIONAL
from vae_run.config.keys import misplaced_key, nearest, unknown_key
from vae_run.errors import CheckpointError, ConfigError
from vae_run.runs.saved_yaml import read_yaml

TAKEN = ("dataset", "corruption")
"""Groups whose keys `task=evaluate` may change without naming the run's option again."""

CONTAINERS = {*GROUPS, *OPTIONAL, "model", "experiment", "task"}


def plain(config: DictConfig) -> dict[str, Any]:
    """The job's configuration as plain values, without Hydra's own.

    Raises:
        ConfigError: a value is missing.
    """
    job = config
    if "hydra" in config:
        job = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    try:
        values = OmegaConf.to_container(job, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        key = str(error.full_key or error).split(": ")[-1]
        raise ConfigError(f"{key}: a value is needed; say {key}=...") from error
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def of_the_run(typed: Sequence[str]) -> list[str]:
    """What `task=evaluate run=DIR` takes over from the run: overrides to precede the typed ones.

    `corruption.level=0.5` is a key of the corruption that the run was trained with, not of the
    default one. So the option that the run chose in that group, and what was typed of it then, come
    first. They are overrides for Hydra, as if the user had typed them, and the run may come from
    anybody: only plain names of options and values of keys are taken, never a class, a path or an
    interpolation.
    """
    keys = {word.split("=", 1)[0].lstrip("+~") for word in typed}
    runs = [word.split("=", 1)[1] for word in typed if word.startswith("run=")]
    groups = [
        group
        for group in TAKEN
        if group not in keys and any(key.startswith(f"{group}.") for key in keys)
    ]
    if len(runs) != 1 or not groups:
        return []
    saved = Path(runs[0].strip("'\"")) / ".hydra"
    try:
        choices = read_yaml(saved / "hydra.yaml", resolve=False)["hydra"]["runtime"]["choices"]
        before = [str(word) for word in read_yaml(saved / "overrides.yaml", resolve=False)]
        options = {group: str(choices[group]) for group in groups}
    except (CheckpointError, LookupError, TypeError):
        return []  # the task says what is wrong with the run
    taken = [f"{group}={option}" for group, option in options.items() if _is_name(option)]
    for word in before:
        key, _, value = word.partition("=")
        group, *path = key.split(".")
        harmless = path and all(map(_is_name, path)) and "$" not in value
        if group in groups and harmless and key not in keys:
            taken.append(word)
    return taken


def _is_name(word: str) -> bool:
    return re.fullmatch(r"[A-Za-z]\w*", word) is not None


def explain(error: Exception, conf: Path) -> str:
    """The message for a Hydra or OmegaConf error; the nearest valid key or option is named."""
    text = str(error)
    if match := re.search(r"Could not override '([^']+)'", text):
        key, known = match[1].split("@")[0], known_keys(conf)
        if key in known:
            return misplaced_key(key)
        return unknown_key(key, known)
    if match := re.search(r"Could not find '(\w+)/([^']+)'", text):
        return _unknown_option(match[1], match[2], text)
    if match := re.search(r"Key '([^']+)' is not in struct\s+full_key: (\S+)", text):
        return unknown_key(match[2], known_keys(conf))
    if match := re.search(r"[Ii]nterpolation key '([^']+)' not found", text):
        return f"{match[1]}: a value refers to this key, but there is no such key."
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines[:2])


def _unknown_option(group: str, option: str, text: str) -> str:
    known = re.findall(r"^\t(\w+)$", text, re.MULTILINE)
    near = nearest(option, known)
    hint = f" Did you mean {group}={near}?" if near else ""
    return f"{group}={option}: there is no such option.{hint} Options: {', '.join(known)}."


def known_keys(conf: Path) -> list[str]:
    """Every full key that some option of some group has, and the groups themselves."""
    keys: dict[str, None] = dict.fromkeys(CONTAINERS)
    for file in sorted(conf.rglob("*.yaml")):
        loaded = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
        if not isinstance(loaded, dict):
            continue
        group = file.parent.name if file.parent != conf else ""
        prefix = f"{group}." if group in (*GROUPS, *OPTIONAL) else ""
        keys |= dict.fromkeys(f"{prefix}{name}" for name in _names(loaded))
    return [
        key for key in keys if not key.startswith(("hydra", "defaults")) and "_target_" not in key
    ]


def _names(mapping: dict[Any, Any], prefix: str = "") -> list[str]:
    names: list[str] = []
    for key, value in mapping.items():
        names.append(f"{prefix}{key}")
        if isinstance(value, dict):
            names += _names(value, f"{prefix}{key}.")
    return names
