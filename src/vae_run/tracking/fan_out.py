"""One tracker that hands everything on to several, none of which can end a training."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vae_run.errors import explain_os_error
from vae_run.system import ranks
from vae_run.tracking.tensorboard import TensorBoard
from vae_run.tracking.tracker import NoTracker, Tracker

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

log = logging.getLogger("vae_run")


@contextmanager
def tracked(run: Path, own: Tracker, resumed_step: int | None = None) -> Iterator[Tracker]:
    """A started tracker of the run directory `run`, which is closed in the end.

    It sends to TensorBoard and to the user's `own`; in a process that is not rank 0, to nobody.
    """
    trackers = [TensorBoard(), *([] if isinstance(own, NoTracker) else [own])]
    sending = FanOut(trackers if ranks.leads() else [])
    sending.start(run, resumed_step)
    try:
        yield sending
    finally:
        sending.close()


class FanOut(Tracker):
    """Sends everything to each of `trackers`.

    One that raises is switched off with a warning; what it misses from then on is counted, and
    said when the run is closed.
    """

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._trackers = list(trackers)
        self._unsent: list[int | None] = [None] * len(trackers)  # of each, once it has failed

    def _send(self, records: int, call: Callable[[Tracker], None]) -> None:
        """Make `call`, which sends so many `records`, with each tracker that has not failed."""
        for place, tracker in enumerate(self._trackers):
            unsent = self._unsent[place]
            if unsent is not None:
                self._unsent[place] = unsent + records
                continue
            try:
                call(tracker)
            except Exception as error:  # a tracker from outside can fail in any way
                self._unsent[place] = records
                why = _why(type(tracker).__name__, error)
                log.warning("%s Nothing more is sent to it; the run goes on.", why)

    def start(self, run: Path, resumed_step: int | None) -> None:
        self._send(0, lambda tracker: tracker.start(run, resumed_step))

    def scalars(self, split: str, values: Mapping[str, float], step: int) -> None:
        self._send(len(values), lambda tracker: tracker.scalars(split, values, step))

    def text(self, name: str, markdown: str) -> None:
        self._send(1, lambda tracker: tracker.text(name, markdown))

    def hparams(self, values: Mapping[str, Any]) -> None:
        self._send(1, lambda tracker: tracker.hparams(values))

    def pictures(self, pictures: Mapping[str, NDArray[Any]], step: int) -> None:
        self._send(len(pictures), lambda tracker: tracker.pictures(pictures, step))

    def histogram(self, name: str, values: Tensor, step: int) -> None:
        self._send(1, lambda tracker: tracker.histogram(name, values, step))

    def embedding(
        self, name: str, points: Tensor, labels: Tensor | None, images: Tensor | None, step: int
    ) -> None:
        self._send(1, lambda tracker: tracker.embedding(name, points, labels, images, step))

    def succeeded(self) -> None:
        self._send(0, lambda tracker: tracker.succeeded())

    def flush(self) -> None:
        self._send(0, lambda tracker: tracker.flush())

    def close(self) -> None:
        self._send(0, lambda tracker: tracker.close())
        for tracker, unsent in zip(self._trackers, self._unsent, strict=True):
            if unsent:
                log.info("%s: %d records were not sent", type(tracker).__name__, unsent)


def _why(name: str, error: Exception) -> str:
    """The failure `error` of the tracker `name` as a sentence."""
    if isinstance(error, OSError):  # when a disk is full, the system names no file
        reason, file = error.strerror or str(error), error.filename or name
        return explain_os_error(OSError(error.errno, reason, file))
    return f"{name}: {type(error).__name__}: {error}."
