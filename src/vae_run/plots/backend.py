"""How matplotlib is imported: with the first picture, and not for longer than drawing needs."""

from __future__ import annotations

from functools import cache

_alone = False


def in_own_process() -> None:
    """Let matplotlib be imported without its documentation: nobody else uses it in this process.

    Composing the docstrings of its artists takes two fifths of the time of the import.
    """
    global _alone
    _alone = True


@cache
def prepare() -> None:
    """What comes before matplotlib's artists are imported."""
    if _alone:
        import matplotlib.artist

        matplotlib.artist.kwdoc = lambda artist: ""
