"""The packages of the extras, such as `export`, and the command that installs them."""

from __future__ import annotations

import re
from importlib import metadata


def requirements() -> dict[str, list[str]]:
    """{extra: what it requires} of the vae-run that is installed; {} where none is."""
    try:
        needed = metadata.requires("vae-run") or []
    except metadata.PackageNotFoundError:
        return {}
    extras: dict[str, list[str]] = {}
    for line in needed:
        requirement, _, marker = line.partition(";")
        if (named := re.search(r"extra == ['\"](\w+)['\"]", marker)) is not None:
            extras.setdefault(named[1], []).append(requirement.strip())
    return extras


def missing(wanted: list[str]) -> list[str]:
    """Those requirements of `wanted` whose packages are not installed."""
    return [each for each in wanted if not _is_there(each)]


def installation(extra: str) -> str:
    """The command that installs what `extra` lacks, or all of it if nothing seems to be missing.

    It names the packages themselves, as vae-run is not on the Python Package Index. Where the
    requirements are not known, since vae-run is run from its source, it is a command for there.
    """
    if not (wanted := requirements().get(extra, [])):
        return f"pip install -e '.[{extra}]'"
    return f"pip install {quoted(missing(wanted) or wanted)}"


def quoted(wanted: list[str]) -> str:
    """Requirements as words of a command line."""
    return " ".join(f"'{each}'" for each in wanted)


def _is_there(requirement: str) -> bool:
    name = re.match(r"[\w.-]+", requirement)
    try:
        return name is not None and bool(metadata.version(name[0]))
    except metadata.PackageNotFoundError:
        return False
