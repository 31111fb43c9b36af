"""What Hydra's errors about composing a configuration mean, said for a person."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from vae_run.config import GROUPS, OPTIONAL, nearest, unknown_key

CONTAINERS = {*GROUPS, *OPTIONAL, "model", "experiment", "task"}


def explain(error: Exception, conf: Path) -> str:
    """The message for a Hydra or OmegaConf error; the nearest valid key or option is named."""
    text = str(error)
    if match := re.search(r"Could not override '([^']+)'", text):
        key, known = match[1].split("@")[0], known_keys(conf)
        if key in known:
            return f"{key}: has no meaning here; it belongs to other options or to another task."
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
