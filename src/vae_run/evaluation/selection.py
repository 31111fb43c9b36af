"""Entries of `evaluation.metrics`, `while_training` and `figures`, made into objects.

An entry is the name of a file of the package (`mse`, or `mse?`), the dotted path of a class or a
function from anywhere (`sharpness.Sharpness`), or a mapping with that path as `_target_` and
keyword arguments beside it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import FunctionType
from typing import Any

from vae_run.config.check import check_arguments, import_target
from vae_run.errors import ConfigError
from vae_run.evaluation import metrics, pictures
from vae_run.evaluation.base import FunctionMetric, FunctionPicture, Metric, Picture

Entry = str | dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """Metrics, or pictures.

    Attributes:
        name: in messages.
        base: the class that each one is of.
        function: the class of those that are made of a function.
        folder: the package of vae-run's own: a file each, with one of the same name in it.
    """

    name: str
    base: Any
    function: Any
    folder: Any


METRIC = Kind("metric", Metric, FunctionMetric, metrics)
PICTURE = Kind("picture", Picture, FunctionPicture, pictures)


@cache
def known(kind: Kind) -> list[str]:
    """The names of the package's own metrics, or pictures."""
    return sorted(module.name for module in iter_modules(kind.folder.__path__))


def own_pictures() -> dict[str, Picture]:
    """The package's own pictures, by name."""
    return {name: build(PICTURE, "evaluation.figures", name, ()) for name in known(PICTURE)}


def written(entry: Entry) -> str:
    """The name or the path of an entry, with the question mark if there is one."""
    return str(entry if isinstance(entry, str) else entry.get("_target_"))


def target(entry: Entry) -> str:
    """The name or the path of an entry, without the question mark."""
    return written(entry).removesuffix("?")


def is_outside(entry: Entry) -> bool:
    """Whether the entry is a dotted path."""
    return re.fullmatch(r"\w+(\.\w+)+", target(entry)) is not None


def check_name(kind: Kind, key: str, entry: Entry) -> None:
    """Refuse a bare name that the package does not have; nothing is imported.

    Raises:
        ConfigError: it does not, or a mapping has no path.
    """
    if is_outside(entry):
        return
    names = known(kind)
    if isinstance(entry, Mapping):
        example = f"{kind.folder.__name__}.{names[0]}.{names[0]}"
        raise ConfigError(
            f"{key}._target_: found {entry.get('_target_')!r}, expected the dotted path of a "
            f"{kind.name}, such as {example}."
        )
    if target(entry) not in names:
        near = get_close_matches(target(entry), names, n=1, cutoff=0.0)[0]
        raise ConfigError(
            f"{key}: there is no {target(entry)!r}; did you mean {near!r}? "
            f"Known: {', '.join(names)}."
        )


def build(kind: Kind, key: str, entry: Entry, trust: Collection[str] | None) -> Any:
    """The metric or picture that `entry` names.

    Args:
        kind: METRIC or PICTURE.
        key: of the settings, for messages.
        entry: see above.
        trust: packages, besides vae-run, that an entry may name; None: any.

    Raises:
        ConfigError: it cannot be imported, is not trusted, or is given keys that it does not take.
    """
    check_name(kind, key, entry)
    if not is_outside(entry):
        return getattr(import_module(f"{kind.folder.__name__}.{target(entry)}"), target(entry))
    found = _imported(kind, key, target(entry), trust)
    is_class = isinstance(found, type)
    keys = {"_target_": target(entry)} if isinstance(entry, str) else entry
    given = check_arguments(key, found if is_class else found.function, keys)
    return found(**given) if is_class else found.given(**given)


def _imported(kind: Kind, key: str, path: str, trust: Collection[str] | None) -> Any:
    """The class, or the function made a metric or picture, that `path` names."""
    found = import_target(key, path, trust)
    home = str(getattr(found, "__module__", "")).split(".")[0]
    if isinstance(found, FunctionType) and home != "vae_run":
        found = kind.function(found)
    is_class = isinstance(found, type) and issubclass(found, kind.base)
    # An object counts as a package's own only where it was defined, not where it is re-exported.
    trusted = trust is None or home in {"vae_run", *trust}
    if not (is_class or isinstance(found, kind.function)) or not trusted:
        raise ConfigError(
            f"{key}: {path} is neither a subclass of {kind.base.__module__}.{kind.base.__name__} "
            "nor a function of a view."
        )
    if inspect.isabstract(found):
        raise ConfigError(f"{key}: {path} is abstract; name a class that fills it in.")
    return found
