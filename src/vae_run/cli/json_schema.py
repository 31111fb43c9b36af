"""`vae-run --schema`: a JSON Schema of the configuration, for editors and other programs.

It describes the files of `experiment/` and `model/`, and a whole configuration as `--cfg job` shows
it. Types and ranges come from the signatures of the classes, as in `config.check`; defaults and
descriptions from the YAML files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from inspect import Parameter
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema

from vae_run.cli.catalogue import GLOBAL, GROUPS, OF_HYDRA, Catalogue, Definition
from vae_run.config.check import arguments_of, part_class
from vae_run.config.groups import filled_in
from vae_run.config.options import folders
from vae_run.config.schema import TASKS
from vae_run.errors import ConfigError

DIALECT = "https://json-schema.org/draft/2020-12/schema"

REFERENCE = {"type": "string", "pattern": r"\$\{.+\}|^\?\?\?$"}
"""What may stand in place of any value: an interpolation of OmegaConf's, or ??? for none yet."""


def schema_text(conf: Path, words: Sequence[str]) -> str:
    """The schema, with the options in `conf` and in any `--config-dir` of the typed `words`."""
    return json.dumps(schema(Catalogue(folders(conf, words))), indent=1)


def schema(catalogue: Catalogue) -> dict[str, Any]:
    """The schema of whole configurations; keys that do not exist are refused."""
    made = _Schema(catalogue)
    properties = {"defaults": _defaults(catalogue), **made.settings()}
    for group, meaning in GROUPS.items():
        if group not in GLOBAL:
            properties[group] = {"description": meaning, **made.part(group)}
    properties["hydra"] = {"type": "object", "description": "Hydra's own settings"}
    return {
        "$schema": DIALECT,
        "title": "vae-run",
        "description": catalogue.main.sentence,
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "$defs": made.definitions,
    }


SECTIONS = {"sweep": "settings of a multirun", "figures": "how pictures are written"}
"""Settings of all tasks that have keys of their own, with their meaning."""


class _Schema:
    """Builds the parts of a schema; what several of them refer to is in `definitions`."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.definitions: dict[str, Any] = {"reference": REFERENCE}

    def settings(self) -> dict[str, Any]:
        """The keys that belong to no part: those of all tasks."""
        found: dict[str, Any] = {}
        for model in TASKS.values():
            whole = model.model_json_schema(ref_template="#/$defs/{model}")
            self.definitions |= whole.pop("$defs", {})
            for key, own in whole["properties"].items():
                known = found.setdefault(key, [])
                known += [own] if own not in known else []
        settings = {key: self._described(key, kinds) for key, kinds in found.items()}
        settings["task"] = _options(self.catalogue, "task")
        for section, meaning in SECTIONS.items():
            own_keys = self.definitions[section.capitalize()]["properties"]
            for name, own in own_keys.items():
                own_keys[name] = self._described(f"{section}.{name}", [own])
            settings[section]["description"] = meaning
        return settings

    def part(self, group: str) -> dict[str, Any]:
        """The keys of a group: those of all its options, since another file may choose it."""
        kinds: dict[str, list[Any]] = {}
        for option in self.catalogue.options(group):
            config = self.catalogue.file(group, option).values
            for name, own in self._arguments(group, config).items():
                known = kinds.setdefault(name, [])
                known += [own] if own not in known else []
        named = {key: self._described(f"{group}.{key}", own) for key, own in kinds.items()}
        target = {"type": ["string", "null"], "description": "the class, by its dotted path"}
        return {
            "type": "object",
            "properties": {"_target_": target, **named},
            "additionalProperties": group == "tracker",  # those of several trackers, by name
        }

    def _arguments(self, group: str, config: Mapping[str, Any]) -> dict[str, Any]:
        """The type of each argument of the class that an option names."""
        if config.get("_target_") is None:
            return {}
        try:
            cls = part_class(group, config, None)
        except ConfigError:  # a class of the user's own, whose package is not there
            return {key: {} for key in config if key != "_target_"}
        signature, adapters = arguments_of(cls, filled_in(group))
        own = {
            key: self._type(adapter)
            for key, adapter in adapters.items()
            if signature[key].kind is not Parameter.VAR_KEYWORD
        }
        rest: dict[str, Any] = {key: {} for key in config if key != "_target_" and key not in own}
        return {**{k: v for k, v in own.items() if k not in ("args", "kwargs")}, **rest}

    def _type(self, adapter: TypeAdapter[Any]) -> dict[str, Any]:
        try:
            found = adapter.json_schema(ref_template="#/$defs/{model}")
        except PydanticInvalidForJsonSchema:
            return {}  # a type that JSON does not have
        self.definitions |= found.pop("$defs", {})
        return found

    def _described(self, key: str, kinds: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The schema of the values of `key`, whose kinds differ with the options that have it."""
        definitions = self.catalogue.keys.get(key, [])
        plain = [{k: v for k, v in kind.items() if k not in ("title", "default")} for kind in kinds]
        made: dict[str, Any] = {}
        if all(plain):  # {} takes anything
            made = {"anyOf": [*_different(plain), {"$ref": "#/$defs/reference"}]}
        if description := _description(definitions):
            made["description"] = description
        if definitions and definitions[0].default != "???":
            made["default"] = definitions[0].default
        return made


def _different(kinds: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The alternatives of all `kinds`, each once."""
    found: list[dict[str, Any]] = []
    for kind in kinds:
        several = kind["anyOf"] if set(kind) == {"anyOf"} else [kind]
        found += [each for each in several if each not in found]
    return found


def _description(definitions: Sequence[Definition]) -> str:
    """The comments on a key; those that differ name the options that they belong to."""
    comments: dict[str, list[str]] = {}
    for each in definitions:
        if each.comment:
            comments.setdefault(each.comment, []).append(f"{each.group}={each.option}")
    if len(comments) == 1:
        return next(iter(comments))
    return "; ".join(f"{', '.join(names)}: {text}" for text, names in comments.items())


def _options(catalogue: Catalogue, group: str) -> dict[str, Any]:
    meaning = catalogue.groups[group]
    names: list[str | None] = [*catalogue.options(group)]
    if group == "experiment":
        names.append(None)
    return {"description": meaning, "enum": names, "default": catalogue.default(group)}


def _defaults(catalogue: Catalogue) -> dict[str, Any]:
    """The defaults list: which options are chosen, by the forms of Hydra's syntax."""
    groups = {name: _options(catalogue, name) for name in (*GROUPS, *OF_HYDRA)}
    hydra = {
        f"hydra/{name}": {"type": ["string", "null"]} for name in ("job_logging", "hydra_logging")
    }
    choices = {**groups, **hydra}
    properties = {
        f"{start}{group}": options
        for group, options in choices.items()
        for start in ("override /", "/", "", "override ")
    }
    entry = {"type": "object", "properties": properties, "additionalProperties": False}
    return {
        "type": "array",
        "description": "the options that are chosen, in Hydra's defaults list",
        "items": {"anyOf": [{"type": "string"}, {**entry, "minProperties": 1}]},
    }
