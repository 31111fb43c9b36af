"""Reading the JSON files of a run directory, which may come from a stranger."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vae_run.errors import CheckpointError

LARGEST = 10_000_000
"""Bytes of the largest file that is read; those of a run have a few thousand."""
MOST_GROUPS = 500_000
"""Lists and mappings in it at most; to make millions of them takes seconds."""
NUMBER = (int, float)
STATUS = {"state": str, "message": str, "pid": int, "host": str, "epoch": NUMBER, "step": NUMBER}
ENVIRONMENT = {
    **{"versions": dict, "images": dict, "event_shape": list, "parameters": int, "threads": int},
    **{"evaluation_threads": int, "denormals_flushed": bool, "compiled": bool},
    **dict.fromkeys(("python", "platform", "device", "device_name", "dataset_fingerprint"), str),
}
"""The types of those values of `status.json` and `environment.json` that are read."""


def read_json(path: Path) -> dict[str, Any]:
    """The mapping in the file at `path`; empty if there is no file, or no mapping in it.

    A file without content counts as none: a power failure can leave one, empty or of zero bytes,
    where a file was replaced and the disk was not waited for.

    Raises:
        CheckpointError: it is not JSON, is too large, or cannot be read.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise CheckpointError(f"{path}: has more than {LARGEST:,} bytes; refused.")
        text = path.read_text(encoding="utf-8")
        refuse_many_groups(text, str(path))
        content = json.loads(text) if text.strip("\0 \n") else {}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from error
    return content if isinstance(content, dict) else {}


def refuse_many_groups(text: str, named: str) -> None:
    """Refuse JSON of a few megabytes that would become gigabytes of lists.

    Raises:
        CheckpointError: `named` has too many.
    """
    if (count := text.count("[") + text.count("{")) > MOST_GROUPS:
        raise CheckpointError(
            f"{named}: has {count:,} lists and mappings, more than the {MOST_GROUPS:,} that are "
            "accepted; refused."
        )


def read_if_whole(path: Path) -> dict[str, Any]:
    """The mapping in the file at `path`; empty also if it cannot be read."""
    try:
        return read_json(path)
    except CheckpointError:
        return {}


def typed(
    file: Path, content: dict[str, Any], types: Mapping[str, Any], prefix: str = ""
) -> dict[str, Any]:
    """`content` of `file`, after a check of its values against `types`.

    Raises:
        CheckpointError: a value is of another type.
    """
    for key, expected in types.items():
        if key in content and not isinstance(content[key], expected):
            wanted = "a number" if expected is NUMBER else expected.__name__
            found = repr(content[key])[:60]
            raise CheckpointError(f"{file}: {prefix}{key} is {found}, expected {wanted}.")
    return content
