"""Checkpoint files: written as a whole or not at all, and verified before they are used.

The file is what `torch.save` writes, with the SHA-256 of its content as the archive's comment:
`torch.load(file, weights_only=True)` opens it as it stands.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from vae_run.errors import CheckpointError, DamagedError
from vae_run.system.files import write_atomically
from vae_run.system.hardware import available_memory
from vae_run.version import __version__

FORMAT = 1
"""Version of the layout of the saved mapping, raised by changes that a reader has to know."""

_DIGEST = 64  # hexadecimal characters
_END = 22  # bytes of a zip archive's end record, whose last two are the comment's length


_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
"""Errors of a file system without hard links."""


def keep(path: Path, name: str) -> None:
    """Give the file at `path`, if there is one, the second name `name` in the same folder."""
    temporary = path.with_name(f".{name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        os.link(path, temporary)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.replace(path, path.with_name(name))  # until the next writing only `name` exists
        return
    os.replace(temporary, path.with_name(name))
    # Of two names of one file, as a kill may have left them, the system renames neither.
    temporary.unlink(missing_ok=True)


def _alone(value: Any) -> Any:
    """`value` with every view of a larger tensor copied: torch would save the whole storage."""
    if isinstance(value, torch.Tensor):
        return value if value.untyped_storage().nbytes() == value.nbytes else value.clone()
    if isinstance(value, Mapping):
        return {key: _alone(entry) for key, entry in value.items()}
    return [_alone(entry) for entry in value] if isinstance(value, list) else value


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write `state`, a mapping of tensors and plain Python values, to `path`.

    Raises:
        OSError: it cannot be written; what was there is untouched.
    """
    buffer = io.BytesIO()
    whole = {"format": FORMAT, **state, "written_by": f"vae-run {__version__}"}
    torch.save(_alone(whole), buffer)
    content = buffer.getvalue()
    body = content[:-2]  # all but the length of the comment, which is still empty
    digest = hashlib.sha256(body).hexdigest().encode()
    write_atomically(path, body + struct.pack("<H", len(digest)) + digest)


def read(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The mapping saved at `path`; code that the file may contain is never run.

    Raises:
        DamagedError: the file is missing, or its bytes are not those that were written.
        CheckpointError: it is undamaged, but it holds code or has a later format.
    """
    try:
        _refuse_unlike(path)
        content = path.read_bytes()
    except OSError as error:
        raise DamagedError(
            f"{path}: cannot be read ({error.strerror}). Expected a checkpoint of a run."
        ) from error
    body, tail = content[: -2 - _DIGEST], content[-2 - _DIGEST :]
    if hashlib.sha256(body).hexdigest().encode() != tail[2:]:
        raise DamagedError(f"{path}: is damaged: its content does not match its SHA-256.")
    _refuse_compressed(path, content)
    try:
        state = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
    except Exception as error:  # a hostile file can make pickle fail in any way
        raise CheckpointError(
            f"{path}: holds more than tensors and plain values; refused."
        ) from error
    version = state.get("format") if isinstance(state, dict) else None
    if type(version) is not int or not 1 <= version <= FORMAT:
        writer = state.get("written_by") if isinstance(state, dict) else None
        raise CheckpointError(
            f"{path}: has format {version!r}, written by {writer or 'an unknown program'}; this is "
            f"vae-run {__version__}, which reads formats 1 to {FORMAT}. Update vae-run."
        )
    return dict(state)


def _refuse_unlike(path: Path) -> None:
    """Refuse a file whose end is not that of a checkpoint, or that does not fit into memory.

    A sparse file takes no room on the disk, so that its size says nothing of what it holds.
    """
    size, available = path.stat().st_size, available_memory()
    with path.open("rb") as file:
        file.seek(max(0, size - 2 - _DIGEST))
        length = file.read(2)
    if size < _END + 2 + _DIGEST or length != struct.pack("<H", _DIGEST):
        raise DamagedError(f"{path}: is no complete checkpoint of vae-run ({size} bytes).")
    if size > available:
        raise CheckpointError(
            f"{path}: has {size / 2**30:,.1f} GiB, and {available / 2**30:,.1f} GiB of memory are "
            "available. Free some memory, or use a machine with more."
        )


def _refuse_compressed(path: Path, content: bytes) -> None:
    """Refuse an archive whose members unpack to more than the file holds; torch compresses none."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, ValueError, OverflowError) as error:
        raise CheckpointError(
            f"{path}: holds more than tensors and plain values; refused."
        ) from error
    if unpacked > len(content):
        raise CheckpointError(
            f"{path}: unpacks to {unpacked:,} bytes from {len(content):,}; refused. Checkpoints of "
            "vae-run are not compressed."
        )


@contextmanager
def understood(path: Path) -> Iterator[None]:
    """Report errors inside, which use the content of the checkpoint at `path`, as its fault.

    Raises:
        CheckpointError: an error occurred.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RuntimeError) as e:
        raise CheckpointError(
            f"{path}: is a checkpoint, but not one of this run: {type(e).__name__}: "
            f"{str(e).splitlines()[0] if str(e) else ''}. Use the file that the run wrote."
        ) from e
