"""Standard output and error for any text, whatever the encoding of the terminal."""

from __future__ import annotations

import codecs
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SIMILAR = str.maketrans(
    {"−": "-", "–": "-", "×": "x", "±": "+-", "…": "...", "≤": "<=", "≥": ">=", "→": "->"}
)
"""Signs of our own messages, and what stands for them where the encoding does not have them."""


def _similar(error: UnicodeError) -> tuple[str | bytes, int]:
    """A similar sign for what an encoding does not have, or its code, such as \\u732b."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end].translate(SIMILAR)
    return lacking.encode("ascii", "backslashreplace").decode("ascii"), error.end


codecs.register_error("vae_run.similar", _similar)


@contextmanager
def writing_any_text() -> Iterator[None]:
    """Let standard output and error write any text: what they cannot encode is written as codes."""
    before = []
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            before.append((stream, stream.errors))
            stream.reconfigure(errors="vae_run.similar")
    try:
        yield
    finally:
        for stream, errors in before:
            if not stream.closed:
                stream.reconfigure(errors=errors)
