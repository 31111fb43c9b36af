"""What a part's class must be like beyond its base class: its defaults, and its `conflicts` method.

`conflicts(cls, settings, options)` is an optional classmethod that yields one message for each
combination with other parts that the class refuses. It is looked up by name, since the base class
of one group, `torch.optim.Optimizer`, is not ours to give it to. A lookup by name would pass over a
misspelt method in silence, so `refusals` also refuses names that are nearly `conflicts`.

`training_conflicts`, alike, yields what is refused of new trainings alone, so that older runs that
were trained so are still read.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from difflib import SequenceMatcher
from functools import cache
from typing import Any

from vae_run.config.schema import Settings, parameters
from vae_run.errors import ConfigError

METHOD = "conflicts"
OF_TRAININGS = "training_conflicts"
NEAR = 0.8
"""Names at least this similar to `conflicts` (difflib's ratio, in [0, 1]) are taken for typos."""


@dataclass
class _Example:
    values: list[int] = field(default_factory=list)


_FACTORY = inspect.signature(_Example).parameters["values"].default
"""What a signature shows in place of a default that a dataclass makes anew each time."""


def defaults(cls: Any) -> dict[str, Any]:
    """The default of each parameter of `cls`, a class or a function, that has one."""
    factories: dict[str, Any] = {}
    if is_dataclass(cls):
        factories = {f.name: f.default_factory for f in fields(cls)}
    found = {}
    for name, parameter in parameters(cls).items():
        if parameter.default is _FACTORY and factories.get(name, MISSING) is not MISSING:
            found[name] = factories[name]()
        elif parameter.default is not inspect.Parameter.empty:
            found[name] = parameter.default
    return found


def refusals(
    group: str, cls: Any, settings: Settings, options: Mapping[str, Any], *, trained: bool = False
) -> Iterator[str]:
    """The messages of `cls.conflicts(settings, options)`; none where the class has no such method.

    Unless the run is `trained`, those of `training_conflicts` too.

    Raises:
        ConfigError: a method is misspelt, takes other arguments, or returns something other than
            messages.
    """
    for name in (METHOD,) if trained else (METHOD, OF_TRAININGS):
        yield from _messages(group, cls, name, settings, options)


def _messages(
    group: str, cls: Any, name: str, settings: Settings, options: Mapping[str, Any]
) -> Iterator[str]:
    """The messages of the classmethod `name`."""
    where = f"{group}._target_: {cls.__module__}.{cls.__qualname__}"
    wanted = f"expected a classmethod {name}(cls, settings, options) that yields messages"
    if (misspelt := _misspelt(cls)) is not None:
        raise ConfigError(f"{where} defines {misspelt}, which nothing calls; {wanted}.")
    method = getattr(cls, name, None)
    if method is None:
        return
    try:
        inspect.signature(method).bind(settings, options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: its {name} cannot be called ({error}); {wanted}.") from error
    messages = method(settings, options)
    if isinstance(messages, str) or not isinstance(messages, Iterable):
        raise ConfigError(f"{where}: its {name} returned {messages!r}; {wanted}.")
    yield from messages


@cache
def _misspelt(cls: type) -> str | None:
    """A name that `cls` or a base defines in the likely belief that it is `conflicts`."""
    for each in cls.__mro__:
        if METHOD in vars(each):
            continue  # beside the method itself, a similar name is a helper
        for name in vars(each):
            plain = name.strip("_").lower()
            if SequenceMatcher(None, plain, METHOD).ratio() >= NEAR:
                return name
    return None
