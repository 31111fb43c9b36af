"""Fonts for text in any script: DejaVu Sans, and others of this machine for what it lacks."""

from __future__ import annotations

import logging
import unicodedata
from functools import cache

DEFAULT = "DejaVu Sans"
"""Comes with matplotlib: Latin, Greek, Cyrillic, and more."""

_BOXES = ("lastresort", "last resort", "blank", "fallback", "emoji")
"""Parts of the names of fonts that draw a box for any character, or only in colours."""


def drawable(text: str) -> bool:
    """Whether a font of this machine has every character of `text`."""
    return text.isascii() or all(_font_with(character) for character in text)


def shown(text: str) -> str:
    """`text`, where what no font of this machine has is written as a code, such as \\u732b."""
    if drawable(text) and text.isprintable():
        return text
    return "".join(
        one if _font_with(one) else one.encode("unicode_escape").decode() for one in text
    )


def families(text: str) -> list[str]:
    """The fonts that draw `text`: matplotlib takes each character from the first that has it."""
    if text.isascii():
        return [DEFAULT]
    return list(dict.fromkeys((DEFAULT, *filter(None, map(_font_with, text)))))


@cache
def _font_with(character: str) -> str:
    """The name of a font that has `character`; "" where there is none, or nothing to draw."""
    if unicodedata.category(character) in ("Cc", "Cs", "Co", "Cn"):
        return ""
    return next((name for name in _names() if ord(character) in _characters(name)), "")


@cache
def _names() -> list[str]:
    """The names of the machine's fonts, in the order in which they are asked: sans-serif first."""
    from matplotlib.font_manager import fontManager

    # It tells on the terminal of every weight that a font lacks.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    names = {font.name for font in fontManager.ttflist}
    usable = [name for name in names if not any(box in name.lower() for box in _BOXES)]
    return sorted(usable, key=lambda name: (name != DEFAULT, "Sans" not in name, name))


@cache
def _characters(name: str) -> frozenset[int]:
    """The code points of the characters that the font `name` has."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    try:
        return frozenset(get_font(findfont(FontProperties(family=name))).get_charmap())
    except (OSError, RuntimeError, ValueError):  # FreeType cannot read it
        return frozenset()
