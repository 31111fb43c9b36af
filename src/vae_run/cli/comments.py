"""The comments of YAML files, by the key that each is about."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]
    """Reads plain values; 1e-3 is a number, as for OmegaConf and in YAML 1.2."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


@dataclass(frozen=True)
class Commented:
    """A file of options, read with its comments.

    Attributes:
        about: the comment that it begins with, a paragraph a line.
        values: its content, with values as they stand there.
        comments: full keys within the file with their comments, such as "hydra.run.dir".
    """

    about: tuple[str, ...]
    values: dict[str, Any]
    comments: dict[str, str]

    @property
    def sentence(self) -> str:
        """The first paragraph of what the file says of itself, or nothing."""
        return self.about[0] if self.about else ""

    def chosen(self) -> dict[str, str]:
        """The option of each group that its defaults list chooses, without hydra's own groups."""
        entries = self.values.get("defaults") or []
        pairs = (pair for each in entries if isinstance(each, dict) for pair in each.items())
        named = {str(key).removeprefix("override ").strip("/"): value for key, value in pairs}
        return {key: str(value) for key, value in named.items() if value and "/" not in key}

    def leaves(self) -> Iterator[tuple[str, Any]]:
        """The full keys of values that are no mappings, and of empty mappings."""
        yield from _leaves({k: v for k, v in self.values.items() if k not in ("defaults", "hydra")})


def _leaves(mapping: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in mapping.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        elif key != "_target_":
            yield f"{prefix}{key}", value


@cache
def read(file: Path) -> Commented:
    """The file and its comments.

    A comment belongs to the key on whose line it stands, and goes on in lines of comment alone that
    follow at once. Lines of comment at the beginning are about the file.

    Raises:
        yaml.YAMLError: it is no YAML.
    """
    text = file.read_text(encoding="utf-8")
    values = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader, in C where there is one
    lines = text.splitlines()
    keys: dict[int, str] = {}
    node = yaml.compose(text, Loader=_Loader)
    if isinstance(node, yaml.MappingNode):
        keys = {line: key for key, line in _places(node)}
    begin = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    head = [line[1:].rstrip() for line in lines[:begin] if not line.startswith("# @package")]
    return Commented(
        _paragraphs(head), values if isinstance(values, dict) else {}, _comments(lines, keys)
    )


def _places(node: Any, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Each full key with the number of its line."""
    for key, value in node.value:
        full = f"{prefix}{key.value}"
        yield full, key.start_mark.line
        if isinstance(value, yaml.MappingNode):
            yield from _places(value, f"{full}.")


def _comments(lines: list[str], keys: dict[int, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    key = None
    for number, line in enumerate(lines):
        if line.lstrip().startswith("#"):
            if key is not None:
                found[key] += f" {line.lstrip()[1:].strip()}"
            continue
        key = keys.get(number)
        comment = _comment(line) if key is not None else ""
        if key is not None and comment:
            found[key] = comment
        else:
            key = None
    return found


def _comment(line: str) -> str:
    """The comment at the end of a line of YAML that begins with a key."""
    quote = ""
    for place, letter in enumerate(line):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"" and line[place - 1] in " [{(:,":
            quote = letter
        elif letter == "#" and line[place - 1] in " \t":
            return line[place + 1 :].strip()
    return ""


def _paragraphs(lines: list[str]) -> tuple[str, ...]:
    """Lines joined to paragraphs, which blank lines divide; an indented line is one of its own."""
    found = [""]
    for line in lines:
        if not line:
            found.append("")
        elif line.startswith("   "):
            found += [line.strip(), ""]
        else:
            found[-1] = f"{found[-1]} {line.strip()}".strip()
    return tuple(filter(None, found))
