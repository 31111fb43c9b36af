"""Entries of `evaluation.metrics`, `while_training` and `figures`, made into objects.

An entry is the name of a file of the package (`mse`, or `mse?`), the dotted path of a class or a
function from anywhere (`sharpness.Sharpness`), or a mapping with that path as `_target_` and the
keyword arguments beside it.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import FunctionType
from typing import Any, TypeVar

from vae_run.config.check import check_arguments, import_target
from vae_run.errors import ConfigError
from vae_run.evaluation import metrics, pictures
from vae_run.evaluation.base import FunctionMetric, FunctionPicture, Metric, Part, Picture

Entry = str | dict[str, Any]
Kind = TypeVar("Kind", bound=Part)

FOLDERS: Mapping[type[Part], Any] = {Metric: metrics, Picture: pictures}
"""Where the package's own ones are: a file of its own name each."""
FUNCTIONS: Mapping[type[Part], Any] = {Metric: FunctionMetric, Picture: FunctionPicture}


@cache
def known(kind: type[Part]) -> list[str]:
    """The names of the package's own metrics, or pictures."""
    return sorted(module.name for module in iter_modules(FOLDERS[kind].__path__))


def own_pictures() -> dict[str, Picture]:
    """The package's own pictures, by name."""
    return {name: build(Picture, "evaluation.figures", name, ()) for name in known(Picture)}


def target(entry: Entry) -> str:
    """The name or the path of an entry, without the question mark."""
    return str(entry if isinstance(entry, str) else entry.get("_target_")).removesuffix("?")


def where_it_exists(entry: Entry) -> bool:
    """Whether the entry is written `NAME?`: left out, not refused, where it cannot exist."""
    return str(entry if isinstance(entry, str) else entry.get("_target_")).endswith("?")


def is_outside(entry: Entry) -> bool:
    """Whether the entry is a dotted path."""
    return "." in target(entry)


def check_name(kind: type[Part], key: str, entry: Entry) -> None:
    """Refuse a bare name that the package does not have; nothing is imported.

    Raises:
        ConfigError: it does not, or a mapping has no path.
    """
    if is_outside(entry):
        return
    names = known(kind)
    if isinstance(entry, Mapping):
        raise ConfigError(
            f"{key}._target_: found {entry.get('_target_')!r}, expected the dotted path of a "
            f"{kind.__name__.lower()}, such as vae_run.evaluation.{kind.__name__.lower()}s."
            f"{names[0]}.{names[0]}."
        )
    if target(entry) not in names:
        near = get_close_matches(target(entry), names, n=1, cutoff=0.0)[0]
        raise ConfigError(
            f"{key}: there is no {target(entry)!r}; did you mean {near!r}? "
            f"Known: {', '.join(names)}."
        )


def build(kind: type[Kind], key: str, entry: Entry, trust: Collection[str] | None) -> Kind:
    """The metric or picture that `entry` names.

    Args:
        kind: Metric or Picture.
        key: of the settings, for messages.
        entry: see above.
        trust: packages, besides vae-run, that an entry may name; None: any.

    Raises:
        ConfigError: it cannot be imported, is not trusted, or is given keys that it does not take.
    """
    check_name(kind, key, entry)
    if not is_outside(entry):
        module = import_module(f"{FOLDERS[kind].__name__}.{target(entry)}")
        own: Kind = getattr(module, target(entry))
        return own
    found = _imported(kind, key, target(entry), trust)
    is_class = isinstance(found, type)
    keys = {"_target_": target(entry)} if isinstance(entry, str) else entry
    given = check_arguments(key, found if is_class else found.function, keys)
    built: Kind = found(**given) if is_class else found.given(**given)
    return built


def _imported(kind: type[Part], key: str, path: str, trust: Collection[str] | None) -> Any:
    """The class, or the function made a metric or picture, that `path` names."""
    found = import_target(key, path, trust)
    home = str(getattr(found, "__module__", "")).split(".")[0]
    if isinstance(found, FunctionType) and home != "vae_run":
        found = FUNCTIONS[kind](found)
    is_class = isinstance(found, type) and issubclass(found, kind)
    # An object counts as a package's own only where it was defined, not where it is re-exported.
    trusted = trust is None or home in {"vae_run", *trust}
    if not (is_class or isinstance(found, FUNCTIONS[kind])) or not trusted:
        raise ConfigError(
            f"{key}: {path} is neither a subclass of {kind.__module__}.{kind.__name__} nor a "
            "function of a view."
        )
    if inspect.isabstract(found):
        raise ConfigError(f"{key}: {path} is abstract; name a class that fills it in.")
    return found
