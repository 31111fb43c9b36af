"""TensorBoard's event file: records of bytes, each with its length and checksums.

It is written without TensorBoard's own writer, which computes the checksums byte by byte in Python
(12 ms for a picture), does so in a thread that takes the interpreter from the training, and imports
TensorBoard's substitute for TensorFlow.
"""

from __future__ import annotations

import os
import re
import socket
import struct
import time
from functools import cache
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tensorboard.compat.proto.event_pb2 import Event, SessionLog, SourceMetadata
from tensorboard.compat.proto.summary_pb2 import Summary

FLUSH_SECONDS, FLUSH_BYTES = 5.0, 2**20
"""Records wait in memory for at most so long, or for so many bytes."""

_NUMBER = count()  # of the event files of this process, as a part of their names


class EventFile:
    """A new event file in the folder `run`, for a writer of one thread.

    TensorBoard reads event files in the order of their names, which begin with the second of their
    start: that of a file that would not be the last of its folder is later.
    """

    def __init__(self, run: Path, purge_step: int | None = None) -> None:
        """Create the file.

        Args:
            run: its folder.
            purge_step: TensorBoard forgets what earlier files say of this step and later ones.

        Raises:
            OSError: it cannot be written; this is true of every method.
        """
        names = [path.name for path in run.glob("events.out.tfevents.*")]
        known = [re.match(r"events\.out\.tfevents\.(\d+)\.", name) for name in names]
        second = max([int(time.time()), *(int(found[1]) + 1 for found in known if found)])
        place = f"{socket.gethostname()}.{os.getpid()}.{next(_NUMBER)}"
        self.path = run / f"events.out.tfevents.{second:010d}.{place}"
        self._file = self.path.open("xb", buffering=0)
        self._waiting = bytearray()
        self._flushed = time.monotonic()
        source = SourceMetadata(writer="vae_run.tracking.event_file")
        self._write(Event(file_version="brain.Event:2", source_metadata=source))
        if purge_step is not None:
            self._write(Event(step=purge_step, file_version="brain.Event:2"))
            start = SessionLog(status=SessionLog.START)
            self._write(Event(step=purge_step, session_log=start))
        self.flush()

    def add(self, *values: Summary.Value, step: int = 0) -> None:
        """Write `values`, which were all recorded now, at `step`."""
        self._write(Event(step=step, summary=Summary(value=values)))
        late = time.monotonic() - self._flushed > FLUSH_SECONDS
        if late or len(self._waiting) > FLUSH_BYTES:
            self.flush()

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        data = event.SerializeToString()
        length = struct.pack("<Q", len(data))
        self._waiting += length + _masked(length) + data + _masked(data)

    def flush(self) -> None:
        """Hand what waits to the operating system."""
        waiting, self._waiting, self._flushed = self._waiting, bytearray(), time.monotonic()
        try:
            while waiting:
                del waiting[: self._file.write(waiting)]
        except OSError:
            self._file.close()
            raise

    def close(self) -> None:
        """Write what waits, and close the file."""
        try:
            self.flush()
        finally:
            self._file.close()


def _masked(data: bytes) -> bytes:
    """The checksum of `data` as the format stores it: rotated by 15 bits, plus a constant."""
    value = crc32c(data)
    return struct.pack("<I", ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF)


_LANE = 128  # bytes
_SMALL = 4 * _LANE


def crc32c(data: bytes) -> int:
    """The CRC-32C (Castagnoli) of `data`.

    Longer data are cut into lanes, whose remainders are computed side by side. A remainder is
    linear in the bits: that of two lanes in a row is that of the first, moved by a lane of zeros,
    xor that of the second.
    """
    table = _table()
    if len(data) < _SMALL:
        value = 0xFFFFFFFF
        for byte in data:
            value = table[(value ^ byte) & 255] ^ (value >> 8)
        return value ^ 0xFFFFFFFF
    lanes = -(-len(data) // _LANE)
    padded = np.zeros(lanes * _LANE, np.uint8)
    first = len(padded) - len(data)
    padded[first:] = np.frombuffer(data, np.uint8)
    padded[first : first + 4] ^= 255  # the register begins as ones
    low, second, third, high = _moved()
    value = 0
    for own in _remainders(padded.reshape(lanes, _LANE), np.zeros(lanes, np.uint32)).tolist():
        moved = low[value & 255] ^ second[value >> 8 & 255] ^ third[value >> 16 & 255]
        value = moved ^ high[value >> 24] ^ own
    return value ^ 0xFFFFFFFF


def _remainders(lanes: NDArray[np.uint8], register: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The register [N] after the bytes of each of `lanes` [N, L]."""
    table = np.array(_table(), np.uint32)
    for column in np.ascontiguousarray(lanes.T):
        register = table[(register ^ column) & 255] ^ (register >> np.uint32(8))
    return register


@cache
def _table() -> list[int]:
    """The remainder of each byte, bits reversed: the polynomial is 0x1EDC6F41."""
    found = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        found.append(byte)
    return found


@cache
def _moved() -> list[list[int]]:
    """What a lane of zeros makes of each byte at each of the four places of the register."""
    start = np.arange(256, dtype=np.uint32) << np.array([[0], [8], [16], [24]], np.uint32)
    zeros = np.zeros((1024, _LANE), np.uint8)
    return _remainders(zeros, start.reshape(-1)).reshape(4, 256).tolist()  # type: ignore[no-any-return]
