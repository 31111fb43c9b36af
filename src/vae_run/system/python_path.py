"""Where the interpreters that this program starts look for modules."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def own_modules_only(**variables: str) -> Iterator[None]:
    """Keep the working directory off the module path of interpreters that are started inside.

    multiprocessing starts its helpers by `python -c`, which looks for modules in the working
    directory first: a user's `random.py` there would take the place of Python's own.

    Args:
        variables: of the environment, which are set meanwhile too.
    """
    changed = {**variables, "PYTHONSAFEPATH": "1"}
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
