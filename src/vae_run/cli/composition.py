"""A composed configuration: as plain values, what it takes from a run, what its errors mean."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf, read_write
from omegaconf.errors import MissingMandatoryValue

from vae_run.cli.words import ambiguous, text_of
from vae_run.config.groups import GROUPS, OPTIONAL
from vae_run.config.keys import flat, is_path, misplaced_key, nearest, those_having, unknown_key
from vae_run.errors import CheckpointError, ConfigError
from vae_run.runs.saved_yaml import read_yaml

TAKEN = ("dataset", "corruption")
"""Groups whose keys `task=evaluate` may change without naming the run's option again."""

GLOBAL = ("experiment", "model", "task")
"""Groups whose files change keys of the whole configuration."""

CONTAINERS = {*GROUPS, *OPTIONAL, "model", "experiment", "task"}


def plain(config: DictConfig) -> dict[str, Any]:
    """The job's configuration as plain values, without Hydra's own.

    Raises:
        ConfigError: a value is missing.
    """
    try:
        values = {str(key): _resolved(config[key]) for key in config if key != "hydra"}
    except MissingMandatoryValue as error:
        key = str(error.full_key or error).split(": ")[-1]
        raise ConfigError(f"{key}: a value is needed; say {key}=...") from error
    return {key: _at_home(key, value) for key, value in values.items()}


def _resolved(value: Any) -> Any:
    """A value of a configuration, plain: a copy without Hydra's section would take far longer."""
    if not OmegaConf.is_config(value):
        return value
    return OmegaConf.to_container(value, resolve=True, throw_on_missing=True)


def _at_home(key: str, value: Any) -> Any:
    """`value`, where `key` is one of a path, with the home folder for a `~` at its beginning.

    Raises:
        ConfigError: the home folder is not known.
    """
    if isinstance(value, dict):
        return {name: _at_home(f"{key}.{name}", item) for name, item in value.items()}
    if isinstance(value, list) and is_path(key):
        return [_at_home(key, item) for item in value]
    if not (isinstance(value, str) and value.startswith("~") and is_path(key)):
        return value
    path = os.path.expanduser(value)
    if path.startswith("~"):
        raise ConfigError(
            f"{key}: found {value}, but there is no such home folder. Set HOME, or give the whole "
            f"path; a folder with this name is written ./{value}."
        )
    return path


def words_of(overrides: Sequence[str] | ListConfig) -> list[str]:
    """A list of overrides of Hydra's section as they were typed, interpolations included.

    Reading an entry itself would put in the values to which it refers.
    """
    found: Any = OmegaConf.to_container(overrides, resolve=False)
    return [str(word) for word in found]


def put_home_for_tilde(config: DictConfig) -> None:
    """Change every path of a composed configuration that begins with `~` to the home folder's.

    Hydra itself makes `hydra.run.dir`, and saves the configuration, without asking `plain`.

    Raises:
        ConfigError: the home folder is not known, or a value needs Hydra's own section, without
            which the configuration is read later.
    """
    values: Any = OmegaConf.to_container(config)
    own = {key: value for key, value in values.items() if key != "hydra"}
    for key, value in flat(own):
        if re.search(r"\$\{\s*hydra\.", str(value)):
            raise ConfigError(
                f"{key}: found {value}, which refers to Hydra's own section. Only keys of that "
                "section may: the run is read later without it. Give the value itself."
            )
    paths = [key for key, _ in flat(own) if is_path(key)]
    with read_write(config), read_write(config.hydra):
        for key in (*paths, "hydra.run.dir", "hydra.sweep.dir"):
            found = OmegaConf.select(config, key, throw_on_missing=False)
            value = OmegaConf.to_container(found) if isinstance(found, ListConfig) else found
            if (path := _at_home(key, value)) != value:
                OmegaConf.update(config, key, path)


