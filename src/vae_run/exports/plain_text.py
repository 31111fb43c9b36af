"""Texts of a run, which may be a stranger's, where other programs read them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from vae_run.system.files import json_text


def one_line(text: str) -> str:
    """`text` without line breaks, control characters and invisible ones: each becomes a space.

    So a name cannot end the comment of a script in which it stands, nor begin a line of Markdown.
    What Python calls printable is kept; several spaces become one.
    """
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def markdown(text: str) -> str:
    """`text` in one line that Markdown shows as it is: no HTML, link, code or cell of a table."""
    return re.sub(r"([\\`*<>|]|\](?=[(\[]))", r"\\\1", one_line(text))


def texts(told: Mapping[str, Any]) -> dict[str, str]:
    """`told` as texts, for formats that hold nothing else: JSON of what is no text."""
    return {key: v if isinstance(v, str) else json_text(v) for key, v in told.items()}
