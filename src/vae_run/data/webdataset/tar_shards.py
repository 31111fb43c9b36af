"""WebDataset shards: tar files in which neighbouring members of one name make a sample.

webdataset says which members belong together. Files are opened here: it would take names such as
`pipe:COMMAND` for a command, and end a shard without a word where a header in it is damaged.
"""

import re
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple

from vae_run.data.checks import regular
from vae_run.errors import ConfigError, DataError

ENDINGS = ("jpg", "jpeg", "png", "webp", "ppm")
"""Of the member that is a sample's image, in any case of letters."""
LABEL = "cls"
"""The ending of the member that is its label, a whole number as text."""
MOST_SHARDS = 1_000_000

_RANGE = re.compile(r"\{(-?\d+)\.\.(-?\d+)")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_META = re.compile(r"__[^/]*__($|/)")
_BLOCK, _PIECE = 512, 2**16


@dataclass(frozen=True)
class Shard:
    """A tar file.

    Attributes:
        name: as the configuration has it.
        path: where it is.
        size: its bytes.
    """

    name: str
    path: Path
    size: int

    def wrong(self, what: str) -> DataError:
        """The error that something is wrong with it."""
        return DataError(f"{self.path}: {what}; write the shard anew, or leave it out")


class Sample(NamedTuple):
    """One image, as it lies in a shard.

    Attributes:
        shard: where it was read.
        key: the name of its members, without endings.
        image: the bytes of the image file.
        label: a whole number, or None.
    """

    shard: Shard
    key: str
    image: bytes
    label: int | None


def expanded(patterns: str | Sequence[str], key: str) -> list[str]:
    """The names that `patterns`, in the notation a{0..9}b{c,d}, stand for.

    Args:
        patterns: one or several.
        key: how messages call them, such as `dataset.train`.

    Raises:
        ConfigError: a pattern cannot be read, or a name is none of a file.
    """
    from braceexpand import braceexpand

    found: list[str] = []
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        try:
            if any(abs(int(b) - int(a)) >= MOST_SHARDS for a, b in _RANGE.findall(pattern)):
                raise ValueError(f"it stands for more than {MOST_SHARDS:,} names")
            found += islice(braceexpand(pattern), MOST_SHARDS + 1)
        except ValueError as error:
            raise ConfigError(
                f"{key}: found {pattern!r}, which cannot be read: {error}. Expected the name of a "
                "tar file, or names in braces such as train-{0000..0099}.tar"
            ) from error
    if len(found) > MOST_SHARDS:
        raise ConfigError(
            f"{key}: found more than {MOST_SHARDS:,} names. Write fewer, larger shards."
        )
    for name in found:
        if _ADDRESS.match(name):
            raise ConfigError(
                f"{key}: found {name!r}, expected the name of a tar file. Commands and addresses "
                "(pipe:, http: and the like) are never opened: mount remote storage, and name "
                "the files there."
            )
    return found


def shards(names: Iterable[str], folder: Path, key: str) -> list[Shard]:
    """The files `names`, which are relative to `folder`.

    Raises:
        DataError: one is not there, or is no file.
    """
    found = []
    for name in names:
        path = regular(folder / Path(name).expanduser(), f"{key}: {folder / name}")
        found.append(Shard(name, path, path.stat().st_size))
    return found


def samples(shard: Shard) -> Iterator[Sample]:
    """All samples of `shard`, in its order; none is left out.

    Raises:
        DataError: the shard is damaged, or a sample has no image, several, or a wrong label.
    """
    for group in _groups(shard, contents=True):
        key = group["__key__"]
        images = [ending for ending in ENDINGS if ending in group]
        if len(images) != 1:
            held = ", ".join(name for name in group if not name.startswith("__")) or "nothing"
            raise shard.wrong(
                f"sample {key} has {len(images) or 'no'} images, expected one member that ends in "
                f"{', '.join(ENDINGS)}, beside its others in the file (found: {held})"
            )
        yield Sample(shard, key, group[images[0]], _label(shard, key, group.get(LABEL)))


def count(shard: Shard) -> int:
    """How many samples `shard` holds, by the headers in it alone.

    Raises:
        DataError: it is damaged, or holds none.
    """
    return sum(1 for _ in _groups(shard, contents=False))


def alike(found: Iterable[Sample], labelled: bool | None = None) -> Iterator[Sample]:
    """The samples `found`, all of which have labels or none has.

    Args:
        found: as read.
        labelled: which of both; None: as the first of them.

    Raises:
        DataError: one is of the other kind.
    """
    for sample in found:
        own = sample.label is not None
        if own != (own if labelled is None else labelled):
            raise sample.shard.wrong(
                f"sample {sample.key} has {'a' if own else 'no'} label (.{LABEL}), and those "
                f"before it have {'none' if own else 'one'}"
            )
        labelled = own
        yield sample


def _label(shard: Shard, key: str, text: bytes | None) -> int | None:
    if text is None:
        return None
    try:
        label = int(text)
    except ValueError:
        label = -1
    if not 0 <= label < 2**63:
        raise shard.wrong(
            f"sample {key} has the label {text[:40]!r}, expected a whole number from 0"
        )
    return label


def _groups(shard: Shard, *, contents: bool) -> Iterator[dict[str, Any]]:
    """The members of each sample by their endings, with its `__key__`."""
    from webdataset.tariterators import group_by_keys

    found = 0
    try:
        for group in group_by_keys(_members(shard, contents)):
            found += 1
            yield group
    except ValueError as error:  # of webdataset: two members of one name
        raise shard.wrong(f"cannot be read: {error.args[0]}") from error
    if not found:
        raise shard.wrong("holds no sample")


def _must_end(file: IO[bytes]) -> None:
    """Refuse to take for its end what is none: tarfile stops at whatever is no header."""
    if file.read(_BLOCK) != bytes(_BLOCK):
        raise tarfile.ReadError("it ends early, or the next header is damaged")
    while rest := file.read(_PIECE):
        if rest.count(0) != len(rest):
            raise tarfile.ReadError("something lies behind a block of zeros, which is its end")


def _members(shard: Shard, contents: bool) -> Iterator[dict[str, Any]]:
    """The files in the tar file `shard`, as `group_by_keys` takes them; empty without `contents`.

    Raises:
        DataError: it is no tar file, or ends before its end, or holds links.
    """
    name = "its first member"
    try:
        with open(shard.path, "rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # it would grow with the file
                name = member.name
                if member.isdir() or _META.match(name):
                    continue
                if not member.isreg() or member.issparse():
                    raise shard.wrong(f"{name} in it is a link or the like, expected a plain file")
                if member.offset_data + member.size > shard.size:  # before memory is set aside
                    raise tarfile.ReadError("unexpected end of data")
                data = b""
                if contents:  # as `extractfile` does, by way of more objects
                    file.seek(member.offset_data)
                    data = file.read(member.size)
                if contents and len(data) < member.size:
                    raise tarfile.ReadError("unexpected end of data")
                yield {"fname": name, "data": data, "__url__": shard.name}
            file.seek(tar.offset)
            _must_end(file)
    except DataError:
        raise
    except Exception as error:  # of a damaged file, or of what holds it
        raise shard.wrong(
            f"cannot be read as an uncompressed tar file, at or after {name}: {error}"
        ) from error
