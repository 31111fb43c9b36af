"""The base class of all datasets: its splits are read, filtered by class, cut and binarized.

Letters: N images of a split, M chosen ones.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, final

import torch
from pydantic import Field

from vae_run.data.binarize import binarized, refuse_not_grey
from vae_run.data.class_labels import of_classes
from vae_run.data.columns import Columns
from vae_run.data.conditions import LABEL, with_labels
from vae_run.data.cuts import images_in
from vae_run.data.given import called
from vae_run.data.left_out import left_out
from vae_run.data.scaled_splits import scaled_by_train
from vae_run.data.scaling import Kind
from vae_run.data.split_checks import refuse_inconsistent
from vae_run.data.splits import Split, Splits
from vae_run.data.stable_cuts import cut
from vae_run.data.webdataset.stream import Stream
from vae_run.errors import DataError
from vae_run.system.nouns import noun_of

if TYPE_CHECKING:
    from vae_run.config.schema import Settings

# This package does not use `from __future__ import annotations`: arguments are checked against the
# annotations of constructors, and annotations inherited from another module must be objects.
Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1, strict=True)]
TestSize = Annotated[float, Field(gt=0, lt=1)] | Count
BUILDING = ("train", "check")
"""Tasks that build a model for the data; others have the model of a run."""
ImageSide = Annotated[int, Field(ge=1, strict=True)]
ImageSize = ImageSide | Annotated[list[ImageSide], Field(min_length=2, max_length=2)]
"""Height and width in pixels: one number for both, or two."""


@dataclass(frozen=True)
class Parts:
    """The splits that a dataset comes with, before anything is cut from them.

    Attributes:
        train: its training images.
        val, test: its own validation and test images; None: they are cut from `train`.
        class_names: the name of label i at index i, or None.
        test_size: the part of `train` that becomes the test set if `test` is None.
        stream: all training images, if `train` is only a sample of them; then nothing is cut from
            `train`, and without `val` there is no validation set.
        notes: sentences about how the source was understood and what of it was left out.
        table: the columns of a table in its own units, which `load` standardises; None: no table.
        scale: how `load` scales the values of data that are no table, by their training images.
        conditions: what the columns of `Split.conditions` are, in their own units, or None.
        white: the stored value of white, if the dataset lets it be chosen (`white.of_white`).
    """

    train: Split
    val: Split | None = None
    test: Split | None = None
    class_names: tuple[str, ...] | None = None
    test_size: float | int = 0.2
    stream: Stream | None = None
    notes: tuple[str, ...] = ()
    table: Columns | None = None
    scale: Literal["none"] | Kind = "none"
    conditions: Columns | None = None
    white: int | None = None

    @classmethod
    def of(cls, splits: Mapping[str, Split], **more: Any) -> "Parts":
        """Those of the `splits` train and, where there are any, val and test."""
        return cls(splits["train"], splits.get("val"), splits.get("test"), **more)

    def named(self) -> dict[str, Split]:
        """{name: split} of the splits that are not None."""
        found = {"train": self.train, "val": self.val, "test": self.test}
        return {name: split for name, split in found.items() if split is not None}


@dataclass(frozen=True, kw_only=True)
class Dataset(ABC):
    """A source of images. `load` reads them; the constructor reads nothing.

    A subclass implements `read`, and is a frozen dataclass if it adds fields. Splits are cut by
    `split_seed` alone, so runs that differ in `seed` see the same splits.

    Attributes:
        val_size: size of the validation set, if the dataset has none of its own: a share of the
            training data in [0, 1), or a number of images; 0: train on everything.
        split_seed: seed of the choice of images for the validation and test sets.
        split_by: what decides it besides: `index`, the place in the source, so that sizes are
            exact; `name`, the name of each image, or its bytes where it has none, so that images
            that are added move no other image from one set to another.
        classes: keep only the images of these labels, or of classes by their names, in every
            split; labels keep their numbers.
        binarize: `static` samples every pixel once with a fixed seed; `dynamic` samples the
            training images anew each time they are visited, and val and test as in `static`.
        known_factors: whether the splits have `factors`.
        streamed: whether training images are read from disk in every epoch, not held in memory.
    """

    known_factors: ClassVar[bool] = False
    streamed: ClassVar[bool] = False

    val_size: Share | Count = 0.1
    split_seed: Annotated[int, Field(ge=0)] = 0
    split_by: Literal["index", "name"] = "index"
    classes: Annotated[list[int | str], Field(min_length=1)] | None = None
    binarize: Literal["none", "static", "dynamic"] = "none"

    @abstractmethod
    def read(self) -> Parts:
        """The splits that the dataset comes with, on the CPU.

        Raises:
            DataError: files are missing or damaged.
        """

    def read_with(self, conditions: Sequence[str]) -> Parts:
        """As `read`, with `Split.conditions` of the arrays or columns that `conditions` name.

        Datasets that have such override it; `label` is not among the names.

        Raises:
            DataError: as of `read`, or there is no such array or column.
        """
        raise DataError(f"condition: {self} has nothing called {', '.join(conditions)}")

    @classmethod
    def conflicts(cls, settings: "Settings", options: Mapping[str, Any]) -> Iterator[str]:
        """Conditions that the dataset cannot have."""
        wanted = [name for name in settings.fixed.vector_conditions if name != LABEL]
        if wanted and cls.read_with is Dataset.read_with:
            yield (
                f"condition: {cls.__name__} has no arrays or columns, such as {wanted[0]}. Use "
                "condition=label, or dataset=arrays, windows or table, or image_folder with "
                "dataset.attributes."
            )
        if settings.fixed.vector_conditions and cls.streamed:
            yield f"condition: {cls.__name__} streams its images. Use condition=label."

    def __str__(self) -> str:
        """The name used in messages: the class, and the location of its files."""
        return called(self)

    def keeps_in_memory(self, size: int) -> bool:
        """Whether memory-mapped splits of `size` bytes in total are read into memory."""
        return True

    @final
    def load(self, conditions: Sequence[str] = ()) -> Splits:
        """Read, filter by class, cut the missing splits, binarize or scale: three sets on the CPU.

        Args:
            conditions: `label`, or arrays or columns, that a model is given as one vector; they
                stay in their own units.

        Raises:
            DataError: data are missing, damaged or inconsistent, or cannot be split, filtered or
                binarized as configured; the message names the file or the key.
        """
        beside = [name for name in conditions if name != LABEL]
        parts = self.read_with(beside) if beside else self.read()
        refuse_inconsistent(str(self), parts.named())
        parts, val_others, others = self._of_classes(parts)
        train, val, test = self._cut(parts)
        if self.keeps_in_memory(sum(len(s) * s.image_bytes for s in (train, val, test))):
            train, val, test = train.in_memory(), val.in_memory(), test.in_memory()
            others = None if others is None else others.in_memory()
            val_others = None if val_others is None else val_others.in_memory()
        if self.binarize != "none":
            if parts.scale != "none":
                raise DataError(
                    f"dataset.scale={parts.scale}: binary pixels have no scale; use "
                    "dataset.scale=none or dataset.binarize=none"
                )
            sets = {"train": train, "val": val, "test": test}
            for name, split in (sets | {"others": others, "val_others": val_others}).items():
                if split is not None:
                    refuse_not_grey(name, split, self.binarize)
            dynamic = self.binarize == "dynamic"
            train = replace(train, resample=True) if dynamic else binarized(train, "train")
            val, test = binarized(val, "val"), binarized(test, "test")
            others = others and binarized(others, "others")
            val_others = val_others and binarized(val_others, "val_others")
        own = (parts.class_names, others, val_others, parts.stream, parts.notes, parts.table)
        splits = Splits(train, val, test, *own, conditions=parts.conditions, white=parts.white)
        return with_labels(scaled_by_train(splits, parts.scale), conditions)

    def _of_classes(self, parts: Parts) -> tuple[Parts, Split | None, Split | None]:
        """The images of `classes`, and those of val and test of all other classes."""
        if self.classes is None:
            return parts, None, None
        kept, wanted = of_classes(parts.named(), self.classes, parts.class_names)
        sizes = (0 if parts.stream is not None else self.val_size, parts.test_size)
        sets, how = (parts.train, parts.val, parts.test), (self.split_by, self.split_seed)
        return replace(parts, **kept), *left_out(*sets, wanted, sizes, *how)  # type: ignore[arg-type]

    def _cuts(self) -> torch.Generator:
        """A new generator of the random numbers that decide which images are cut."""
        return torch.Generator().manual_seed(self.split_seed)

    def _cut_by_name(self, parts: Parts) -> tuple[Split, Split, Split]:
        """As `_cut`, by the names of the images in place of their order."""
        test_size = parts.test_size if parts.test is None else 0
        sizes = (test_size, self.val_size if parts.val is None else 0)
        places = cut(parts.train, *sizes, self.split_seed, table=parts.table is not None)
        train, val, test = map(parts.train.take, places)
        return train, parts.val or val, parts.test or test

    def _cut(self, parts: Parts) -> tuple[Split, Split, Split]:
        """Train, val and test; those that the dataset lacks are cut from train, test first."""
        total, train = len(parts.train), parts.train
        tests = images_in("test_size", parts.test_size, total) if parts.test is None else 0
        cut = parts.val is None and parts.stream is None
        vals = images_in("val_size", self.val_size, total - tests) if cut else 0
        if parts.test is None and tests == 0:
            raise DataError("dataset.test_size=0: the test set needs at least one example")
        if self.split_by == "name" and parts.stream is None:
            return self._cut_by_name(parts)
        if tests + vals >= total:
            sizes = f"dataset.val_size={self.val_size}" if parts.val is None else ""
            if parts.test is None:
                sizes += f"{' and ' if sizes else ''}dataset.test_size={parts.test_size}"
            what = noun_of(train.event_shape, table=parts.table is not None)
            raise DataError(
                f"{sizes} cut {tests + vals} of the {total} {what} of {self} for validation and "
                f"test, which leaves none to train on: make them smaller, or add {what}"
            )
        order = torch.randperm(total, generator=self._cuts())
        test = parts.test or train.take(order[:tests].sort().values)
        val = parts.val or train.take(order[tests : tests + vals].sort().values)
        if tests + vals:
            train = train.take(order[tests + vals :].sort().values)
        return train, val, test


def height_and_width(size: int | list[int]) -> tuple[int, int]:
    """H and W of an `ImageSize`."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])
