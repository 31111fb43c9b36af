"""The schema of a composed configuration, and every check that needs no data.

A configuration is a mapping of fixed settings and of parts. A part is a group's mapping with
`_target_`, the class, and that class's keyword arguments: its signature is its schema, so a part
from anywhere is checked like our own.
"""

from __future__ import annotations

import inspect
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import is_dataclass
from functools import cache
from importlib import import_module
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from vae_run.config.groups import GROUPS, OPTIONAL, filled_in
from vae_run.config.keys import misplaced_key, those_having, unknown_key
from vae_run.config.renamed import current
from vae_run.config.schema import TASKS, Common, Settings, parameters
from vae_run.config.signatures import defaults, refusals
from vae_run.errors import ConfigError

_STRICT = ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)
"""How arguments of parts are checked; classes that pydantic does not know are checked as such."""

DEFAULT_LATENT_DIM = 16
"""The value in conf/config.yaml: it may stand beside `latent_shape`, which takes its place."""


def check(
    config: Mapping[str, Any], *, trust: Iterable[str] | None = None, trained: bool = False
) -> Settings:
    """Check `config`, a plain mapping without interpolations.

    Args:
        config: as composed.
        trust: packages whose classes parts may name besides this one; None when the user at the
            command line composed it, who may name anything on the Python path.
        trained: whether it is of a run that is not trained on, so that it does not matter what
            about the course of a training would be refused today.

    Raises:
        ConfigError: a key is unknown, of a wrong type or out of range, or two parts exclude each
            other; the message is about the first one found.
    """
    config = with_size_of_code(config)
    _refuse_other_size(config)
    fixed = _check_fixed({k: v for k, v in config.items() if k not in (*GROUPS, *OPTIONAL)})
    classes, parts = {}, {}
    chosen = [name for name in OPTIONAL if config.get(name) not in (None, {"_target_": None})]
    if chosen and fixed.task != "sample":
        raise ConfigError(f"{chosen[0]}: belongs to task=sample, found with task={fixed.task}.")
    for group in (*GROUPS, *chosen):
        if not isinstance(config.get(group), Mapping):
            raise ConfigError(f"{group}: found {config.get(group)!r}, expected one of its options.")
        classes[group] = part_class(group, config[group], trust)
        parts[group] = check_arguments(group, classes[group], config[group])
    trusted = None if trust is None else frozenset(trust)
    settings = Settings(fixed, parts, classes, config, trusted)
    for group, cls in classes.items():
        if not filled_in(group) & set(parameters(cls)):
            settings.build(group)
        if trained and group in ("trainer", "schedule"):
            continue
        for message in refusals(group, cls, settings, parts[group], trained=trained):
            raise ConfigError(message)
    return settings


def _check_fixed(own: Mapping[str, Any]) -> Common:
    """The settings that are not parts, checked by the schema of their task."""
    schema = TASKS.get(str(own.get("task")))
    if schema is None:
        raise ConfigError(f"task: found {own.get('task')!r}, expected one of {', '.join(TASKS)}.")
    for key in own:
        if key not in schema.model_fields:
            if tasks := [name for name, other in TASKS.items() if key in other.model_fields]:
                raise ConfigError(misplaced_key(key, those_having("task", tasks)))
            raise ConfigError(unknown_key(key, [*schema.model_fields, *GROUPS, *OPTIONAL]))
    for key, field in schema.model_fields.items():
        if field.is_required() and key not in own:
            raise ConfigError(f"{key}: a value is needed; say {key}=...")
    try:
        return schema.model_validate(own)
    except ValidationError as error:
        raise invalid(error, "", list(schema.model_fields)) from error


