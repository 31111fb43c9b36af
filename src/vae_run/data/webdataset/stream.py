"""A training split that is read from shards in every epoch, and is never in memory as a whole."""

import hashlib
import io
import random
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vae_run.data.images.decoder import Decoder
from vae_run.data.webdataset import tar_shards
from vae_run.data.webdataset.tar_file import Shard
from vae_run.data.webdataset.tar_shards import Sample
from vae_run.errors import DataError

FORMATS = ("JPEG", "PNG", "WEBP", "PPM")
"""Accepted image formats, independent of file names."""
_CHUNK = 32

T = TypeVar("T")


@dataclass(frozen=True)
class Stream:
    """The images of a training split, in shards.

    Attributes:
        shards: the tar files.
        images: number of images in all shards.
        buffer: size of the shuffle buffer, in undecoded samples.
        decoder: decodes a sample to pixels.
        labelled: whether samples have labels.
        white: the stored value that means 1.0; samples with greater ones are refused.
    """

    shards: tuple[Shard, ...]
    images: int
    buffer: int
    decoder: Decoder
    labelled: bool
    white: int = 255

    def epoch(self, seed: int, number: int) -> Iterator[Sample]:
        """Every sample of epoch `number` once, undecoded, in an order given by the arguments alone.

        Shards are read in random order into a shuffle buffer, from which samples are drawn.

        Raises:
            DataError: a shard is missing or damaged, or the number of images is not `images`.
        """
        # Of the methods of random.Random, only `random` is guaranteed to be stable across versions.
        rng = random.Random(f"shards {seed} {number}")
        held: list[Sample] = []
        for sample in tar_shards.alike(self._counted(shuffled(self.shards, rng)), self.labelled):
            if len(held) < self.buffer:
                held.append(sample)
                continue
            place = int(rng.random() * len(held))
            chosen, held[place] = held[place], sample
            yield chosen
        yield from shuffled(held, rng)

    def _counted(self, shards: Iterable[Shard]) -> Iterator[Sample]:
        found = 0
        for shard in shards:
            for sample in tar_shards.samples(shard):
                found += 1
                if found > self.images:
                    raise self._miscounted(f"more (at sample {sample.key} of {shard.path})")
                yield sample
        if found < self.images:
            raise self._miscounted(str(found))

    def _miscounted(self, found: str) -> DataError:
        return DataError(
            f"dataset.images: expected {self.images} images in the {len(self.shards)} training "
            f"shards, found {found}. Give their number, or leave it null to have them counted."
        )

    def fingerprint(self) -> str:
        """A hash of the names and sizes of the shards, and the number of images."""
        shards = [(shard.name, shard.size) for shard in self.shards]
        return hashlib.sha256(repr((shards, self.images)).encode()).hexdigest()


def shuffled(items: Sequence[T], rng: random.Random) -> list[T]:
    """The `items` in random order."""
    keys = [rng.random() for _ in items]
    return [items[place] for place in sorted(range(len(items)), key=keys.__getitem__)]


def decode(
    found: Sequence[Sample],
    decoder: Decoder,
    pool: ThreadPoolExecutor,
    into: NDArray[np.uint8],
    white: int = 255,
) -> list[Future[None]]:
    """Start decoding the samples `found` into `into`, uint8 [N, C, H, W].

    Returns:
        Futures; the result of one raises a DataError if a sample cannot be decoded, or has a value
        above `white`.
    """

    def work(start: int) -> None:
        for place in range(start, min(start + _CHUNK, len(found))):
            sample = found[place]
            named = f"{sample.key} of {sample.shard.path}"
            into[place] = decoder.decode(io.BytesIO(sample.image), named, FORMATS)
            if white < 255 and (high := int(into[place].max())) > white:
                raise DataError(
                    f"{named} has a pixel of {high}, but the images in memory (dataset.sample, "
                    f"val and test) have none above {white}; start again with dataset.white=255"
                )

    return [pool.submit(work, start) for start in range(0, len(found), _CHUNK)]
