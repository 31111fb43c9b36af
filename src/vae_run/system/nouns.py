"""What the examples of a data set are called, in everything that is shown to people."""

from __future__ import annotations

import re
from collections.abc import Sequence

ENTRIES = {
    "images": "pixel",
    "windows": "value",
    "vectors": "value",
    "rows": "feature",
    "examples": "value",
}
"""Nouns, and what one number of such an example is called."""


def noun_of(event_shape: Sequence[int], *, table: bool = False) -> str:
    """What examples of the shape E are called: rows of a table, vectors, windows or images."""
    return "rows" if table else ("vectors", "windows", "images")[len(event_shape) - 1]


def speaking_of(text: str, noun: str) -> str:
    """`text`, which speaks of images and pixels, as it is said of examples called `noun`."""
    if noun == "images":
        return text
    one, entry = noun[:-1], ENTRIES[noun]
    article = "an" if one.startswith("e") else "a"
    words = (("an image", f"{article} {one}"), ("An image", f"{article.title()} {one}"))
    for word, own in (*words, ("image", one)):
        text = re.sub(rf"\b{word}(?=s?\b)", own, text)
    text = re.sub(r"\bImage(?=s?\b)", one.capitalize(), text)
    text = re.sub(r"\bPixel(?=s?\b)", entry.capitalize(), text)
    return re.sub(r"\bpixel(?=s?\b)", entry, text)


def counted(count: int, noun: str) -> str:
    """`count` with `noun`, a plural, in the number that fits: "1 row", "1,200 rows"."""
    if count != 1:
        return f"{count:,} {noun}"
    return f"1 {noun[:-3]}y" if noun.endswith("ies") else f"1 {noun.removesuffix('s')}"
