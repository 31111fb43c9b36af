"""Images in WebDataset shards; training images are streamed from them in every epoch."""

import importlib.util
import logging
import os
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from vae_run.data.checks import refuse_more_than_memory
from vae_run.data.dataset import Count, Dataset, ImageSize, Parts, height_and_width
from vae_run.data.images.decoder import Decoder
from vae_run.data.splits import Split
from vae_run.data.webdataset import tar_shards
from vae_run.data.webdataset.stream import Stream, decode, shuffled
from vae_run.data.webdataset.tar_file import Shard
from vae_run.data.webdataset.tar_shards import Sample
from vae_run.data.white import BYTE, White, of_white
from vae_run.errors import ConfigError
from vae_run.system.extras import installation
from vae_run.system.hardware import cores

log = logging.getLogger(__name__)

Names = Annotated[str, Field(min_length=1)] | Annotated[list[str], Field(min_length=1)]
_SLAB = 1024
"""Number of samples that are decoded together."""
_DOTS = (
    "dataset.train: names of samples are cut at their last dot, as there is no image if they are "
    "cut at their first, as WebDataset does"
)


@dataclass(frozen=True, kw_only=True)
class Shards(Dataset):
    """Tar files of samples: a jpg, jpeg, png, webp or ppm file, and optionally a cls file each.

    Training images are read from their shards in every epoch, and shuffled within a buffer;
    validation and test images are read into memory. Only regular files are opened.

    Attributes:
        path: the folder that the names of shards are relative to.
        train, val, test: shards in brace notation, such as train-{0000..0099}.tar, or a list of
            such names; without `val` there is no validation set.
        images: number of training images; null: they are counted when a run starts.
        buffer: size of the shuffle buffer, in undecoded training images.
        sample: number of training images held in memory, which are used wherever something is
            fitted to or measured on the training split; `split_seed` chooses their shards.
        image_size: height and width in pixels, one number for both or [height, width]; images are
            resized to cover it and cropped at the centre.
        channels: 1 for grey, 3 for colour; images of the other kind are converted.
        white: the stored value of pixels that means 1.0; `auto` by `sample`, `val` and `test`.
    """

    streamed: ClassVar[bool] = True

    path: str
    train: Names
    val: Names | None = None
    test: Names
    images: Count | None = None
    buffer: Count = 10_000
    sample: Count = 10_000
    image_size: ImageSize = 64
    channels: Literal[1, 3] = 3
    white: White = BYTE

    def __post_init__(self) -> None:
        """Check the arguments, before anything is read.

        Raises:
            ConfigError: webdataset is not installed, a name is not that of a file, or a key does
                not apply to streamed images.
        """
        if importlib.util.find_spec("webdataset") is None:
            raise ConfigError(
                "dataset: shards need the package webdataset, which is not installed: "
                f"{installation('shards')}"
            )
        if self.classes is not None:
            raise ConfigError(
                f"dataset.classes: found {self.classes}, but all samples of a shard are used. "
                "Write shards of those classes, and leave it null."
            )
        if self.binarize == "static":
            raise ConfigError(
                "dataset.binarize: found static, but a fixed sample of streamed images is not "
                "stored. Use dataset.binarize=dynamic."
            )
        everywhere = Counter(
            os.path.normpath(os.path.join(self._folder, os.path.expanduser(name)))
            for names in self._names().values()
            for name in names
        )
        twice = [name for name, times in everywhere.items() if times > 1]
        if twice:
            raise ConfigError(
                f"dataset.train, val and test: {twice[0]} is named {everywhere[twice[0]]} times; "
                "name each shard once, in one of them."
            )

    @classmethod
    def conflicts(cls, settings: Any, options: Mapping[str, Any]) -> Iterator[str]:
        """Messages on parts of the configuration that cannot be combined with shards."""
        yield from super().conflicts(settings, options)
        trainer = settings.classes["trainer"]
        if not trainer.streams:
            yield (
                f"trainer: found {trainer.__name__}, which needs the training images in memory, "
                "but dataset=shards streams them. Use trainer=gradient, or dataset=image_folder."
            )
        if options.get("val") is None and settings.parts["trainer"].get("patience") is not None:
            yield (
                "trainer.patience: early stopping needs validation images, but dataset.val is "
                "null. Name shards for it, or leave trainer.patience null."
            )

    @property
    def _folder(self) -> Path:
        return Path(os.path.expanduser(self.path))

    def _names(self) -> dict[str, list[str]]:
        given = {"train": self.train, "val": self.val, "test": self.test}
        return {
            split: tar_shards.expanded(names, f"dataset.{split}")
            for split, names in given.items()
            if names is not None
        }

    def decoder(self) -> Decoder:
        """Decodes a file to the pixels that the splits have."""
        return Decoder(self.channels, *height_and_width(self.image_size))

    def read(self) -> Parts:
        """uint8 [N, C, H, W] of scale 255; `train` is the sample. DataError names a bad shard."""
        decoder = self.decoder()
        shards = {
            split: tar_shards.shards(names, self._folder, f"dataset.{split}")
            for split, names in self._names().items()
        }
        train = shards.pop("train")
        held = {split: self._all(split, found, decoder) for split, found in shards.items()}
        images = self.images
        if images is None:
            log.info("counting the images of %s shards", f"{len(train):,}")
            images = sum(map(tar_shards.count, train))
            log.info("dataset.images=%d would avoid counting them", images)
        sample = self._sample(train, images, decoder)
        stream = Stream(tuple(train), images, self.buffer, decoder, sample.labels is not None)
        notes = (_DOTS,) if tar_shards.has_dots_in_names(train[0]) else ()
        parts = Parts(sample, held.get("val"), held["test"], stream=stream, notes=notes)
        return of_white(str(self), parts, self.white)

    def _all(self, split: str, shards: Sequence[Shard], decoder: Decoder) -> Split:
        """All images of `shards`."""
        number = sum(map(tar_shards.count, shards))
        refuse_more_than_memory(number * decoder.size, f"dataset.{split}")
        return _held(chain.from_iterable(map(tar_shards.samples, shards)), number, decoder)

    def _sample(self, shards: Sequence[Shard], images: int, decoder: Decoder) -> Split:
        """The same number of images from the start of every shard; all, if they are few."""
        refuse_more_than_memory(min(self.sample, images) * decoder.size, "dataset.sample")
        each = None if images <= self.sample else -(-self.sample // len(shards))
        order = shuffled(shards, random.Random(self.split_seed))
        found = chain.from_iterable(islice(tar_shards.samples(shard), each) for shard in order)
        return _held(islice(found, self.sample), min(self.sample, images), decoder)


def _held(found: Iterable[Sample], most: int, decoder: Decoder) -> Split:
    """The samples `found`, at most `most`, decoded into memory."""
    pixels, samples = np.empty((most, *decoder.shape), np.uint8), tar_shards.alike(found)
    labels: list[int | None] = []
    with ThreadPoolExecutor(min(32, cores())) as pool:
        while slab := list(islice(samples, _SLAB)):
            start = len(labels)
            labels += [sample.label for sample in slab]
            for future in decode(slab, decoder, pool, pixels[start : len(labels)]):
                future.result()
    images = torch.from_numpy(pixels[: len(labels)])
    return Split(images, None if labels[0] is None else torch.tensor(labels), scale=255.0)
