"""Training batches of a stream, read and decoded ahead, in an order independent of threads.

Letters: B images of a batch, b images of this process's share, C channels, H height, W width.
"""

from __future__ import annotations

import logging
import queue
import threading
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae_run.corruptions import Corruption
from vae_run.data.batches import Batch, TrainingBatches
from vae_run.data.draws import go_on
from vae_run.data.mapped import sent
from vae_run.data.splits import Split
from vae_run.data.webdataset.stream import Stream, decode
from vae_run.data.webdataset.tar_shards import Sample
from vae_run.errors import DataError
from vae_run.system import ranks
from vae_run.system.hardware import cores

log = logging.getLogger(__name__)

AHEAD = 4
"""Number of batches that are read and decoded in advance."""
MOST_THREADS = 8
_POLL = 0.2  # seconds between two checks of whether the reader has been stopped


class StreamedBatches(TrainingBatches):
    """An endless, seeded and resumable sequence of training batches from a stream.

    Its position is an epoch and a number of images: to resume there, the epoch's shards are read
    again up to it, without decoding. If several processes train together, each reads all shards and
    decodes only its share.
    """

    def __init__(
        self,
        stream: Stream,
        sample: Split,
        corruption: Corruption,
        *,
        batch_size: int,
        noise: tuple[int, int],
        seed: int,
        classes: Tensor | None = None,
        threads: int | None = None,
    ) -> None:
        """Start at the first epoch.

        Args:
            stream: the training images.
            sample: the training images that are held in memory; gives shape, type and device.
            corruption, batch_size, noise, seed: as in `TrainingBatches`.
            classes: the labels that are accepted; None: all.
            threads: decoding threads; None: one per core, at most 8.
        """
        self.stream, self.seed = stream, seed
        super().__init__(sample, corruption, batch_size=batch_size, noise=noise, seed=seed)
        self._epoch = 0
        self._classes = None if classes is None else frozenset(classes.tolist())
        self._threads = min(MOST_THREADS, cores()) if threads is None else threads
        self._ahead: _Ahead | None = None

    @property
    def images(self) -> int:
        return self.stream.images

    def ready(self) -> None:
        """Start reading, and wait for the first batch."""
        if self._ahead is None:
            parts = _parts(self.stream, self.seed, self._epoch, self._position, self.batch_size)
            self._ahead = _Ahead(parts, self.stream, self._classes, self._threads)
            weakref.finalize(self, self._ahead.end)
        self._ahead.wait()

    def next(self) -> Batch:
        """The next batch; starts a new epoch at the end of the current one."""
        self.ready()
        assert self._ahead is not None
        whole, pixels, label = self._ahead.take()
        if self._position >= self.stream.images:
            self._epoch, self._position = self._epoch + 1, 0
        self._position += whole
        target = sent(pixels, self.device).to(torch.float32) * (1.0 / self.stream.white)
        return self.finished(whole, target, None if label is None else sent(label, self.device))

    def next_index(self) -> Tensor:
        """Not supported: the images of a stream have no indices."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """The position in the sequence, from which `load_state_dict` continues exactly."""
        return {
            "epoch": self._epoch,
            "position": self._position,
            "noise": self._noise_generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from where `state_dict` was called."""
        if self._ahead is not None:
            self._ahead.end()
            self._ahead = None
        self._epoch, self._position = state["epoch"], state["position"]
        if self._position >= self.stream.images:
            self._epoch, self._position = self._epoch + 1, 0
        go_on(self._noise_generator, state["noise"])
        if self._position:
            log.info(
                "reading %s images of this epoch again, without decoding", f"{self._position:,}"
            )


def _parts(
    stream: Stream, seed: int, epoch: int, position: int, batch_size: int
) -> Iterator[list[Sample]]:
    """The samples of each batch, endlessly, starting at `position` in `epoch`."""
    for number in count(epoch):
        order = stream.epoch(seed, number)
        for _ in islice(order, position):
            pass
        position = 0
        while part := list(islice(order, batch_size)):
            yield part


@dataclass(frozen=True)
class _Waiting:
    """A batch that is being decoded: B, uint8 [b, C, H, W], labels int64 [b] or None."""

    whole: int
    pixels: Tensor
    label: Tensor | None
    done: Sequence[Future[None]]


class _Ahead:
    """One thread that reads the next batches, and a pool that decodes them, until `end`."""

    def __init__(
        self,
        parts: Iterator[list[Sample]],
        stream: Stream,
        classes: frozenset[int] | None,
        threads: int,
    ) -> None:
        self._parts, self._stream, self._classes = parts, stream, classes
        self._pool = ThreadPoolExecutor(threads)
        self._queue: queue.Queue[_Waiting | Exception] = queue.Queue(AHEAD)
        self._over = threading.Event()
        self._first: _Waiting | Exception | None = None
        threading.Thread(target=self._read, daemon=True, name="shards").start()

    def wait(self) -> None:
        """Wait until a batch or an error is available."""
        if self._first is None:
            self._first = self._queue.get()

    def take(self) -> tuple[int, Tensor, Tensor | None]:
        """The next batch: B, uint8 [b, C, H, W], and labels [b] or None.

        Raises:
            DataError: a shard or an image is damaged.
        """
        self.wait()
        found, self._first = self._first, None
        if isinstance(found, Exception):
            self._first = found
            raise found
        assert found is not None
        for future in found.done:
            future.result()
        return found.whole, found.pixels, found.label

    def end(self) -> None:
        """Stop reading and decoding."""
        self._over.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _read(self) -> None:
        try:
            for part in self._parts:
                if not self._put(self._begin(part)):
                    return
        except Exception as error:
            self._put(error)

    def _begin(self, part: list[Sample]) -> _Waiting:
        own = part[ranks.share_of(len(part))[0]]
        label = None
        if self._stream.labelled:
            for sample in part:
                if self._classes is not None and sample.label not in self._classes:
                    raise DataError(
                        f"{sample.shard.path}: sample {sample.key} is labelled {sample.label}, "
                        f"expected {sorted(self._classes)[:20]}, for which the model was built: "
                        "those of the images in memory. Raise dataset.sample to have more of them"
                    )
            label = torch.tensor([sample.label for sample in own])
        pixels = np.empty((len(own), *self._stream.decoder.shape), np.uint8)
        done = decode(own, self._stream.decoder, self._pool, pixels, self._stream.white)
        return _Waiting(len(part), torch.from_numpy(pixels), label, done)

    def _put(self, found: _Waiting | Exception) -> bool:
        """Queue `found`; False if the reader was stopped meanwhile."""
        while not self._over.is_set():
            try:
                self._queue.put(found, timeout=_POLL)
                return True
            except queue.Full:
                pass
        return False
