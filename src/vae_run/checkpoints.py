"""Checkpoint files: written whole or not at all, and verified before they are believed.

The file is what `torch.save` writes, with the SHA-256 of its content as the archive's comment:
`torch.load(file, weights_only=True)` opens it as it stands.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vae_run.errors import CheckpointError

FORMAT = 1
"""Version of the layout of the saved mapping; raised when a reader must know of a change."""

_DIGEST = 64  # hexadecimal characters
_END = 22  # bytes of a zip archive's end record, whose last two are the comment's length


def write_atomically(path: Path, content: bytes) -> None:
    """Put `content` at `path` so that a reader, or a crash, sees the old file or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write `state`, a mapping of tensors and plain Python values, to `path`."""
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    content = buffer.getvalue()
    body = content[:-2]  # all but the length of the comment, which is still empty
    digest = hashlib.sha256(body).hexdigest().encode()
    write_atomically(path, body + struct.pack("<H", len(digest)) + digest)


def read(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The mapping saved at `path`; no code that the file may carry is run.

    Raises:
        CheckpointError: the file is missing, damaged, foreign or of a later format.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error.strerror}). Expected a checkpoint of a run."
        ) from error
    body, tail = content[: -2 - _DIGEST], content[-2 - _DIGEST :]
    if len(body) < _END or tail[:2] != struct.pack("<H", _DIGEST):
        raise CheckpointError(
            f"{path}: is no complete checkpoint of vae-run ({len(content)} bytes)."
        )
    if hashlib.sha256(body).hexdigest().encode() != tail[2:]:
        raise CheckpointError(f"{path}: is damaged: its content does not match its SHA-256.")
    try:
        state = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
    except Exception as error:  # a hostile file can fail in any way that pickle knows
        raise CheckpointError(
            f"{path}: holds more than tensors and plain values; refused."
        ) from error
    version = state.get("format") if isinstance(state, dict) else None
    if not isinstance(version, int) or version > FORMAT:
        raise CheckpointError(
            f"{path}: has format {version!r}, this version reads up to {FORMAT}. Update vae-run."
        )
    return dict(state)
