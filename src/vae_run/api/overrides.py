"""Keys with Python values as overrides of the command line, which have the same checks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from typing import Any

from vae_run.config.commands import override, quoted
from vae_run.errors import ConfigError


def overrides(keys: Mapping[str, Any]) -> list[str]:
    """KEY=VALUE of each of `keys`, where VALUE stands in Hydra's grammar for exactly this value.

    Raises:
        ConfigError: a value is none that a configuration can hold.
    """
    return [_override(key, value) for key, value in keys.items()]


def typed(words: Sequence[Any]) -> list[str]:
    """`words` of the command line, as they are.

    Raises:
        ConfigError: one is no text, such as data.
    """
    for word in words:
        if not isinstance(word, str):
            raise ConfigError(
                f"found {type(word).__name__}, expected words such as 'dataset=mnist'. Data in "
                "memory are trained on by vae_run.fit; a sweep reads a file: dataset=arrays, with "
                "dataset.path=FILE.npz."
            )
    return list(words)


def _override(key: str, value: Any) -> str:
    if not re.fullmatch(r"[+~]*[\w./@$-]+", key):
        raise ConfigError(f"{key!r}: is no key; expected words joined by dots.")
    if isinstance(value, (str, PathLike)):
        return override(key, fspath(value))
    return f"{key}={written(key, value)}"


def written(key: str, value: Any) -> str:
    """`value` as Hydra's grammar writes it.

    Args:
        key: named in messages.
        value: None, a truth value, number, text or path, or lists and mappings of these; also such
            scalars and arrays of NumPy and torch.

    Raises:
        ConfigError: it is something else.
    """
    if hasattr(value, "tolist") and not isinstance(value, (str, bytes)):
        value = value.tolist()  # of NumPy, of torch
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, PathLike):
        value = fspath(value)
    if isinstance(value, str):
        # For OmegaConf, "\${" is the text "${"; backslashes before it are doubled.
        return quoted(re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + "\\${", value))
    if isinstance(value, (Sequence, range, set, frozenset)) and not isinstance(value, bytes):
        return f"[{','.join(written(key, item) for item in value)}]"
    if isinstance(value, Mapping):
        if odd := [name for name in value if not re.fullmatch(r"[A-Za-z_]\w*", str(name))]:
            raise ConfigError(f"{key}: found the name {odd[0]!r}, expected letters, digits and _.")
        entries = (f"{name}:{written(key, item)}" for name, item in value.items())
        return f"{{{','.join(entries)}}}"
    raise ConfigError(
        f"{key}: found {type(value).__name__}, expected a number, a text, None, or a list or "
        "mapping of these."
    )
