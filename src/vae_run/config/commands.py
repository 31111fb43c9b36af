"""Commands that a person can paste: words of Hydra's override grammar, quoted for the shell.

Hydra reads KEY=VALUE by a grammar of its own, after the shell has taken its quotes away. A folder
such as `lr=0.1` therefore needs two pairs of quotes: `'run="lr=0.1"'`.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

_PLAIN = re.compile(r"(?!(true|false|null|nan|inf)\Z)([a-z_]|\.{0,2}/)[a-z0-9_./-]*", re.IGNORECASE)
"""Texts that Hydra reads as themselves; numbers and reserved words are not among them."""


def quoted(text: str) -> str:
    """`text` in double quotes, as a value that Hydra's grammar reads as this text.

    Only backslashes before a quote, or before the end, are doubled: Hydra leaves others alone.
    Interpolations such as `${now:%Y}` keep their meaning.
    """
    escaped = re.sub(r'(\\*)("|\Z)', lambda m: m[1] * 2 + ('\\"' if m[2] else ""), text)
    return f'"{escaped}"'


def override(key: str, value: str | Path) -> str:
    """KEY=VALUE for Hydra, where VALUE stands for exactly this text."""
    text = str(value)
    if _PLAIN.fullmatch(text):
        return f"{key}={text}"
    # For OmegaConf, "\${" is the text "${"; backslashes before it are doubled.
    literal = re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + "\\${", text)
    return f"{key}={quoted(literal)}"


def shell_word(key: str, value: str | Path) -> str:
    """KEY=VALUE as it is typed in a shell."""
    return shlex.quote(override(key, value))


def command(*words: str) -> str:
    """The command line of `vae-run` with these words, each of which Hydra can read."""
    return shlex.join(["vae-run", *words])
