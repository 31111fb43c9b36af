"""The scalars of one step in a run's event files, for a run that goes on at that step."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary

_LARGEST = 10_000_000
"""Bytes of a record that is looked into; one with a picture may have more."""


def scalars_at(run: Path, step: int) -> dict[str, bytes]:
    """The scalars of `step` by their tags, as float32 in four bytes: the last of each tag.

    A file is read up to where it is damaged, or cut by a kill. What a later file purges is left
    out, as TensorBoard does: a resumed run begins its file with the step that it takes next.
    """
    found: dict[str, bytes] = {}
    for path in sorted(run.glob("events.out.tfevents.*")):
        for event in _events(path):
            purges = event.HasField("session_log") and event.session_log.status == SessionLog.START
            if purges and event.step <= step:
                found = {}
            if event.step == step and event.HasField("summary"):
                found |= {
                    value.tag: as_bytes(value)
                    for value in event.summary.value
                    if value.HasField("simple_value")
                }
    return found


def as_bytes(value: Summary.Value) -> bytes:
    """A scalar in four bytes, in which not-a-number is equal to itself."""
    return struct.pack("<f", value.simple_value)


def _events(path: Path) -> Iterator[Event]:
    """The records of an event file: length, its checksum, that many bytes, their checksum."""
    try:
        with path.open("rb") as file:
            while len(head := file.read(12)) == 12:
                (length,) = struct.unpack("<Q", head[:8])
                if length > _LARGEST:
                    if file.seek(length + 4, 1) > path.stat().st_size:
                        return
                    continue
                data = file.read(length)
                if len(data) < length or len(file.read(4)) < 4:
                    return
                yield Event.FromString(data)
    except (OSError, DecodeError, OverflowError, ValueError):
        return
