"""Names of the members of a shard: where the name of their sample ends."""

from collections.abc import Iterable
from itertools import islice

ENDINGS = ("jpg", "jpeg", "png", "webp", "ppm")
"""File name endings of the image of a sample, in lower or upper case."""
_MOST = 100
"""Members of a first sample that are looked at."""


def cut_at_last_dot(names: Iterable[str]) -> bool:
    """Whether the members `names` of a shard end at their last dot, by those of its first sample.

    WebDataset cuts names at their first dot: `a.b.png` is the member `b.png` of the sample `a`. If
    no member is an image that way, but one is by its last ending, dots are part of the names.
    """
    dotted, stem = False, None
    for name in islice(names, _MOST):
        key, ending = at_first_dot(name)
        if key is None:
            continue
        stem = key if stem is None else stem
        if key != stem:
            break
        if ending.lower() in ENDINGS:
            return False
        dotted = dotted or ending.rpartition(".")[2].lower() in ENDINGS
    return dotted


def at_first_dot(name: str) -> tuple[str | None, str]:
    """WebDataset's own key of the sample, and ending; (None, "") for a name without a dot."""
    from webdataset.tariterators import base_plus_ext

    key, ending = base_plus_ext(name)
    return key, ending or ""


def at_last_dot(name: str) -> tuple[str | None, str]:
    """The same, where dots are part of the key."""
    stem, _, ending = name.rpartition(".")
    inside = stem and not stem.endswith("/") and "/" not in ending
    return (stem, ending) if inside else (None, "")
