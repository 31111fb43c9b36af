"""Keys with Python values as overrides of the command line, which have the same checks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from typing import Any

from vae_run.config.commands import override, quoted
from vae_run.config.schema import TASKS, Common
from vae_run.errors import ConfigError

_CALLS = {
    "train": "vae_run.train(...)",
    "resume": "vae_run.Run(path).resume()",
    "evaluate": "vae_run.evaluate(run)",
    "sample": "vae_run.Run(path).model.sample(n)",
    "compare": "vae_run.compare(runs)",
}
"""What does in Python what a task does in a shell."""


def overrides(keys: Mapping[str, Any]) -> list[str]:
    """KEY=VALUE of each of `keys`, where VALUE stands in Hydra's grammar for exactly this value.

    Raises:
        ConfigError: a value is none that a configuration can hold.
    """
    return [_override(key, value) for key, value in keys.items()]


def of_a_run(task: str, run: PathLike[str], keys: Mapping[str, Any]) -> list[str]:
    """The words of `task`, with `keys`, on the run directory `run`.

    Raises:
        ConfigError: as of `overrides`, or `keys` name a task or a run.
    """
    words = overrides(keys)
    if given := [word for word in words if key_of(word) in ("task", "run")]:
        raise ConfigError(
            f"{given[0]}: this call works on {fspath(run)} (task={task}). {_instead([*TASKS])}."
        )
    return [f"task={task}", override("run", fspath(run)), *words]


def refuse_other_tasks(words: Sequence[str]) -> None:
    """Refuse `words` of a training that mean another task, or a sweep.

    Raises:
        ConfigError: a word does; the message names the function for it.
    """
    for word in words:
        key, value = key_of(word), word.partition("=")[2]
        if key.startswith("-") or key == "hydra.mode":
            raise ConfigError(
                f"{word}: a call trains one run, and takes no options of the command line. A "
                "sweep is vae_run.sweep({KEY: [VALUES]})."
            )
        if key == "task" and value != "train":
            named = value.strip("'\"")
            told = _instead([named] if named in TASKS else [*TASKS])
            raise ConfigError(f"{word}: vae_run.fit and vae_run.train only train. {told}.")
        if key in Common.model_fields:
            continue
        if tasks := [task for task, schema in TASKS.items() if key in schema.model_fields]:
            raise ConfigError(f"{word}: is no key of a training. {_instead(tasks)}.")


def key_of(word: str) -> str:
    """The key that the override `word` sets."""
    return word.partition("=")[0].lstrip("+~").partition("@")[0]


def _instead(tasks: Sequence[str]) -> str:
    """What does `tasks`: a function for each that has one, and the shell for the others."""
    here = [f"{_CALLS[task]} (task={task})" for task in tasks if task in _CALLS]
    if shell := [task for task in tasks if task not in _CALLS]:
        here.append(f"in a shell: vae-run task={'|'.join(shell)} ...")
    return f"Use {'; or '.join(here)}"


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
