"""The base class of datasets in torchvision's layout, which are downloaded when absent.

torchvision only downloads (it has the addresses and checksums); this package reads the files, so a
dataset that is on the disk needs neither torchvision nor a network connection.
"""

import contextlib
import importlib
import logging
import os
import queue
import socket
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, ClassVar, final
from urllib.parse import urlsplit

from vae_run.data.dataset import Dataset, Parts
from vae_run.errors import DataError

log = logging.getLogger(__name__)

PROBE_SECONDS = 8.0
STALL_SECONDS = 20.0


@dataclass(frozen=True, kw_only=True)
class Downloaded(Dataset):
    """A dataset under `root`, downloaded when files are absent; existing files are never changed.

    Attributes:
        root: the folder of all datasets; `~` is the home folder. Created only by a download.
        download: whether absent files may be downloaded.
        kin: name of the class of `torchvision.datasets` that downloads it.
    """

    root: str
    download: bool = True
    kin: ClassVar[str]

    @abstractmethod
    def files(self) -> Sequence[str]:
        """The files and folders that `read_files` needs, relative to `root`."""

    @abstractmethod
    def sources(self, kin: Any) -> Sequence[str]:
        """Addresses, one of which must answer before a download starts; `kin` is the class."""

    @abstractmethod
    def fetch(self, kin: Any, folder: str) -> None:
        """Download everything with the class `kin` into the empty folder `folder`."""

    @abstractmethod
    def read_files(self, root: Path) -> Parts:
        """Read the files, all of which exist; DataError names a damaged one."""

    def present(self, path: Path) -> bool:
        """Whether a file of `files` exists, in any form that `read_files` accepts."""
        return os.path.exists(path)

    @final
    def read(self) -> Parts:
        """The splits from the files under `root`, which are first downloaded if absent."""
        root = Path(os.path.expanduser(self.root))
        absent = self._absent(root)
        if absent and not self.download:
            raise self._missing(root, absent, "dataset.download=false forbids its download")
        if absent:
            self._download(root, absent)
        return self.read_files(root)

    def _absent(self, root: Path) -> list[str]:
        return [name for name in self.files() if not self.present(root / name)]

    def _download(self, root: Path, absent: list[str]) -> None:
        """Download into a temporary folder, then move missing files to `root`: all or none."""
        try:
            kin = getattr(importlib.import_module("torchvision.datasets"), self.kin)
        except (ImportError, RuntimeError) as error:
            reason = f"torchvision, which downloads it, cannot be imported ({error})"
            raise self._missing(root, absent, reason) from error
        sources = self.sources(kin)
        if not reachable(sources, PROBE_SECONDS):
            hosts = ", ".join(sorted({urlsplit(source).hostname or "" for source in sources}))
            reason = f"it could not be downloaded: no connection to {hosts}"
            raise self._missing(root, absent, reason)
        log.info("downloading %s into %s", self.kin, root)
        try:
            root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".download-", dir=root) as folder:
                with contextlib.redirect_stdout(sys.stderr), _stall_guard():
                    self.fetch(kin, folder)
                adopt(Path(folder), root)
        except Exception as error:  # torchvision and gdown pass on any error of their libraries
            reason = f"its download failed ({type(error).__name__}: {error})"
            raise self._missing(root, absent, reason) from error
        absent = self._absent(root)
        if absent:
            raise self._missing(root, absent, "its download did not contain them")

    def _missing(self, root: Path, absent: list[str], reason: str) -> DataError:
        return DataError(
            f"{self.kin} is not complete in {root}, and {reason}. "
            f"Put these there: {', '.join(absent)}; or set dataset.root to the folder that has them"
        )


def damaged(path: Path, why: object) -> DataError:
    """The error for a file that exists but has invalid contents."""
    return DataError(
        f"{path} is damaged: {why}. It is left unchanged: replace it by a good copy, or move it "
        "away to have it downloaded again (dataset.download=true)"
    )


def reachable(addresses: Sequence[str], seconds: float) -> bool:
    """Whether any of the addresses answers (proxies are honoured); returns within `seconds`.

    Each is requested in a daemon thread, because a name server that does not respond blocks for
    minutes, regardless of any timeout.
    """
    answers: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def ask(address: str) -> None:
        request = urllib.request.Request(address, method="HEAD")  # noqa: S310 - our constants
        try:
            urllib.request.urlopen(request, timeout=seconds).close()  # noqa: S310
            answers.put(True)
        except urllib.error.HTTPError:
            answers.put(True)  # the server refused the request, so there is a connection
        except (OSError, ValueError, HTTPException):
            answers.put(False)

    for address in addresses:
        threading.Thread(target=ask, args=(address,), daemon=True).start()
    deadline = time.monotonic() + seconds
    for _ in addresses:
        try:
            if answers.get(timeout=max(0.0, deadline - time.monotonic())):
                return True
        except queue.Empty:
            return False
    return False


def adopt(source: Path, target: Path) -> None:
    """Move everything in the folder `source` into `target`; existing files are not replaced."""
    for path in sorted(source.iterdir()):
        goal = target / path.name
        if not os.path.lexists(goal):
            path.rename(goal)
        elif path.is_dir() and goal.is_dir():
            adopt(path, goal)


@contextlib.contextmanager
def _stall_guard() -> Iterator[None]:
    """Time out connections without data for `STALL_SECONDS`; torchvision has no timeout."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALL_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
