"""Where the lines of a message break on a terminal: between words, never within one."""

from __future__ import annotations

import re
from itertools import pairwise

from rich.cells import cell_len
from rich.text import Text

INDENT = 2
"""Spaces before a line that continues another."""

MOST_INDENT = 12
"""Columns up to which a line of items continues below its second item."""

_COMMAND = re.compile(r"(?:^|(?<=: )|(?<=: '))vae-run .*")
_ITEM = re.compile(r"\S+(?: \S+)*")
_WORD = re.compile(r"\S+")


def fitted(text: Text, width: int) -> Text:
    """`text` with lines of at most `width` columns.

    Items that stand two spaces apart, such as `kl 0.1  mse 0.2`, stay whole. So do words that are
    too long, and commands after a colon, which a person copies: the terminal wraps these itself,
    and what is copied has no break in it.
    """
    return Text("\n").join(_lines(line, width) for line in text.split("\n"))


def _lines(line: Text, width: int) -> Text:
    plain = line.plain
    if cell_len(plain) <= width:
        return line
    items = list(_ITEM.finditer(plain))
    indent = items[1].start() if len(items) > 1 and items[1].start() <= MOST_INDENT else INDENT
    begins: list[int] = []  # of lines
    last = 0  # where the present line begins
    for start, end in _units(plain, width - indent):
        used = cell_len(plain[last:end]) + (indent if begins else 0)
        if used > width and start > last and plain[last:start].strip():
            begins.append(start)
            last = start
    parts = [line[a:b] for a, b in pairwise([0, *begins, len(plain)])]
    for part in parts:
        part.rstrip()
    return Text("\n" + " " * indent).join(parts)


def _units(plain: str, room: int) -> list[tuple[int, int]]:
    """(start, end) of what is not broken: items, or their words where an item is too long."""
    command = _COMMAND.search(plain)
    until = command.start() if command else len(plain)
    units: list[tuple[int, int]] = []
    for item in _ITEM.finditer(plain, 0, until):
        words = [item]
        if cell_len(item[0]) > room:
            words = list(_WORD.finditer(plain, item.start(), item.end()))
        units += [(word.start(), word.end()) for word in words]
    return [*units, (until, len(plain))] if command else units
