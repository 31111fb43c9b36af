"""Categories as texts: a category keeps the text of its cells, and is found in other notations.

Letters: N rows.
"""

import math
import re
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

MISSING = "missing"
"""The category of a text that is missing, where missing values are allowed."""
_BOOLEANS = dict.fromkeys(("True", "TRUE", "true"), "true") | dict.fromkeys(
    ("False", "FALSE", "false"), "false"
)
_WHOLE = re.compile(r"-?\d{1,300}")
_LEADING_ZERO = re.compile(r"-?0\d")
_OTHER_NOTATION = re.compile(r"[+-]?(\d+,\d+|\d{1,3}([_,.' ]\d{3})+([.,]\d+)?)")


def is_number(text: str) -> bool:
    """Whether `text` is a number as tables are read: with a point, and without separators."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def in_other_notation(text: str) -> bool:
    """Whether `text` looks like a number that tables are not read with: `1_000`, `1,5`."""
    return _OTHER_NOTATION.fullmatch(text.strip()) is not None


def called(found: NDArray[np.object_]) -> NDArray[np.object_]:
    """What the categories of a column are called whose cells are the texts `found`, str [N].

    A column of numbers, or of booleans, without leading zeros is written as one that is stored
    as numbers (`1.0` as `1` where all numbers are whole), unless different texts would become
    one. All other texts stay as they are. None, a missing text, stays None.
    """
    texts = {str(text): str(text).strip() for text in found if text is not None}
    own = dict[str, str]()
    if all(text in _BOOLEANS for text in texts.values()):
        own = {text: _BOOLEANS[text] for text in texts}
    elif all(is_number(text) and not _LEADING_ZERO.match(text) for text in texts.values()):
        integers = all(_WHOLE.fullmatch(text) for text in texts.values())
        whole = all(_whole(float(text)) for text in texts.values())
        for text, cell in texts.items():
            own[text] = cell if integers else str(int(float(cell)) if whole else float(cell))
    if len(set(own.values())) < len(texts):
        return found
    return np.array([None if text is None else own[str(text)] for text in found], dtype=object)


def as_known(found: NDArray[np.object_], known: Collection[str]) -> NDArray[np.object_]:
    """The texts `found`, str [N], each as the one of `known` that it is another notation of.

    Texts that are known stay as they are, and so do all where `known` are not texts of numbers
    or of booleans, as columns of these types are named: where `007` and `7` are two categories,
    a text is the one that is written.
    """
    names = set(known) - {MISSING}
    if not all(name in _notations(name) for name in names):
        return found
    texts = {str(text) for text in found if text is not None} - names
    own = {text: next((n for n in _notations(text) if n in names), text) for text in texts}
    return np.array([own.get(text, text) for text in found], dtype=object)


def _notations(text: str) -> list[str]:
    """How columns of integers, floats and booleans name the category of a cell `text`."""
    text = text.strip()
    if text in _BOOLEANS:
        return [_BOOLEANS[text]]
    if not is_number(text):
        return []
    value, found = float(text), list[str]()
    if _WHOLE.fullmatch(text):
        found.append(str(int(text)))
    if _whole(value):
        found.append(str(int(value)))
    return [*found, str(value)]


def _whole(value: float) -> bool:
    return math.isfinite(value) and value % 1 == 0 and abs(value) < 2**53
