"""Any map-style torch dataset, or tensors, made by a function of the user's.

Letters: N items.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from vae_run.data.array_images import plain_array, stored_images
from vae_run.data.checks import refuse_more_than_memory
from vae_run.data.class_labels import one_numbering
from vae_run.data.dataset import Parts, TestSize
from vae_run.data.scaled_dataset import Scalable, of_one_type
from vae_run.data.splits import Split
from vae_run.data.white import BYTE, White, of_white
from vae_run.errors import DataError

if TYPE_CHECKING:
    from vae_run.config.schema import Settings

_SPLITS = ("train", "val", "test")
_EXPECTED = (
    "a map-style torch Dataset, a tensor or array [N, ...], (images, labels), or the splits in a "
    "dict with train and, optionally, val and test"
)


@dataclass(frozen=True, kw_only=True)
class TorchDataset(Scalable):
    """What a function of the user's returns, read into memory once.

    It returns a map-style `torch.utils.data.Dataset`, a tensor or array of images, a pair (images,
    labels), or a dict of the splits `train`, `val` and `test`, each of them one of these. Items of
    a dataset are images, or tuples (image, label, ...); images are tensors, arrays or PIL images
    of one size. Since each is read once, random transforms are not drawn anew in every epoch.

    Attributes:
        factory: the function, as package.module.function.
        arguments: its keyword arguments.
        test_size: size of the test set, if there is no split `test`: a share in (0, 1) or a number
            of images.
        white: the stored value of whole-numbered pixels that means 1.0 (`white.of_white`).
    """

    factory: str
    arguments: dict[str, Any] = field(default_factory=dict)
    white: White = BYTE
    test_size: TestSize = 0.2

    def __str__(self) -> str:
        return f"dataset.factory={self.factory}"

    @classmethod
    def conflicts(cls, settings: "Settings", options: Mapping[str, Any]) -> Iterator[str]:
        """A factory that is no dotted path, or that a foreign run names and nobody trusts.

        vae-run itself has to be trusted too: the function is called with any arguments.
        """
        yield from super().conflicts(settings, options)
        factory = str(options["factory"])
        package = factory.split(".")[0]
        if not re.fullmatch(r"\w+(\.\w+)+", factory):
            yield f"dataset.factory: found {factory!r}, expected package.module.function."
        elif settings.trust is not None and package not in settings.trust:
            yield (
                f"dataset.factory: the run names {factory}, a function that would be called. If "
                f"you trust it, say 'trust=[{package}]'."
            )

    def read(self) -> Parts:
        """uint8 or floats [N, *E], with labels if the items have whole numbers as labels."""
        module, _, name = self.factory.rpartition(".")
        try:
            function = getattr(import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise DataError(
                f"{self} cannot be imported ({error}); is its folder on PYTHONPATH?"
            ) from error
        if not callable(function):
            raise DataError(f"{self} is {type(function).__name__}; expected a function")
        try:
            made = function(**self.arguments)
        except Exception as error:  # of the user's function
            raise DataError(
                f"{self} failed with dataset.arguments={self.arguments}: "
                f"{type(error).__name__}: {error}"
            ) from error
        given = made if isinstance(made, Mapping) else {"train": made}
        unknown = [str(key) for key in given if key not in _SPLITS]
        if unknown or given.get("train") is None:
            raise DataError(f"{self} returned a dict of {list(given)}; expected {_EXPECTED}")
        splits = {
            key: self._split(key, given[key]) for key in _SPLITS if given.get(key) is not None
        }
        splits = of_one_type(splits)
        names = {key: class_names(given[key]) for key in splits}
        held = {key: own.labels.numpy() for key, own in splits.items() if own.labels is not None}
        known, numbers = one_numbering(names, held)
        splits |= {
            key: replace(splits[key], labels=torch.from_numpy(own)) for key, own in numbers.items()
        }
        parts = Parts.of(
            splits,
            class_names=known,
            test_size=self.test_size,
            notes=_left_out(given["train"], splits["train"]),
            scale=self.scale,
        )
        return of_white(str(self), parts, self.white)

    def _split(self, key: str, source: Any) -> Split:
        where, exact = f"{self}: {key}", self.scale != "none"
        if isinstance(source, torch.Tensor | np.ndarray):
            images, scale = _stored(where, source, exact)
            return Split(images, None, scale)
        if isinstance(source, tuple | list) and len(source) == 2 and _is_array(source[0]):
            images, scale = _stored(where, source[0], exact)
            return Split(images, _labels(where, source[1], len(images)), scale)
        sized = hasattr(source, "__getitem__") and hasattr(source, "__len__")
        if isinstance(source, tuple | list | str | bytes) or not sized:
            raise DataError(f"{where} is {type(source).__name__}; expected {_EXPECTED}")
        return _items(where, source, exact)


def class_names(source: Any) -> tuple[str, ...] | None:
    """The names of its classes that a map-style dataset has, or that of which it is a subset."""
    names = getattr(source, "classes", getattr(getattr(source, "dataset", None), "classes", None))
    known = isinstance(names, Sequence) and all(isinstance(name, str) for name in names)
    return tuple(names) if known and names and not isinstance(names, str) else None


def _left_out(source: Any, split: Split) -> tuple[str, ...]:
    """A note if the items of a dataset have more than an image, but no label was read."""
    if split.labels is not None or _is_array(source):
        return ()
    first = source[0]
    if not isinstance(first, tuple | list) or len(first) < 2:
        return ()
    kind = type(first[1]).__name__
    return (f"What stands beside the images ({kind}) is no whole number, and is left out.",)


def _is_array(value: Any) -> bool:
    return isinstance(value, torch.Tensor | np.ndarray)


def _stored(where: str, array: Any, exact: bool) -> tuple[torch.Tensor, float]:
    return stored_images(where, plain_array(where, array), exact=exact)


def _labels(where: str, labels: Any, count: int) -> torch.Tensor:
    found = plain_array(f"{where}: the labels", labels)
    if found.dtype.kind not in "biu" or found.shape not in ((count,), (count, 1)):
        raise DataError(
            f"{where}: its labels are {found.dtype} {found.shape}; expected {count} whole numbers"
        )
    return torch.from_numpy(found.reshape(-1).astype(np.int64))


def _items(where: str, source: Any, exact: bool) -> Split:
    """All items of a map-style dataset."""
    images, labels = read_items(where, source)
    stored, scale = stored_images(where, images, exact=exact)
    return Split(stored, None if labels is None else torch.from_numpy(labels), scale)


def read_items(where: str, source: Any) -> tuple[NDArray[Any], NDArray[np.int64] | None]:
    """All items of a map-style dataset, one by one: images [N, ...], and labels [N] or None.

    Args:
        where: its name in messages.
        source: the dataset; its items are images, or tuples of an image, a label and more.

    Raises:
        DataError: an item cannot be read, or has another type or shape than the first.
    """
    count, images, labels = len(source), np.empty(0), list[int]()
    if not count:
        raise DataError(f"{where} has no items")
    for place in range(count):
        try:
            item = source[place]
        except Exception as error:  # of the user's dataset
            raise DataError(f"{where}[{place}] failed: {type(error).__name__}: {error}") from error
        image, label = _image_and_label(f"{where}[{place}]", item)
        if not place:
            refuse_more_than_memory(count * image.nbytes, where)
            images = np.empty((count, *image.shape), image.dtype)
        if image.shape != images.shape[1:] or image.dtype != images.dtype:
            raise DataError(
                f"{where}[{place}] is {image.dtype} {image.shape}, but [0] is {images.dtype} "
                f"{images.shape[1:]}; bring all images to one size, for instance in a transform"
            )
        images[place] = image
        if label is not None:
            labels.append(label)
    if labels and len(labels) != count:
        raise DataError(f"{where}: only {len(labels)} of its {count} items have a label")
    return images, np.array(labels, np.int64) if labels else None


def _image_and_label(where: str, item: Any) -> tuple[Any, int | None]:
    """The array of an item, and its label if that is a whole number."""
    image, label = (item[0], item[1]) if isinstance(item, tuple | list) and len(item) > 1 else (
        item, None
    )  # fmt: skip
    if isinstance(image, tuple | list) and len(image) == 1:
        image = image[0]
    if isinstance(image, torch.Tensor | np.ndarray):
        image = plain_array(where, image)
    elif hasattr(image, "convert") and hasattr(image, "mode"):  # a PIL image
        image = _of_picture(where, image)
    if not isinstance(image, np.ndarray):
        raise DataError(f"{where} is {type(image).__name__}; expected a tensor or a PIL image")
    if (
        isinstance(label, torch.Tensor | np.ndarray | np.generic)
        and np.size(np.asarray(label)) == 1
    ):
        label = label.item()
    return image, int(label) if isinstance(label, int) else None


def _of_picture(where: str, image: Any) -> NDArray[np.uint8]:
    """The pixels of a PIL image, which may be a file that is not read yet."""
    if image.mode.startswith(("I", "F")):
        raise DataError(
            f"{where} has more than 8 bits per channel (mode {image.mode}): convert it to 8"
        )
    try:
        return np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))
    except Exception as error:  # a damaged file can end in any of them
        raise DataError(f"cannot read the image {where}: {error}; replace or remove it") from error
