"""WebDataset shards: tar files in which consecutive members with the same stem are a sample.

The package webdataset groups the members. It does not open the files: it would run names such as
`pipe:COMMAND` as a command, and silently end a shard at a damaged header.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from vae_run.data.checks import regular
from vae_run.data.webdataset.sample_names import ENDINGS, at_first_dot, at_last_dot, cut_at_last_dot
from vae_run.data.webdataset.tar_file import Shard, members
from vae_run.errors import ConfigError, DataError

LABEL = "cls"
"""File name ending of the label of a sample, an integer as text."""
MOST_SHARDS = 1_000_000

_RANGE = re.compile(r"\{(-?\d+)\.\.(-?\d+)")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


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
    return [
        replace(one, beside=(*found[max(0, place - 1) : place], *found[place + 1 : place + 2]))
        for place, one in enumerate(found)
    ]


def samples(shard: Shard) -> Iterator[Sample]:
    """All samples of `shard`, in order.

    Raises:
        DataError: the shard is damaged, or a sample has no image, several images, or an invalid
            label.
    """
    for group in _groups(shard, contents=True):
        key = group["__key__"]
        (image,) = _images(group)
        yield Sample(shard, key, group[image], _label(shard, key, group.get(LABEL)))


def count(shard: Shard) -> int:
    """The number of `samples` in `shard`; only the tar headers are read.

    Raises:
        DataError: it is damaged or has no sample, or a sample has no image, or several.
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
    before: Sample | None = None
    for sample in found:
        own = sample.label is not None
        if own != (own if labelled is None else labelled):
            for one in (sample, before or sample):
                _refuse_cut(one.shard, one.key)
            raise sample.shard.error(
                f"sample {sample.key} has {'a' if own else 'no'} label (.{LABEL}), and those "
                f"before it have {'none' if own else 'one'}"
            )
        labelled, before = own, sample
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
    return cut_at_last_dot(member["fname"] for member in members(shard, contents=False))


def _images(group: Iterable[str]) -> list[str]:
    """The endings of the images of a sample."""
    return [ending for ending in ENDINGS if ending in group]


def _groups(shard: Shard, *, contents: bool) -> Iterator[dict[str, Any]]:
    """The members of each sample by their endings, and its `__key__`; each has one image."""
    found = 0
    for group, dot in _consecutive(shard, contents=contents):
        found += 1
        if len(images := _images(group)) != 1:
            key = group["__key__"]
            _refuse_cut(shard, key)
            held = ", ".join(name for name in group if not name.startswith("__")) or "nothing"
            raise shard.error(
                f"sample {key} has {len(images) or 'no'} images, expected one member that ends in "
                f"{', '.join(ENDINGS)}, next to its other members (found: {held[:200]}). The "
                f"members of a sample have the same name up to their {dot} dot"
            )
        yield group
    if not found:
        raise shard.error("holds no sample")


def _consecutive(shard: Shard, *, contents: bool) -> Iterator[tuple[dict[str, Any], str]]:
    """Consecutive members with the same key, and which dot of their names ends it."""
    from webdataset.tariterators import group_by_keys

    held = members(shard, contents)
    first: list[dict[str, Any]] = []

    def names() -> Iterator[str]:
        for member in held:
            first.append(member)
            yield member["fname"]

    last = cut_at_last_dot(names())
    try:
        keys = at_last_dot if last else at_first_dot
        for group in group_by_keys(chain(first, held), keys=keys):
            yield group, "last" if last else "first"
    except ValueError as error:  # from webdataset: two members have the same name
        raise shard.error(f"cannot be read: {error.args[0]}") from error


def _refuse_cut(shard: Shard, key: str) -> None:
    """Refuse the sample `key` if a shard beside `shard` holds members of it as well.

    Raises:
        DataError: the end of a shard cuts the sample.
    """
    first, last = _ends(shard)
    for other in shard.beside:
        others_first, others_last = _ends(other)
        if key == first == others_last or key == last == others_first:
            raise DataError(
                f"{shard.path}: members of the sample {key} are in {other.path} as well; write the "
                "shards again, with all members of a sample in one of them"
            )


def _ends(shard: Shard) -> tuple[str, str]:
    """The keys of the first and the last sample."""
    keys = [group["__key__"] for group, _ in _consecutive(shard, contents=False)]
    return (keys[0], keys[-1]) if keys else ("", "")
