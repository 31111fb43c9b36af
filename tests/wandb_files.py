"""Reads the file that Weights & Biases writes when it is offline, by its own protocol buffers.

The file is a log of LevelDB: after a header of 7 bytes, blocks of 32 KiB hold pieces of records.
Before each piece stand its checksum (4 bytes), its length (2) and its type (1): 1 is a whole
record, 2 the first piece of one, 3 a middle one, 4 the last.
"""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HEADER, BLOCK, WHOLE, LAST = 7, 32768, 1, 4


def _payloads(content: bytes) -> Iterator[bytes]:
    place, parts = HEADER, b""
    while place + HEADER <= len(content):
        if BLOCK - place % BLOCK < HEADER:  # the rest of a block is too short for a piece
            place += BLOCK - place % BLOCK
            continue
        size, kind = struct.unpack("<HB", content[place + 4 : place + HEADER])
        if kind == 0:
            break
        parts += content[place + HEADER : place + HEADER + size]
        place += HEADER + size
        if kind in (WHOLE, LAST):
            yield parts
            parts = b""


class OfflineRun:
    """What the `.wandb` files of the run directory `run` hold.

    Attributes:
        ids: of the runs.
        groups: of the runs, with their job types and names.
        history: by name what was logged, as (step, value); pictures and histograms too.
        config: hyperparameters.
        files: names of the files that were handed over.
        exit_codes: how the runs ended.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        give_up = time.monotonic() + 10
        while not self._whole() and time.monotonic() < give_up:
            time.sleep(0.05)  # another process writes the file, a little after `finish`

    def _whole(self) -> bool:
        """Read the files anew; whether each says how its run ended."""
        from wandb.proto.wandb_internal_pb2 import Record

        self.ids: set[str] = set()
        self.groups: set[tuple[str, str, str]] = set()
        self.history: dict[str, list[tuple[int, Any]]] = {}
        self.config: dict[str, Any] = {}
        self.files: set[str] = set()
        self.exit_codes: list[int] = []
        files = sorted(self.run.glob("wandb/offline-run-*/run-*.wandb"))
        for file in files:
            for payload in _payloads(file.read_bytes()):
                self._take(Record.FromString(payload))
        return len(self.exit_codes) == len(files)

    def _take(self, record: Any) -> None:
        kind = record.WhichOneof("record_type")
        if kind == "run":
            self.ids.add(record.run.run_id)
            about = (record.run.run_group, record.run.job_type, record.run.display_name)
            self.groups.add(about)
            self._take_config(record.run.config)
        elif kind == "config":
            self._take_config(record.config)
        elif kind == "history":
            items: dict[str, Any] = {}
            for item in record.history.item:
                name, *inner = item.nested_key or [item.key]
                value = json.loads(item.value_json)
                if inner:  # a picture or a histogram has several entries
                    value = {**items.get(name, {}), "/".join(inner): value}
                items[name] = value
            step = items.pop("_step", record.history.step.num)
            for name, value in items.items():
                if not name.startswith("_"):
                    self.history.setdefault(name, []).append((step, value))
        elif kind == "files":
            self.files |= {file.path for file in record.files.files}
        elif kind == "exit":
            self.exit_codes.append(record.exit.exit_code)

    def _take_config(self, config: Any) -> None:
        for item in config.update:
            self.config[item.key or item.nested_key[0]] = json.loads(item.value_json)

    def numbers(self) -> dict[str, list[tuple[int, float]]]:
        """The history without pictures and histograms."""
        found = {
            name: [(step, value) for step, value in points if not isinstance(value, dict)]
            for name, points in self.history.items()
        }
        return {name: points for name, points in found.items() if points}
