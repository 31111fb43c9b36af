"""The user's own images, read as the dataset of a run reads its own, and piece by piece.

Letters: N images, E event shape.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from glob import glob, has_magic
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vae_run.data.dataset import Dataset
from vae_run.data.image_attributes import told
from vae_run.data.images.decode_pool import decode_images
from vae_run.data.images.decoder import Decoder
from vae_run.data.images.folder import ENDINGS, files_below, unread_note
from vae_run.data.split_names import SPLITS
from vae_run.data.splits import Split
from vae_run.data.user_arrays import ARRAYS, read_array_file
from vae_run.data.user_pictures import classes_of, decoder_of, white_of_pictures
from vae_run.data.white import BYTE
from vae_run.errors import DataError

log = logging.getLogger(__name__)

OWN = tuple(SPLITS)
"""The words for the run's own splits."""


@dataclass(frozen=True)
class UserImages:
    """N images, of which `split` reads any piece.

    Attributes:
        source: what they were read from, in messages.
        size: N.
        read: the images from one index up to another, without labels.
        levels: as of `Split`: 256 for bytes, 2 for bool, None for floats.
        extent: least and greatest pixel value.
        names: str [N], the file of each image, or what the archive calls it; or None.
        classes: str [N], the name of each image's class; or None.
        labels: int64 [N], the number of each image's class; or None.
        given: {condition: its values [N], or, as a tensor, its entries float32 [N, width]} as far
            as the source tells them.
        conditions: float32 [N, P], what a model with several conditions is given; or None.
        index: int64 [N], the place of each image in its source, or in the split it belongs to.
        part: `train`, `val` or `test` for the run's own images, else None.
    """

    source: str
    size: int
    read: Callable[[int, int], Split]
    levels: int | None = 256
    extent: tuple[float, float] = (0.0, 1.0)
    names: NDArray[np.str_] | None = None
    classes: NDArray[np.str_] | None = None
    labels: Tensor | None = None
    index: Tensor | None = None
    part: str | None = None
    given: Mapping[str, NDArray[Any] | Tensor] = field(default_factory=dict)
    conditions: Tensor | None = None

    def __len__(self) -> int:
        return self.size

    def split(self, start: int, stop: int) -> Split:
        """The images `start` to `stop` with their labels, on the CPU.

        Raises:
            DataError: a file cannot be decoded.
        """
        labels = None if self.labels is None else self.labels[start:stop]
        conditions = None if self.conditions is None else self.conditions[start:stop]
        return replace(self.read(start, stop), labels=labels, conditions=conditions)

    @classmethod
    def of_split(cls, split: Split, source: str, part: str | None = None) -> "UserImages":
        """The images of a split that has been read already."""
        return cls(
            source,
            len(split),
            lambda start, stop: split.take(torch.arange(start, stop)),
            split.levels,
            split.extent,
            split.names,
            None,
            split.labels,
            torch.arange(len(split)) if split.index is None else split.index,
            part,
        )


def read_input(
    words: str | Sequence[str],
    dataset: Dataset,
    event_shape: Sequence[int],
    class_names: Sequence[str] = (),
    conditions: Mapping[str, Sequence[str]] = MappingProxyType({}),
    known: Collection[str] = (),
    white: int = BYTE,
    exact: bool = False,
) -> UserImages:
    """The images in the files that `words` name, as `dataset` reads its own.

    Args:
        words: a picture, an array file, a folder of pictures, or a pattern of them; or a list.
        dataset: of the run; it decodes pictures, if it is one of image files.
        event_shape: E of the run's images.
        class_names: what the run calls the label i, at index i.
        conditions: {array or attribute that is read if there is one: the run's classes, if any}.
        known: those of `conditions` that pictures need not have.
        white: the stored value of whole-numbered pixels that meant 1.0 in training.
        exact: whether the run's values were scaled in float64 (`Scaling.exact`).

    Raises:
        DataError: a file is missing, unreadable, or holds no images of shape E.
    """
    given = [words] if isinstance(words, str) else list(words)
    found = [path for word in given for path in _expanded(word)]
    source = ", ".join(given[:3]) + (", ..." if len(given) > 3 else "")
    if arrays := [path for path in found if path.suffix.lower() in ARRAYS]:
        _refuse_several(source, found, arrays[0])
        images = _of_array_file(arrays[0], dataset, event_shape, conditions, white, exact)
        return _labelled(images, class_names)
    base = found[0] if len(found) == 1 and found[0].is_dir() else None
    paths = [file for path in found for file in _pictures(path)]
    images = _of_pictures(source, paths, base, decoder_of(dataset, event_shape), white)
    wanted = {name: own for name, own in conditions.items() if name not in known}
    beside = told(dataset, paths, base, wanted)
    images = replace(images, classes=classes_of(paths, base, class_names), given=beside)
    return _labelled(images, class_names)


