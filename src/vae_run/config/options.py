"""The options of a group: the files of its folder, in `conf/` and in the user's own folders."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from vae_run.errors import ConfigError

PACKAGE = Path(__file__).parents[1]
CONF = PACKAGE / "conf" if (PACKAGE / "conf").is_dir() else PACKAGE.parents[1] / "conf"
"""The configuration folder: inside the package when installed, the checkout's otherwise."""


def folders(conf: Path, arguments: Sequence[str]) -> list[Path]:
    """`conf`, and the folder that `--config-dir` in the command line `arguments` adds."""
    found = [conf]
    for word, following in pairwise([*arguments, ""]):
        if word in ("--config-dir", "-cd"):
            found.append(Path(following).expanduser())
        elif word.startswith("--config-dir="):
            found.append(Path(word.split("=", 1)[1]).expanduser())
    return found


def options(group: str, places: Iterable[Path]) -> list[str]:
    """The names of the options of `group`, such as "network" or "hydra/launcher"."""
    return sorted({file.stem for place in places for file in (place / group).glob("*.yaml")})


def refuse_none(words: Iterable[str], places: Sequence[Path]) -> None:
    """Refuse overrides that choose no option of a group; Hydra's message would not name the group.

    Raises:
        ConfigError: one of `words` is GROUP=null, or GROUP= and nothing, alone or in a sweep.
    """
    for word in words:
        key, equals, value = word.partition("=")
        group = key.lstrip("+").split("@")[0]
        empty = [one for one in value.split(",") if one.strip() in ("", "null")]
        if group and equals and empty and (known := options(group, places)):
            raise ConfigError(
                f"{group}: found {empty[0].strip() or 'nothing'}, expected one of its options: "
                f"{', '.join(known)}. To keep what is chosen without it, leave {group}= out."
            )
