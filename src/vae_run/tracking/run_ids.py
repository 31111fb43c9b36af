"""What services call a run, kept in its directory, and proof that this user wrote it there.

A resumed run goes on in the run of the service that it was begun in. A run directory may come from
somebody else, whose words must not decide where records go. So an entry carries a signature: an
HMAC (RFC 2104) with a key that lies in the user's home folder. What is not signed is not followed.

An entry counts for the directory that it was written in, so that a copy of a run begins a run of
its own. A directory that was moved within its file system is recognised: its inode is the same, and
where it was before there is nothing. To another file system, moving is copying.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from vae_run.errors import CheckpointError
from vae_run.runs.saved_json import read_json
from vae_run.system.files import write_json
from vae_run.system.lock_files import acquire, lock_file

FILE = "trackers.json"
KEY_BYTES = 32
_IDS = re.compile(r"[A-Za-z0-9_-]{1,64}")
_writing = Lock()


def key_file() -> Path:
    """The file of the user's key: `vae-run/key` in XDG_STATE_HOME, else in ~/.local/state.

    Raises:
        RuntimeError: there is no home folder.
    """
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "vae-run" / "key"


@contextmanager
def _alone() -> Iterator[None]:
    """Be the only process that writes: each service of a run has its own, and one file for all."""
    with ExitStack() as held:
        with suppress(OSError, RuntimeError):  # without a home folder there is no entry to lose
            file = key_file().with_name("lock")
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = lock_file(file)
            if acquire(lock, blocking=True):
                held.callback(lock.release)
        yield


def _key() -> bytes | None:
    """The user's key, which is made when it is first asked for; None where it cannot be kept."""
    try:
        file = key_file()
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            new = file.with_name(f"key-{secrets.token_hex(8)}")
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as opened:
                opened.write(secrets.token_bytes(KEY_BYTES))
            with suppress(FileExistsError):  # another process was first: its key counts
                os.link(new, file)
            new.unlink()
        found = file.read_bytes()
    except (OSError, RuntimeError):
        return None
    return found if len(found) == KEY_BYTES else None


@dataclass(frozen=True)
class _Entry:
    """What is signed: the id, and the path and the inode of the directory that it belongs to."""

    id: str
    directory: str
    inode: int

    def lies_in(self, run: Path) -> bool:
        """Whether `run` is that directory, there or moved; not if it is a copy of it."""
        try:
            same = run.stat().st_ino == self.inode
            return str(run.resolve()) == self.directory or (
                same and not os.path.lexists(self.directory)
            )
        except (OSError, ValueError):
            return False


@dataclass(frozen=True)
class RunIds:
    """The entry of one service in the `trackers.json` of a run directory, or of a sweep's folder.

    Attributes:
        run: the directory.
        title: of the service.
        place: where it sends to; an entry of another place does not count.
    """

    run: Path
    title: str
    place: Mapping[str, Any]

    def known(self) -> str | None:
        """The id of the run there; None where this user signed none for this directory."""
        entry = self._entry()
        return entry.id or None if entry and entry.lies_in(self.run) else None

    def signed(self) -> bool:
        """Whether this user sent this run, or the one that it is a copy of, to `place` before."""
        return self._entry() is not None

    def keep(self, identifier: str = "") -> None:
        """Write down that the run is sent to `place`, as the run `identifier` there.

        Raises:
            OSError: it cannot be written.
        """
        with _writing, _alone():
            found = self._read()
            entry = _Entry(identifier, str(self.run.resolve()), self.run.stat().st_ino)
            found[self.title] = {**asdict(entry), "signature": self._signature(entry)}
            write_json(self.run / FILE, found)

    def _read(self) -> dict[str, Any]:
        try:
            return read_json(self.run / FILE)
        except CheckpointError:
            return {}  # damaged: as good as none

    def _entry(self) -> _Entry | None:
        """The entry, if this user signed it."""
        match self._read().get(self.title):
            case {
                "id": str(identifier),
                "directory": str(directory),
                "inode": int(inode),
                "signature": str(signature),
            }:
                entry = _Entry(identifier, directory, inode)
            case _:
                return None
        own = self._signature(entry)
        if own is None or not hmac.compare_digest(own.encode(), signature.encode(errors="replace")):
            return None
        return entry if not identifier or _IDS.fullmatch(identifier) else None

    def _signature(self, entry: _Entry) -> str | None:
        """Of the title, the place and the entry; None without a key."""
        key = _key()
        if key is None:
            return None
        text = json.dumps([self.title, dict(self.place), asdict(entry)], sort_keys=True)
        return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
