"""One tracker that hands everything on to several, none of which can end a training."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vae_run.runs.status import ended
from vae_run.system import ranks
from vae_run.system.signals import Stop
from vae_run.tracking.background import Background
from vae_run.tracking.failures import why
from vae_run.tracking.service import Service
from vae_run.tracking.several import parts
from vae_run.tracking.tensorboard import TensorBoard
from vae_run.tracking.tracker import Tracker

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

log = logging.getLogger("vae_run")


@contextmanager
def tracked(run: Path, own: Tracker, resumed_step: int | None = None) -> Iterator[Tracker]:
    """A started tracker of the run directory `run`, which is closed in the end.

    It sends to TensorBoard and to the user's `own`; in a process that is not rank 0, to nobody.
    """
    with _started(run, [TensorBoard(), *parts(own)], resumed_step) as sending:
        yield sending


@contextmanager
def tracked_sweep(folder: Path, own: Tracker) -> Iterator[Tracker]:
    """A started tracker of a whole sweep, for those of the user's trackers that receive sweeps.

    They have answered, or failed, before the jobs begin, which shall find their parent.
    """
    with _started(folder, [one for one in parts(own) if one.receives_sweeps], None) as sending:
        for one in sending.trackers:
            if isinstance(one, Background):
                one.await_answer()
        yield sending


@contextmanager
def _started(
    directory: Path, trackers: Sequence[Tracker], resumed_step: int | None
) -> Iterator[FanOut]:
    sending = FanOut(
        [Background(one) if isinstance(one, Service) else one for one in trackers]
        if ranks.leads()
        else []
    )
    sending.start(directory, resumed_step)
    try:
        yield sending
    except BaseException as error:
        stop = isinstance(error, Stop | KeyboardInterrupt | GeneratorExit)
        sending.stopped_early("interrupted" if stop else ended(error)[0])
        raise
    finally:
        sending.close()


class FanOut(Tracker):
    """Sends everything to each of `trackers`.

    One that raises is switched off with a warning; what it misses from then on is counted, and
    said when the run is closed.
    """

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self.trackers = list(trackers)
        self._unsent: list[int | None] = [None] * len(trackers)  # of each, once it has failed

    def _send(self, records: int, call: Callable[[Tracker], None]) -> None:
        """Make `call`, which sends so many `records`, with each tracker that has not failed."""
        for place, tracker in enumerate(self.trackers):
            unsent = self._unsent[place]
            if unsent is not None:
                self._unsent[place] = unsent + records
                continue
            try:
                call(tracker)
            except Exception as error:  # a tracker from outside can fail in any way
                self._unsent[place] = records
                told = why(_title(tracker), error)
                log.warning("%s Nothing more is sent to it; the run goes on.", told)

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

    def artifact(self, path: Path) -> None:
        self._send(1, lambda tracker: tracker.artifact(path))

    def stopped_early(self, state: str) -> None:
        self._send(0, lambda tracker: tracker.stopped_early(state))

    def succeeded(self) -> None:
        self._send(0, lambda tracker: tracker.succeeded())

    def flush(self) -> None:
        self._send(0, lambda tracker: tracker.flush())

    def close(self) -> None:
        self._send(0, lambda tracker: tracker.close())
        for tracker, unsent in zip(self.trackers, self._unsent, strict=True):
            if unsent:
                log.info("%s: %d records were not sent", _title(tracker), unsent)


def _title(tracker: Tracker) -> str:
    """What messages call it."""
    if isinstance(tracker, Background | Service):
        return tracker.title
    return type(tracker).__name__
