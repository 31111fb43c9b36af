"""The YAML files of a run directory: writing them, and reading those of a stranger."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vae_run.errors import CheckpointError

LARGEST = 1_000_000
"""Bytes of the largest file that is read; a configuration has a few thousand."""
MOST_VALUES = 100_000
"""Lines, commas and opening brackets at most, which separate values; usual are a few hundred."""
MOST_BY_OMEGACONF = 20_000
"""Values that OmegaConf is given at most, which takes ten times as long as the rest of reading."""
MOST_REFERENCES = 2_000
"""Interpolations at most, which take OmegaConf 300 times as long as other values."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads scalars as OmegaConf does, and refuses duplicate keys like it, but by libyaml.

    A comparison reads thousands of these files; OmegaConf 2.3's own loader takes 15 times as long.
    OmegaConf's rules differ from YAML 1.1 in two points: numbers such as 1e-3, without a dot, are
    floats, and dates are text.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012 (as in PyYAML)
        first: [(tag, rule) for tag, rule in rules if not tag.endswith((":float", ":timestamp"))]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(keys) > len(set(keys)):
            twice = next(key for key in keys if keys.count(key) > 1)
            raise yaml.YAMLError(f"the key {twice} stands twice")
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"""^(?:
        [-+]?[0-9]+(?:_[0-9]+)*\.[0-9_]*(?:[eE][-+]?[0-9]+)?
        |[-+]?[0-9]+(?:_[0-9]+)*(?:[eE][-+]?[0-9]+)
        |\.[0-9]+(?:_[0-9]+)*(?:[eE][-+][0-9]+)?
        |[-+]?[0-9]+(?:_[0-9]+)*(?::[0-5]?[0-9])+\.[0-9_]*
        |[-+]?\.(?:inf|Inf|INF)
        |\.(?:nan|NaN|NAN))$""",
        re.VERBOSE,
    ),
    list("-+0123456789."),
)


class _Dumper(getattr(yaml, "CDumper", yaml.Dumper)):  # type: ignore[misc]
    """Writes scalars as OmegaConf does, but by libyaml, which takes a fifth of the time."""


_WORDS = {"y", "n", "yes", "no", "true", "false", "on", "off"}
"""Text that YAML 1.1 takes for true or false, in lower case."""


def _write_text(dumper: Any, text: str) -> Any:
    """Quote `text` where a reader would take it for a number or a truth value."""
    quoted = text.lower() in _WORDS or _is_number(text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="'" if quoted else None)


_Dumper.add_representer(str, _write_text)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def yaml_text(content: Any) -> str:
    """Plain `content` as YAML: what `OmegaConf.to_yaml` writes of it.

    Characters beyond U+FFFF, such as emoji, are escaped by libyaml, and are read back the same.
    """
    text: str = yaml.dump(
        content, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, sort_keys=False
    )
    return text


def excess(text: str) -> str | None:
    """What a YAML `text` has more of than `read_yaml` accepts, in words; None: nothing."""
    limits = {
        "bytes": (len(text.encode()), LARGEST),
        "lines, commas and brackets": (sum(map(text.count, "\n\r,[{")), MOST_VALUES),
        "interpolations": (text.count("${"), MOST_REFERENCES),
    }
    told = (_too_many(of, *counted) for of, counted in limits.items() if counted[0] > counted[1])
    return next(told, None)


def _too_many(of: str, count: int, most: int) -> str:
    return f"{count:,} {of}, more than the {most:,} that are accepted"


def read_yaml(path: Path, *, resolve: bool = True) -> Any:
    """The plain content of the file at `path`; with `resolve`, interpolations are filled in.

    Raises:
        CheckpointError: it is missing, too large (`excess`), is not YAML, or uses YAML's aliases.
            vae-run writes no aliases, and with them a few lines can stand for gigabytes.
    """
    try:
        if (size := path.stat().st_size) > LARGEST:  # before it is in memory
            raise CheckpointError(f"{path}: has {_too_many('bytes', size, LARGEST)}; refused.")
        text = path.read_text(encoding="utf-8")
        if (told := excess(text)) is not None:
            raise CheckpointError(f"{path}: has {told}; refused.")
        events = yaml.parse(text, _Loader) if "&" in text else ()
        if any(isinstance(event, yaml.AliasEvent) for event in events):
            raise CheckpointError(f"{path}: uses YAML aliases (*name); refused.")
        content = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
        if isinstance(content, (dict, list)) and _is_plain(content):
            if not resolve or "${" not in text:
                return content
        elif content is None:
            return {}
        return _by_omegaconf(path, content, resolve)
    except (
        *(OSError, ValueError, TypeError, RecursionError, AssertionError),
        *(yaml.YAMLError, OmegaConfBaseException),
    ) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from error


def _by_omegaconf(path: Path, content: Any, resolve: bool) -> Any:
    """`content` as OmegaConf has it, which is given a name in place of each long list of values."""
    lists: dict[str, list[Any]] = {}

    def short(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: short(each) for key, each in value.items()}
        if not isinstance(value, list):
            return value
        if len(value) < 100 or not all(map(_is_value, value)):
            return [short(each) for each in value]
        lists[name := f"the list {len(lists)}"] = value
        return name

    def whole(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: whole(each) for key, each in value.items()}
        if isinstance(value, list):
            return [whole(each) for each in value]
        return lists.get(value, value) if isinstance(value, str) else value

    content = short(content)
    if (count := _size(content)) > MOST_BY_OMEGACONF:
        raise CheckpointError(
            f"{path}: has {_too_many('values', count, MOST_BY_OMEGACONF)} outside of lists of "
            "numbers and texts; refused."
        )
    return whole(OmegaConf.to_container(OmegaConf.create(content), resolve=resolve))


def _is_value(value: Any) -> bool:
    """Whether OmegaConf would return `value` unchanged, which is no list or mapping."""
    if isinstance(value, str):
        return "${" not in value and value != "???"
    return value is None or isinstance(value, (int, float))


def _size(value: Any) -> int:
    """The number of lists, mappings and values in `value`, itself included."""
    if isinstance(value, dict):
        return 1 + sum(map(_size, value.values()))
    return 1 + sum(map(_size, value)) if isinstance(value, list) else 1


def _is_plain(value: Any) -> bool:
    """Whether OmegaConf would return `value` unchanged."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, list):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, (str, int, float))