def refuse_without_package(config: DictConfig) -> None:
    """Refuse a preset, experiment or task whose file lacks the line `# @package _global_`.

    Without it Hydra puts the file's keys below the name of the group, where they have no effect.

    Raises:
        ConfigError: it is lacking; the message names the file.
    """
    for group in GLOBAL:
        if not isinstance(config.get(group), DictConfig):
            continue
        option = config.hydra.runtime.choices.get(group)
        sources = [Path(source.path) for source in config.hydra.runtime.config_sources]
        files = [source / group / f"{option}.yaml" for source in sources]
        file = next((file for file in files if file.is_file()), f"{group}/{option}.yaml")
        raise ConfigError(
            f"{file}: its first line must be '# @package _global_'. Without it, its keys belong "
            f"to {group}, and not to the configuration that it changes."
        )


def refuse_merged_trackers(config: DictConfig) -> None:
    """Refuse a list of trackers in a file's defaults: Hydra merges their keys into one tracker.

    Raises:
        ConfigError: there is one; the message says how it is written.
    """
    if "tracker" in config and "tracker" not in config.hydra.runtime.choices:
        raise ConfigError(
            "tracker: found a list in the defaults of a file, whose keys Hydra would merge. Write "
            "there, for each, /tracker@tracker.NAME: NAME, and at the end override /tracker: "
            "several. On the command line, 'tracker=[mlflow,wandb]' does the same."
        )


def of_the_run(typed: Sequence[str]) -> list[str]:
    """What `task=evaluate run=DIR` takes over from the run: overrides to precede the typed ones.

    `corruption.level=0.5` is a key of the corruption that the run was trained with, not of the
    default one. So the option that the run chose in that group, and what was typed of it then, come
    first. They are overrides for Hydra, as if the user had typed them, and the run may come from
    anybody: only plain names of options and values of keys are taken, never a class, a path or an
    interpolation.
    """
    keys = {word.split("=", 1)[0].lstrip("+~") for word in typed}
    run = text_of(typed, "run")
    groups = [
        group
        for group in TAKEN
        if group not in keys and any(key.startswith(f"{group}.") for key in keys)
    ]
    if run is None or not groups:
        return []
    saved = Path(run).expanduser() / ".hydra"
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
            return misplaced_key(key, options_having(key, [conf]))
        return unknown_key(key, known)
    if match := re.search(r"Ambiguous value for argument '(.+?)'\n", text, re.DOTALL):
        return ambiguous(match[1])
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
        keys |= dict.fromkeys(_keys_of(file, file.parent.name if file.parent != conf else ""))
    return [
        key for key in keys if not key.startswith(("hydra", "defaults")) and "_target_" not in key
    ]


def options_having(key: str, places: Sequence[Path], ending: str = " it") -> str:
    """Which options have the full `key`, such as "objective=beta_elbo, elbo have it"; "" for none.

    They are files of the folders `places`: those of the group that the key is in, or tasks.
    """
    if key in OPTIONAL:
        return those_having("task", ["sample"], ending)
    group = key.split(".")[0]
    group = group if group in (*GROUPS, *OPTIONAL) else "task"
    files = [file for place in places for file in (place / group).glob("*.yaml")]
    found = sorted({file.stem for file in files if key in _keys_of(file, group)})
    return those_having(group, found, ending) if found else ""


def _keys_of(file: Path, group: str) -> list[str]:
    """The full keys that a file of the folder `group` sets."""
    loaded = read_yaml(file, resolve=False)
    prefix = f"{group}." if group in (*GROUPS, *OPTIONAL) else ""
    return [f"{prefix}{name}" for name in _names(loaded)] if isinstance(loaded, dict) else []


def _names(mapping: dict[Any, Any], prefix: str = "") -> list[str]:
    names: list[str] = []
    for key, value in mapping.items():
        names.append(f"{prefix}{key}")
        if isinstance(value, dict):
            names += _names(value, f"{prefix}{key}.")
    return names
