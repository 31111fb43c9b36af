"""Images decoded once into files, from which later runs read them.

A cache is a folder with an .npy file of bytes [N, C, H, W] for each split. It is built under
another name and then renamed, so that it is whole or not there; its name tells what it was made of.

Letters: N images, C channels, H and W their height and width.
"""

import fcntl
import glob
import hashlib
import logging
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from vae_run.data.images.decode_pool import Job, decode_to_files
from vae_run.data.images.decoder import Decoder
from vae_run.errors import DataError
from vae_run.system.console import console

log = logging.getLogger(__name__)

FOLDER = ".vae-run-cache"
"""The folder of caches beside data."""
_CHUNK_BYTES = 2**21
_MOST_IN_CHUNK = 64
_LINE_SECONDS = 60.0


@dataclass(frozen=True)
class Source:
    """Image files and how they are decoded.

    Attributes:
        base: the folder that they belong to.
        parts: the files of each split.
        decoder: makes the pixels.
    """

    base: Path
    parts: Mapping[str, Sequence[Path]]
    decoder: Decoder

    @property
    def images(self) -> int:
        return sum(len(paths) for paths in self.parts.values())

    @property
    def decoded_bytes(self) -> int:
        return self.images * self.decoder.size

    def look(self) -> tuple[str, int]:
        """A hash of names, sizes and times of change of all files, and their size in bytes.

        Raises:
            DataError: a file is not there.
        """
        digest, total = hashlib.sha256(str(self.decoder).encode()), 0
        for name, paths in self.parts.items():
            digest.update(repr((name, len(paths))).encode())
            for path in paths:
                try:
                    found = os.stat(path)
                except OSError as error:
                    raise DataError(
                        f"cannot read the image {path}: {error.strerror}; replace or remove it"
                    ) from error
                told = (os.path.relpath(path, self.base), found.st_size, found.st_mtime_ns)
                digest.update(repr(told).encode())
                total += found.st_size
        return digest.hexdigest(), total


def user_cache() -> Path:
    """The folder of caches for data whose own folder cannot be written to."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vae-run" / "decoded"


def cached(source: Source, fingerprint: str, folder: str | None) -> dict[str, Path]:
    """The file of each split's decoded images, made now if it is not there.

    Args:
        source: what to decode.
        fingerprint: of `source.look`.
        folder: where caches are kept; None is beside the data, or else in the user's own cache.

    Raises:
        DataError: an image is damaged, or there is no room or no right to write.
    """
    if folder is not None:
        places = [Path(os.path.abspath(os.path.expanduser(folder)))]
    else:
        places = [source.base.parent / FOLDER, user_cache()]
    for place in places:
        cache = _Cache(source, fingerprint, place)
        if cache.whole():
            return cache.files()
    error: OSError | None = None
    for place in places:
        try:
            place.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=place).close()
        except OSError as reason:
            error = reason
            continue
        return _Cache(source, fingerprint, place).made()
    raise DataError(
        f"dataset.cache: cannot write to {places[-1]} ({error}), where decoded images would be "
        "kept. Name a folder that can be written to, or decode at every start: dataset.cache=none"
    )


class _Cache:
    """One set of decoded images below `folder`; `stem` is that of all its states over time."""

    def __init__(self, source: Source, fingerprint: str, folder: Path) -> None:
        self.source, self.fingerprint, self.folder = source, fingerprint, folder
        where = f"{os.path.relpath(source.base, folder)} {source.decoder.crop}"
        size = "x".join(str(number) for number in source.decoder.shape)
        key = hashlib.sha256(os.fsencode(where)).hexdigest()[:8]
        self.stem = f"{source.base.name[:100]}-{size}-{key}"
        self.home = folder / f"{self.stem}-{fingerprint[:16]}"

    def files(self) -> dict[str, Path]:
        return {name: self.home / f"{name}.npy" for name in self.source.parts}

    def whole(self) -> bool:
        """Whether all files are there, and as long as they should be."""
        for name, path in self.files().items():
            try:
                found = mapped(path)
            except (OSError, ValueError, EOFError):
                return False
            shape = (len(self.source.parts[name]), *self.source.decoder.shape)
            if found.dtype != torch.uint8 or tuple(found.shape) != shape:
                return False
        return True

    def made(self) -> dict[str, Path]:
        """The files, once this or another process has written them."""
        with _locked(self.folder / f"{self.stem}.lock", self.stem):
            if not self.whole():
                if self.home.exists():
                    log.warning("%s: is damaged; decoding anew", self.home)
                self._remove_others()
                self._make()
        return self.files()

    def _remove_others(self) -> None:
        """Caches of what the source was before, and what a killed process left."""
        for path in self.folder.glob(f"{glob.escape(self.stem)}-*"):
            shutil.rmtree(path, ignore_errors=True)

    def _make(self) -> None:
        need, free = self.source.decoded_bytes, shutil.disk_usage(self.folder).free
        if need > free:
            raise DataError(
                f"dataset.cache: the decoded images take {need / 2**30:.3g} GiB, and {self.folder} "
                f"has {free / 2**30:.3g} GiB left. Make room, or name a folder that has it"
            )
        partial = self.home.with_name(f"{self.home.name}.partial")
        try:
            partial.mkdir()
            self._decode(partial)
            if self.source.look()[0] != self.fingerprint:
                raise DataError(
                    f"{self.source.base} was changed while its images were decoded; start again"
                )
            os.replace(partial, self.home)
        except OSError as error:
            raise DataError(
                f"cannot write {partial}: {error}; make room, or name another folder with "
                "dataset.cache"
            ) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _decode(self, folder: Path) -> None:
        """Write the files into `folder`."""
        started, jobs = time.monotonic(), list[Job]()
        decoder = self.source.decoder
        step = max(1, min(_MOST_IN_CHUNK, _CHUNK_BYTES // decoder.size))
        for name, paths in self.source.parts.items():
            file, shape = folder / f"{name}.npy", (len(paths), *decoder.shape)
            array = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=shape)
            for start in range(0, len(paths), step):
                offset = array.offset + start * decoder.size
                jobs.append(Job(file, offset, paths[start : start + step]))
        log.info("decoding %s images once, into %s", f"{self.source.images:,}", self.home)
        with _progress(self.source.images) as bar:
            for done in decode_to_files(jobs, decoder):
                bar(done)
        for name in self.source.parts:
            with open(folder / f"{name}.npy", "rb") as written:
                os.fsync(written.fileno())
        log.info("decoded in %.1f s", time.monotonic() - started)


def mapped(path: Path) -> Tensor:
    """The array in the .npy file `path`, read from there as it is used; it must not be written."""
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable", category=UserWarning)
        return torch.from_numpy(array)


@contextmanager
def _locked(path: Path, what: str) -> Iterator[None]:
    """Alone among the processes that want `path`; the lock of a killed process is free.

    A file system that knows no locks gives none.
    """
    with open(path, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("waiting for another process, which decodes %s", what)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            log.warning("%s knows no locks: start one run first, alone", path.parent)
        yield


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """Takes how many images were done: a bar on a terminal, a line a minute elsewhere."""
    done, said = 0, time.monotonic()

    def line(count: int) -> None:
        nonlocal done, said
        done += count
        if time.monotonic() - said >= _LINE_SECONDS:
            said = time.monotonic()
            log.info("decoded %s of %s images", f"{done:,}", f"{total:,}")

    if not console.is_terminal:
        yield line
        return
    columns = (TextColumn("decoding"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda count: bar.advance(task, count)
