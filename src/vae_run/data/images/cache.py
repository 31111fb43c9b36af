"""A cache of decoded images, from which later runs read them.

A cache is a folder with an .npy file of bytes [N, C, H, W] for each split. It is written under a
temporary name and then renamed, so it is never incomplete; its name contains a hash of the files
that it was decoded from.

Letters: N images, C channels, H height, W width.
"""

import glob
import hashlib
import logging
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from filelock import Timeout
from torch import Tensor

from vae_run.data.images.decode_pool import Job, decode_to_files
from vae_run.data.images.progress import decoding_progress
from vae_run.data.images.source import Source
from vae_run.data.images.transparency import BACKGROUNDS
from vae_run.errors import DataError
from vae_run.system.lock_files import acquire, lock_file

log = logging.getLogger(__name__)

FOLDER = ".vae-run-cache"
"""Name of the folder of caches beside the data."""
_CHUNK_BYTES = 2**21
_MOST_IN_CHUNK = 64


def user_cache() -> Path:
    """The folder of caches of data in read-only folders."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vae-run" / "decoded"


@dataclass(frozen=True)
class Kept:
    """The decoded images of a split in a cache.

    Attributes:
        file: the .npy file.
        images: uint8 [N, C, H, W], the file memory-mapped and read-only. They stay readable where
            another process, whose source has changed, removes the file.
    """

    file: Path
    images: Tensor


def cached(source: Source, fingerprint: str, folder: str | None) -> dict[str, Kept]:
    """The decoded images of each split; they are decoded now if there is no cache.

    Args:
        source: the images to decode.
        fingerprint: their hash, from `source.stat`.
        folder: the folder of caches; None: one beside the data, or else in the user's cache.

    Raises:
        DataError: an image is damaged, the disk is full, or no folder can be written to.
    """
    if folder is not None:
        places = [Path(os.path.abspath(os.path.expanduser(folder)))]
    else:
        places = [source.base.parent / FOLDER, user_cache()]
    for place in places:
        found = _Cache(source, fingerprint, place).opened()
        if found is not None:
            return found
    error: OSError | None = None
    for place in places:
        try:
            place.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=place).close()
        except OSError as reason:
            error = reason
            continue
        return _Cache(source, fingerprint, place).ensure()
    raise DataError(
        f"dataset.cache: cannot write to {places[-1]} ({error}), where decoded images would be "
        "kept. Set it to a writable folder, or decode at every start: dataset.cache=none"
    )


class _Cache:
    """The cache of one source below `folder`; all versions of it over time share `stem`.

    Caches of the same source that are decoded in different ways have different stems, because the
    earlier versions are removed where a new one is written.
    """

    def __init__(self, source: Source, fingerprint: str, folder: Path) -> None:
        self.source, self.fingerprint, self.folder = source, fingerprint, folder
        decoder = source.decoder
        where = f"{os.path.relpath(source.base, folder)} {decoder.crop}"
        if decoder.background != BACKGROUNDS["white"]:  # whose caches were always named without it
            where += f" {decoder.background}"
        size = "x".join(str(number) for number in decoder.shape)
        key = hashlib.sha256(os.fsencode(where)).hexdigest()[:8]
        self.stem = f"{source.base.name[:100]}-{size}-{key}"
        self.home = folder / f"{self.stem}-{fingerprint[:16]}"

    def files(self) -> dict[str, Path]:
        return {name: self.home / f"{name}.npy" for name in self.source.parts}

    def opened(self) -> dict[str, Kept] | None:
        """The images of all splits; None unless all files exist and have the expected size."""
        kept = dict[str, Kept]()
        for name, path in self.files().items():
            try:
                found = mapped(path)
            except (OSError, ValueError, EOFError):
                return None
            shape = (len(self.source.parts[name]), *self.source.decoder.shape)
            if found.dtype != torch.uint8 or tuple(found.shape) != shape:
                return None
            kept[name] = Kept(path, found)
        return kept

    def ensure(self) -> dict[str, Kept]:
        """The images; this process writes them, unless another one has.

        They are mapped while the lock is held: after it, another process, whose source differs,
        may remove the files.
        """
        with _locked(self.folder / f"{self.stem}.lock", self.stem):
            found = self.opened()
            if found is None:
                if self.home.exists():
                    log.warning("%s: is damaged; decoding anew", self.home)
                self._remove_outdated()
                self._write()
                found = self.opened()
        if found is None:
            raise DataError(
                f"{self.home}: cannot be read although it was just written; set dataset.cache to a "
                "folder on another disk"
            )
        return found

    def _remove_outdated(self) -> None:
        """Remove caches of earlier versions of the source, and those of killed processes."""
        for path in self.folder.glob(f"{glob.escape(self.stem)}-*"):
            shutil.rmtree(path, ignore_errors=True)

    def _write(self) -> None:
        """Decode into a temporary folder, and rename it."""
        need, free = self.source.decoded_bytes, shutil.disk_usage(self.folder).free
        if need > free:
            raise DataError(
                f"dataset.cache: the decoded images take {need / 2**30:.3g} GiB, and {self.folder} "
                f"has {free / 2**30:.3g} GiB left. Free disk space, or set dataset.cache to a "
                "folder on another disk"
            )
        partial = self.home.with_name(f"{self.home.name}.partial")
        try:
            partial.mkdir()
            self._decode(partial)
            if self.source.stat()[0] != self.fingerprint:
                raise DataError(
                    f"{self.source.base} was changed while its images were decoded; start again"
                )
            os.replace(partial, self.home)
        except OSError as error:
            raise DataError(
                f"cannot write {partial}: {error}; free disk space, or set dataset.cache to a "
                "folder on another disk"
            ) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _decode(self, folder: Path) -> None:
        """Decode all images into files in `folder`."""
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
        with decoding_progress(self.source.images) as advance:
            for count in decode_to_files(jobs, decoder):
                advance(count)
        for name in self.source.parts:
            with open(folder / f"{name}.npy", "rb") as written:
                os.fsync(written.fileno())
        log.info("decoded in %.1f s", time.monotonic() - started)


def mapped(path: Path) -> Tensor:
    """The array in the .npy file `path`, memory-mapped and read-only."""
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable", category=UserWarning)
        return torch.from_numpy(array)


@contextmanager
def _locked(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file `path` inside; the system releases the lock of a killed process.

    On file systems without locks none is taken.
    """
    lock = lock_file(path)
    try:
        taken = acquire(lock, blocking=False)
    except Timeout:
        log.info("waiting for another process, which decodes %s", what)
        taken = acquire(lock, blocking=True)
    if not taken:
        log.warning("%s does not support locks: start a single run first", path.parent)
    try:
        yield
    finally:
        lock.release()
