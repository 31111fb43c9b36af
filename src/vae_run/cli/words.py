"""Words of the command line that Hydra's grammar refuses, or takes for something else than a path.

Hydra reads `run=lr=0.1`, `output=a,b` and `input=(1).npy` as something else than the text after the
first `=`, or not at all. Where a key takes a path, such a word can only mean this text, so that it
gets the quotes that Hydra asks for. A word with a meaning in Hydra's grammar keeps it.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from functools import cache

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, OverrideParseException

from vae_run.config.commands import quoted
from vae_run.config.keys import SPLIT_KEYS, is_path
from vae_run.config.options import CONF, options
from vae_run.errors import ConfigError

LISTS = ("runs", "input")
"""Keys that take several paths as well, in a list; without brackets a value is one path."""

NEVER_SWEPT = ("run", "output", "sweep.dir", "hydra.run.dir", "hydra.sweep.dir")
"""Keys whose values do not differ between the jobs of a sweep."""

ONE_PATH = (*NEVER_SWEPT, "init_from")
"""Keys whose value is one path, and never a list, a number or a truth value."""


@cache
def _parser() -> OverridesParser:
    return OverridesParser.create()


def parsed(word: str) -> Override | None:
    """What Hydra reads in `word`; None where it can read nothing."""
    try:
        found: Override = _parser().parse_overrides([word])[0]
    except HydraException:
        return None
    return found


def understood(words: Sequence[str], *, multirun: bool) -> list[str]:
    """The overrides `words`, where a path that Hydra would not read as one text is quoted for it.

    Raises:
        ConfigError: a word is not Unicode text.
    """
    for word in words:
        if any("\ud800" <= letter <= "\udfff" for letter in word):
            raise ConfigError(
                f"{word.encode(errors='backslashreplace').decode()}: is not text in UTF-8. Rename "
                "the file or folder that it names."
            )
    paths = [_as_path(word) if _is_misread_path(word, multirun) else word for word in words]
    return with_several_trackers(paths)


def _as_path(word: str) -> str:
    key, _, value = word.partition("=")
    return f"{key}={quoted(value)}"


def _is_misread_path(word: str, multirun: bool) -> bool:
    """Whether `word` gives a path to a key of one, but Hydra reads something else."""
    key, equals, value = word.partition("=")
    name = key.lstrip("+")
    if not (equals and value and is_path(name)):
        return False
    found = parsed(word)
    swept = multirun and name not in NEVER_SWEPT
    listed = name in LISTS and value.startswith("[") and not os.path.exists(value)
    if found is None:
        several = ("," in value and swept) or listed
        return not several and parsed(_as_path(word)) is not None
    if found.is_sweep_override():
        return not swept and name in (*ONE_PATH, *LISTS)
    read = found.value()
    if name in ONE_PATH:
        return not (read is None or isinstance(read, str))
    if name in SPLIT_KEYS:
        return False  # a number may be meant as one, since not every dataset has a path there
    return isinstance(read, (int, float)) and not isinstance(read, bool)


def with_several_trackers(words: Sequence[str]) -> list[str]:
    """`words`, with `tracker=[a,b]` as Hydra's words that put each option below its own name.

    Hydra itself would merge the keys of both files into one mapping.

    Raises:
        ConfigError: a key of a tracker does not say of which.
    """
    found: list[str] = []
    names: list[str] = []
    for word in words:
        read = parsed(word) if word.startswith("tracker=[") else None
        listed = None if read is None else read.value()
        if not isinstance(listed, list):
            found.append(word)
            continue
        names = [name for name in dict.fromkeys(map(str, listed)) if name != "none"]
        if len(names) < 2:
            found.append(f"tracker={names[0] if names else 'none'}")
            names = []
        else:
            found += ["tracker=several", *(f"+tracker@tracker.{name}={name}" for name in names)]
    for word in found if names else ():
        group, _, key = word.partition("=")[0].lstrip("+~").partition(".")
        if group == "tracker" and key and key.split(".")[0] not in names:
            near = " or ".join(f"tracker.{name}.{key}" for name in names)
            raise ConfigError(
                f"tracker.{key}: with several trackers, a key has the name of its tracker: {near}."
            )
    return found


def text_of(words: Sequence[str], key: str) -> str | None:
    """The text that the last of `words` that sets `key` gives it; None if there is none."""
    given = [word for word in words if word.partition("=")[0].lstrip("+") == key]
    found = parsed(given[-1]) if given else None
    value = None if found is None or found.is_sweep_override() else found.value()
    return value if isinstance(value, str) else None


def unreadable(error: OverrideParseException) -> str:
    """The message for a word that Hydra cannot read: what is wrong with it, and what helps."""
    word, why = error.override, str(error).split("\nSee http")[0]
    key, equals, value = word.partition("=")
    _, marker, call = why.partition(" while evaluating ")
    if marker:  # a function or its arguments, in a value whose form is right
        lines = [line.strip() for line in call.partition("': ")[2].splitlines() if line.strip()]
        reason = ". ".join(lines)
        hint = ""
        if "NoneType" in reason:
            hint = f" Values of which one is null are listed without a function: {key}=null,..."
        elif "Unknown function" in reason:
            hint = f" {_quotes(key, value)}"
        return f"{word}: {reason}.{hint}"
    start = f"{word}: this cannot be read as KEY=VALUE."
    if not equals:
        return f"{start} There is no = in it."
    if parsed(f"{key}=0") is None:
        return f"{start} The text before its first =, {key!r}, is no key."
    if any(value.count(left) > value.count(right) for left, right in ("[]", "()", "{}")):
        return f"{start} Close its brackets. Quote a list for the shell: 'network.widths=[8,4]'."
    return f"{start} {_quotes(key, value)}"


def ambiguous(word: str) -> str:
    """The message for the override `word` with several values in a command without -m."""
    key, _, value = word.partition("=")
    if options(key, [CONF]):
        return f"{word}: several options are a sweep, which needs -m: vae-run -m {word} ..."
    return (
        f"{word}: several values are a sweep, which needs -m. A list has brackets: "
        f"{shlex.quote(f'{key}=[{value}]')}. {_quotes(key, value)}"
    )


def _quotes(key: str, value: str) -> str:
    if value.startswith("[") and value.endswith("]"):
        items = ",".join(quoted(item.strip()) for item in value[1:-1].split(","))
        word = shlex.quote(f"{key}=[{items}]")
        return f"Texts in a list have Hydra's quotes within the shell's, each its own: {word}."
    word = shlex.quote(f"{key}={quoted(value)}")
    return f"One text with such characters has Hydra's quotes within the shell's: {word}."
