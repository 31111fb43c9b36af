"""The members of a tar file, read without trust in its headers."""

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from vae_run.errors import DataError

_META = re.compile(r"__[^/]*__($|/)")
_BLOCK, _PIECE = 512, 2**16


@dataclass(frozen=True)
class Shard:
    """A tar file.

    Attributes:
        name: its name in the configuration.
        path: its path.
        size: in bytes.
        beside: the shards before and after it in the configuration, as far as there are any.
    """

    name: str
    path: Path
    size: int
    beside: "tuple[Shard, ...]" = field(default=(), repr=False, compare=False)

    def error(self, what: str) -> DataError:
        """The error that describes a defect of this shard."""
        return DataError(f"{self.path}: {what}; write the shard again, or remove it")


def _must_end(file: IO[bytes]) -> None:
    """Check that the tar file ends here: tarfile stops at anything that is not a header."""
    if file.read(_BLOCK) != bytes(_BLOCK):
        raise tarfile.ReadError("it ends early, or the next header is damaged")
    while rest := file.read(_PIECE):
        if rest.count(0) != len(rest):
            raise tarfile.ReadError("there are data after the block of zeros that ends it")


def members(shard: Shard, contents: bool) -> Iterator[dict[str, Any]]:
    """The files in the tar file `shard` for `group_by_keys`; without data unless `contents`.

    Raises:
        DataError: it is not a tar file, or is truncated, or has links.
    """
    name = "its first member"
    try:
        with open(shard.path, "rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # this list would grow with the file
                name = member.name
                if member.isdir() or _META.match(name):
                    continue
                if not member.isreg() or member.issparse():
                    raise shard.error(
                        f"{name} in it is a link or a special file, expected a regular file"
                    )
                if member.offset_data + member.size > shard.size:  # before memory is allocated
                    raise tarfile.ReadError("unexpected end of data")
                data = b""
                if contents:  # like `extractfile`, with fewer objects
                    file.seek(member.offset_data)
                    data = file.read(member.size)
                if contents and len(data) < member.size:
                    raise tarfile.ReadError("unexpected end of data")
                yield {"fname": name, "data": data, "__url__": shard.name}
            file.seek(tar.offset)
            _must_end(file)
    except DataError:
        raise
    except Exception as error:  # a damaged file, or its storage
        raise shard.error(
            f"cannot be read as an uncompressed tar file, at or after {name}: {error}"
        ) from error
