"""How matplotlib is imported: with the first picture, and not for longer than drawing needs."""

from __future__ import annotations

from functools import cache
from importlib import import_module

_alone = False


def in_own_process() -> None:
    """Let matplotlib be imported without its documentation: nobody else uses it in this process.

    Composing the docstrings of its artists takes two fifths of the time of the import.
    """
    global _alone
    _alone = True


def is_in_own_process() -> bool:
    """Whether `in_own_process` was called."""
    return _alone


def load() -> None:
    """Import what a picture needs, which is otherwise imported with the first one."""
    prepare()
    for name in ("matplotlib.backends.backend_agg", "matplotlib.figure", "PIL.PngImagePlugin"):
        import_module(name)


@cache
def prepare() -> None:
    """What comes before matplotlib's artists are imported."""
    if _alone:
        import matplotlib.artist

        matplotlib.artist.kwdoc = lambda artist: ""
