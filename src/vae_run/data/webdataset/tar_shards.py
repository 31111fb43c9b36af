"""WebDataset shards: tar files in which consecutive members with the same stem are a sample.

The package webdataset groups the members. It does not open the files: it would run names such as
`pipe:COMMAND` as a command, and silently end a shard at a damaged header.
"""

import re
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, NamedTuple

from vae_run.data.checks import regular
from vae_run.data.webdataset.sample_names import ENDINGS, at_first_dot, at_last_dot, cut_at_last_dot
from vae_run.errors import ConfigError, DataError

LABEL = "cls"
"""File name ending of the label of a sample, an integer as text."""
MOST_SHARDS = 1_000_000

_RANGE = re.compile(r"\{(-?\d+)\.\.(-?\d+)")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_META = re.compile(r"__[^/]*__($|/)")
_BLOCK, _PIECE = 512, 2**16


@dataclass(frozen=True)
class Shard:
    """A tar file.

    Attributes:
        name: its name in the configuration.
        path: its path.
        size: in bytes.
    """

    name: str
    path: Path
    size: int

    def error(self, what: str) -> DataError:
        """The error that describes a defect of this shard."""
        return DataError(f"{self.path}: {what}; write the shard again, or remove it")


class Sample(NamedTuple):
    """One image in a shard.

    Attributes:
        shard: the shard that it was read from.
        key: the stem of the names of its members.
        image: the bytes of the image file.
        label: an integer, or None.
    """

    shard: Shard
    key: str
    image: bytes
    label: int | None


def expanded(patterns: str | Sequence[str], key: str) -> list[str]:
    """The names that `patterns` in brace notation, a{0..9}b{c,d}, expand to.

    Args:
        patterns: one or several.
        key: their configuration key, such as `dataset.train`, for messages.

    Raises:
        ConfigError: a pattern is invalid, or a name is not that of a file.
    """
    from braceexpand import braceexpand

    found: list[str] = []
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        try:
            if any(abs(int(b) - int(a)) >= MOST_SHARDS for a, b in _RANGE.findall(pattern)):
                raise ValueError(f"it expands to more than {MOST_SHARDS:,} names")
            found += islice(braceexpand(pattern), MOST_SHARDS + 1)
        except ValueError as error:
            raise ConfigError(
                f"{key}: found {pattern!r}, which is invalid: {error}. Expected the name of a "
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
        DataError: one does not exist, or is not a regular file.
    """
    found = []
    for name in names:
        path = regular(folder / Path(name).expanduser(), f"{key}: {folder / name}")
        found.append(Shard(name, path, path.stat().st_size))
    return found


def samples(shard: Shard) -> Iterator[Sample]:
    """All samples of `shard`, in order.

    Raises:
        DataError: the shard is damaged, or a sample has no image, several images, or an invalid
            label.
    """
    for group in _groups(shard, contents=True):
        key = group["__key__"]
        images = [ending for ending in ENDINGS if ending in group]
        if len(images) != 1:
            held = ", ".join(name for name in group if not name.startswith("__")) or "nothing"
            raise shard.error(
                f"sample {key} has {len(images) or 'no'} images, expected one member that ends in "
                f"{', '.join(ENDINGS)}, next to its other members (found: {held[:200]}). The "
                "members of a sample have the same name up to their first dot"
            )
        yield Sample(shard, key, group[images[0]], _label(shard, key, group.get(LABEL)))


def count(shard: Shard) -> int:
    """The number of samples in `shard`; only the tar headers are read.

    Raises:
        DataError: it is damaged, or has no sample.
    """
    return sum(1 for _ in _groups(shard, contents=False))


def alike(found: Iterable[Sample], labelled: bool | None = None) -> Iterator[Sample]:
    """The samples `found`, checked to be either all labelled or all unlabelled.

    Args:
        found: the samples.
        labelled: whether they have labels; None: as the first sample.

    Raises:
        DataError: a sample has a label and others have none, or the reverse.
    """
    for sample in found:
        own = sample.label is not None
        if own != (own if labelled is None else labelled):
            raise sample.shard.error(
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
        raise shard.error(f"sample {key} has the label {text[:40]!r}, expected an integer from 0")
    return label


def has_dots_in_names(shard: Shard) -> bool:
    """Whether dots are part of the names of the samples of `shard` (`cut_at_last_dot`)."""
    return cut_at_last_dot(member["fname"] for member in _members(shard, contents=False))


def _groups(shard: Shard, *, contents: bool) -> Iterator[dict[str, Any]]:
    """The members of each sample by their endings, and its `__key__`."""
    from webdataset.tariterators import group_by_keys

    found, members = 0, _members(shard, contents)
    first: list[dict[str, Any]] = []

    def names() -> Iterator[str]:
        for member in members:
            first.append(member)
            yield member["fname"]

    keys = at_last_dot if cut_at_last_dot(names()) else at_first_dot
    try:
        for group in group_by_keys(chain(first, members), keys=keys):
            found += 1
            yield group
    except ValueError as error:  # from webdataset: two members have the same name
        raise shard.error(f"cannot be read: {error.args[0]}") from error
    if not found:
        raise shard.error("holds no sample")


def _must_end(file: IO[bytes]) -> None:
    """Check that the tar file ends here: tarfile stops at anything that is not a header."""
    if file.read(_BLOCK) != bytes(_BLOCK):
        raise tarfile.ReadError("it ends early, or the next header is damaged")
    while rest := file.read(_PIECE):
        if rest.count(0) != len(rest):
            raise tarfile.ReadError("there are data after the block of zeros that ends it")


def _members(shard: Shard, contents: bool) -> Iterator[dict[str, Any]]:
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