def _of_pictures(
    source: str, paths: Sequence[Path], base: Path | None, decoder: Decoder, white: int
) -> UserImages:
    """The pictures `paths`, called as below `base`, for a run whose own white is `white`."""
    level, decoded = white_of_pictures(source, paths, decoder, white)

    def read(start: int, stop: int) -> Split:
        images = (
            decode_images(paths[start:stop], decoder) if decoded is None else decoded[start:stop]
        )
        return Split(images, scale=float(level))

    return UserImages(
        source,
        len(paths),
        read,
        level + 1,
        names=np.array([str(p if base is None else p.relative_to(base).as_posix()) for p in paths]),
        index=torch.arange(len(paths)),
    )


def _refuse_several(told: str, found: Sequence[Path], array: Path) -> None:
    if len(found) > 1:
        raise DataError(
            f"input: {told} names {len(found)} files, one of them {array}. Give one array file "
            "alone, or pictures."
        )


def _of_array_file(
    path: Path,
    dataset: Dataset,
    event_shape: Sequence[int],
    conditions: Collection[str],
    white: int,
    exact: bool,
) -> UserImages:
    """The images of an array file, which is read whole."""
    known = ("layout", "background", "channels_last")
    reading = {key: getattr(dataset, key) for key in known if hasattr(dataset, key)}
    found = read_array_file(path, event_shape, tuple(conditions), white, exact=exact, **reading)
    images = UserImages.of_split(found.split, str(path))
    return replace(images, names=found.names, classes=found.classes, given=found.given)


def label_of(name: str, class_names: Sequence[str]) -> int | None:
    """The label of the class `name`; where classes have no names, a number names itself."""
    if name in class_names:
        return list(class_names).index(name)
    return int(name) if not class_names and name.isdecimal() and len(name) < 19 else None


def _labelled(images: UserImages, class_names: Sequence[str]) -> UserImages:
    """`images` with the labels of the run that their classes have, if it knows all of them."""
    if images.classes is None or images.labels is not None:
        return images
    number = {name: label_of(name, class_names) for name in np.unique(images.classes).tolist()}
    if None in number.values():
        return images
    return replace(images, labels=torch.tensor([number[name] for name in images.classes.tolist()]))


def _expanded(word: str) -> list[Path]:
    """What a word names: a file, a folder, or those that match it as a pattern, sorted."""
    path = Path(word).expanduser()
    if path.exists():
        return [path]
    names = ",".join(f'"{name.strip()}"' for name in word.split(","))
    hint = f" Several files are a list: 'input=[{names}]'." if "," in word else ""
    if not has_magic(word):
        raise DataError(f"input: there is no file {path}.{hint}")
    known = (*ENDINGS, *ARRAYS)
    found = [Path(name) for name in sorted(glob(str(path), recursive=True))]
    found = [each for each in found if each.is_dir() or each.suffix.lower() in known]
    if not found:
        raise DataError(f"input: no file matches {path} and ends in {' '.join(known)}.{hint}")
    return found


def _pictures(path: Path) -> list[Path]:
    """The picture `path`, or all pictures below the folder `path`."""
    if path.is_dir():
        files, others = files_below(path, "input")
        for note in unread_note(path, [others]):
            log.info("%s", note)
        return files
    if path.suffix.lower() not in ENDINGS:
        raise DataError(
            f"input: {path} ends neither as a picture ({' '.join(ENDINGS)}) nor as an "
            f"array file ({' '.join(ARRAYS)}); convert or rename it."
        )
    return [path]
