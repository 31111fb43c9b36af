"""The image files of a dataset, and what tells one state of them from another."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vae_run.data.images.decoder import Decoder
from vae_run.errors import DataError


@dataclass(frozen=True)
class Source:
    """Image files and how they are decoded.

    Attributes:
        base: the folder of the dataset.
        parts: the files of each split.
        decoder: decodes a file to pixels.
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

    def stat(self) -> tuple[str, int]:
        """A hash of the names, sizes and modification times of all files, and their size in bytes.

        Raises:
            DataError: a file does not exist.
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
                entry = (os.path.relpath(path, self.base), found.st_size, found.st_mtime_ns)
                digest.update(repr(entry).encode())
                total += found.st_size
        return digest.hexdigest(), total