def with_size_of_code(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """`config` with the `latent_dim` that follows from `latent_shape`, if this is given.

    `latent_shape=[D]` is `latent_dim=D`, a code without maps. Where the two keys contradict each
    other, or `latent_shape` is no list of positive integers, `config` is returned as it is: `check`
    refuses it.
    """
    shape, size = config.get("latent_shape"), _size_of_code(config)
    if size is None or config.get("latent_dim") not in (size, DEFAULT_LATENT_DIM):
        return config
    one = isinstance(shape, list) and len(shape) == 1
    return {**config, "latent_dim": size, "latent_shape": None if one else shape}


def _refuse_other_size(config: Mapping[str, Any]) -> None:
    """Refuse a `latent_dim` other than the number of entries of `latent_shape`."""
    shape, size, given = config.get("latent_shape"), _size_of_code(config), config.get("latent_dim")
    if size is not None and given != size:
        raise ConfigError(
            f"latent_dim: found {given}, but latent_shape={shape} has {size} entries. Leave out "
            "latent_dim, which follows from latent_shape."
        )


def _size_of_code(config: Mapping[str, Any]) -> int | None:
    """The number of entries of `latent_shape`; None where it is not given, or is no shape."""
    shape = config.get("latent_shape")
    if not isinstance(shape, list) or not all(type(n) is int and n > 0 for n in shape):
        return None  # the schema refuses what is wrong
    return math.prod(shape)


def part_class(group: str, config: Mapping[str, Any], trust: Iterable[str] | None) -> Any:
    """The class that a part names; nothing outside `trust` and this package is imported."""
    key, target = f"{group}._target_", config.get("_target_")
    cls = import_target(key, target, trust)
    allowed = None if trust is None else {"vae_run", *trust}
    wanted = {**GROUPS, **OPTIONAL}[group]
    base_module, _, base_name = wanted.rpartition(".")
    base = getattr(import_module(base_module), base_name)
    # A class counts as a package's own only where it was defined, not where it is re-exported.
    home = getattr(cls, "__module__", "")
    if not (isinstance(cls, type) and issubclass(cls, base)) or (
        allowed is not None and home.split(".")[0] not in allowed
    ):
        raise ConfigError(f"{key}: {target} is no {wanted}, the base class of every {group}.")
    if inspect.isabstract(cls):
        raise ConfigError(f"{key}: {target} is abstract; name a class that implements it.")
    return cls


def import_target(key: str, target: Any, trust: Iterable[str] | None) -> Any:
    """What the dotted path at `key` names; nothing outside `trust` and this package is imported.

    Raises:
        ConfigError: it is no such path, it is not trusted, or it cannot be imported.
    """
    if not isinstance(target, str) or not re.fullmatch(r"\w+(\.\w+)+", target):
        raise ConfigError(f"{key}: found {target!r}, expected the dotted path of a class.")
    package = target.split(".")[0]
    if trust is not None and package not in {"vae_run", *trust}:
        raise ConfigError(
            f"{key}: the run names {target}, which is not part of vae-run. If you trust it, "
            f"say 'trust=[{package}]'."
        )
    module, _, name = current(target).rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{key}: cannot import {target} ({error}).") from error


@cache
def arguments_of(
    cls: Any, context: frozenset[str]
) -> tuple[Mapping[str, inspect.Parameter], Mapping[str, TypeAdapter[Any]]]:
    """The parameters of a part's class or function, and what checks each; read once a class."""
    signature = parameters(cls)
    own_hints = is_dataclass(cls) or inspect.isfunction(cls)
    hints = get_type_hints(cls if own_hints else cls.__init__, include_extras=True)
    own = [name for name in signature if name not in context]
    return signature, {name: TypeAdapter(hints.get(name, Any), config=_STRICT) for name in own}


def check_arguments(group: str, cls: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments of `cls`: those in `config`, checked against its annotated signature,
    and the defaults of the others.

    `cls` is a class, or a function; `group` is the key that `config` stands at.
    """
    context = filled_in(group)
    signature, adapters = arguments_of(cls, context)
    kinds = {parameter.kind for parameter in signature.values()}
    open_ended = inspect.Parameter.VAR_KEYWORD in kinds  # takes keys that it does not name
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    known = [name for name, p in signature.items() if name not in context and p.kind in named]
    given = {key: value for key, value in config.items() if key != "_target_"}
    for key, value in given.items():
        if key not in known and open_ended and key not in context:
            continue
        if key not in known:
            raise ConfigError(unknown_key(f"{group}.{key}", [f"{group}.{name}" for name in known]))
        try:
            # As JSON, a list may become a tuple, and nothing else changes its type.
            given[key] = adapters[key].validate_json(json.dumps(value))
        except ValidationError as error:
            raise invalid(error, f"{group}.{key}", known) from error
    for name in known:
        if name not in given and signature[name].default is inspect.Parameter.empty:
            raise ConfigError(f"{group}.{name}: a value is needed; say {group}.{name}=...")
    return {**{key: value for key, value in defaults(cls).items() if key in known}, **given}


def invalid(error: ValidationError, key: str, known: Iterable[str]) -> ConfigError:
    """One sentence on the first thing that pydantic found wrong under `key`."""
    first = error.errors(include_url=False)[0]
    place = [str(item) for item in first["loc"] if not _is_union_tag(item)]
    full = ".".join(filter(None, [key, *place]))
    if first["type"] == "extra_forbidden":
        return ConfigError(unknown_key(full, known), key=full)
    # A union fails once for each of its members; the message has all of them.
    wanted = list(dict.fromkeys(_expected(item["msg"]) for item in error.errors()))
    return ConfigError(f"{full}: found {first['input']!r}; {', or '.join(wanted)}.", key=full)


def _is_union_tag(item: Any) -> bool:
    """Whether pydantic put a type's name, not a key or index, into a location."""
    types = {"int", "float", "str", "bool", "none"}
    return isinstance(item, str) and (item in types or not item.isidentifier())


def _expected(message: str) -> str:
    """What pydantic expected, as the second half of a sentence."""
    message = message.removeprefix("Value error, ").replace("array", "list")
    return re.sub(r"^(Input|String|List) should", "it should", message)
