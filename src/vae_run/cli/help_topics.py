"""The text of `vae-run --help TOPIC`: a group, an option or a key; 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import wrap

from vae_run.cli.catalogue import Catalogue, Definition, written
from vae_run.config.keys import nearest
from vae_run.config.options import folders
from vae_run.errors import ConfigError

WIDTH = 79
BESIDE = 30
"""The column that comments begin in, where the key before it is short enough."""


def topics_text(conf: Path, words: Sequence[str], topics: Sequence[str]) -> str:
    """What the files say of each of `topics`, such as trainer, trainer.epochs, model=vae.

    Args:
        conf: the folder with `config.yaml`.
        words: the command line, which may name a folder of the user's own.
        topics: its words that are no options.

    Raises:
        ConfigError: there is no such group, option or key; the message names the nearest.
    """
    catalogue = Catalogue(folders(conf, words))
    return "\n\n".join("\n".join(_topic(catalogue, topic.lstrip("+~"))) for topic in topics)


def _topic(catalogue: Catalogue, topic: str) -> Iterator[str]:
    name, equals, value = topic.partition("=")
    if name in catalogue.groups and equals:
        for option in value.split(","):
            if option not in catalogue.options(name):
                raise _unknown(catalogue, f"{name}={option}")
            yield from _option(catalogue, name, option)
    elif name in catalogue.groups:
        yield from _group(catalogue, name)
    elif name in catalogue.keys:
        yield from _key(name, catalogue.keys[name])
    elif within := {k: d[0] for k, d in catalogue.keys.items() if k.startswith(f"{name}.")}:
        yield name
        yield from _keys(within)
    elif having := [g for g in catalogue.groups if not equals and name in catalogue.options(g)]:
        for group in having:
            yield from _option(catalogue, group, name)
    else:
        raise _unknown(catalogue, name)


def _unknown(catalogue: Catalogue, topic: str) -> ConfigError:
    near = nearest(topic, catalogue.words())
    hint = f" Did you mean {near}?" if near else ""
    return ConfigError(f"{topic}: there is no such group, option or key.{hint}")


def _group(catalogue: Catalogue, group: str) -> Iterator[str]:
    """A group: its options, and the keys of its default."""
    names, default = catalogue.options(group), catalogue.default(group)
    yield f"{group}: {catalogue.groups[group]}"
    yield f"\nOptions{' (the default comes first)' * (default is not None)}"
    for name in names:
        yield from _beside(name, catalogue.file(group, name).sentence)
    if default is not None and (keys := catalogue.of_option(group, default)):
        yield f"\nKeys of {group}={default}, with their defaults"
        yield from _keys(keys)
    yield f"\nvae-run --help {group}=OPTION shows the keys of an option."


def _option(catalogue: Catalogue, group: str, option: str) -> Iterator[str]:
    """An option: what its file says, the options that it chooses, and its keys."""
    file = catalogue.file(group, option)
    yield f"{group}={option}"
    for paragraph in file.about:
        yield from _filled(paragraph, 2)
    chosen = [f"{name}={value}" for name, value in file.chosen().items()]
    if chosen:
        yield "\nChooses"
        yield from _filled("  ".join(chosen), 2)
    keys = catalogue.of_option(group, option)
    if keys:
        yield "\nSets" if group in ("model", "experiment") else "\nKeys, with their defaults"
        yield from _keys(keys)


def _keys(keys: Mapping[str, Definition]) -> Iterator[str]:
    for key, definition in keys.items():
        yield from _beside(f"{key}={written(definition.default)}", definition.comment)
    if any(definition.default == "???" for definition in keys.values()):
        yield "Where it says ???, a value must be given."


def _key(key: str, definitions: Sequence[Definition]) -> Iterator[str]:
    """A key: its default and comment in each of the options that have it."""
    alike: dict[tuple[str, str], list[Definition]] = {}
    for each in definitions:
        alike.setdefault((written(each.default), each.comment), []).append(each)
    for (default, comment), members in alike.items():
        yield f"{key}={default}" if default else key
        yield from _filled(comment, 4)
        options = ", ".join(each.option for each in members if each.group)
        if options:
            yield from _filled(f"with {members[0].group}={options}", 4)
    if any(default == "???" for default, _ in alike):
        yield "Where it says ???, a value must be given."


def _beside(name: str, comment: str) -> Iterator[str]:
    """`name`, and beside it or below it its comment."""
    first = f"  {name}"
    lines = _filled(comment, BESIDE)
    if lines and len(first) < BESIDE - 1:
        lines[0] = first + lines[0][len(first) :]
    else:
        lines = [*_filled(name, 2), *lines]
    yield from lines


def _filled(text: str, indent: int) -> list[str]:
    """Lines of whole words."""
    space = " " * indent
    return wrap(text, WIDTH, initial_indent=space, subsequent_indent=space,
                break_long_words=False, break_on_hyphens=False)  # fmt: skip
