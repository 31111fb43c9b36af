"""A service, called from a thread of its own: no step waits for it, no failure ends a training.

The services of this package are called in a process of their own besides (`remote`).
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextvars import copy_context
from functools import partial
from operator import methodcaller
from pathlib import Path
from threading import Condition, Event, Thread
from typing import TYPE_CHECKING, Any

from vae_run.tracking.failures import why
from vae_run.tracking.records import Item, Lost
from vae_run.tracking.remote import Here, Remote, caller
from vae_run.tracking.service import Point, Service
from vae_run.tracking.tracker import Tracker

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

log = logging.getLogger("vae_run")

CAPACITY = 64 * 2**20
"""Bytes that may wait for a service; what is recorded beyond them is lost."""
POINT = 200
"""Bytes of memory of a number that waits, about."""
AT_ONCE = 1000
"""Numbers in one call."""
COLLECTING = 2.0
"""Seconds between two calls with numbers: each call takes time from the training."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds between two attempts of the same call; each pause is twice as long as the last."""
SILENCE, LONGEST_END = 20.0, 60.0
"""Seconds that the end of a run waits for a service: since its last success, and altogether."""


class Background(Tracker):
    """Hands what it receives to `service` from a thread of its own.

    Records wait in a queue of bounded size. While a service does not answer, the same call is tried
    again after pauses. What was not sent is counted, and told at the end, for which the process
    waits a bounded time.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._make: Here | Remote = Here(service)
        self._queue: deque[Item] = deque()
        self._held = 0  # bytes in the queue
        self._lost = Lost()
        self._changed = Condition()
        self._closing = self._over = self._warned = False
        self._last_success = 0.0
        self._answered = Event()
        # In the context of the run, whose files then have the warnings of the thread.
        work, name = partial(copy_context().run, self._work), f"vae_run {service.title}"
        self._thread = Thread(target=work, name=name, daemon=True)

    @property
    def title(self) -> str:
        return self._service.title

    def start(self, run: Path, resumed_step: int | None) -> None:
        try:
            self._make = caller(self._service)
            self._make.begin()
            self._put("starts", 0, 0, "start", run, resumed_step)
            self._thread.start()
        except Exception as error:  # a package can be broken in any way
            self._warn(error, "Nothing is sent to it; the run goes on.")
            self._give_up()
        except BaseException:  # the user stops the program: there is no `close`
            self._make.end(whole=False)
            raise

    def await_answer(self) -> None:
        """Wait until the service has received the start, or until its first failure."""
        self._answered.wait(SILENCE + self._make.patience)

    def scalars(self, split: str, values: Mapping[str, float], step: int) -> None:
        now = time.time()
        points = [Point(f"{split}/{name}", float(v), step, now) for name, v in values.items()]
        if points:
            self._put("numbers", len(points), POINT * len(points), "points", points=points)

    def text(self, name: str, markdown: str) -> None:
        self._put("texts", 1, len(markdown), "text", name, markdown)

    def hparams(self, values: Mapping[str, Any]) -> None:
        self._put("tables of hyperparameters", 1, 0, "hparams", dict(values))

    def pictures(self, pictures: Mapping[str, NDArray[Any]], step: int) -> None:
        for name, picture in pictures.items():
            self._put("pictures", 1, picture.nbytes, "pictures", {name: picture}, step)

    def histogram(self, name: str, values: Tensor, step: int) -> None:
        given = self._make.values(values)
        self._put("histograms", 1, values.nbytes, "histogram", name, given, step)

    def embedding(
        self, name: str, points: Tensor, labels: Tensor | None, images: Tensor | None, step: int
    ) -> None:
        size = points.nbytes + (0 if images is None else images.nbytes)
        self._put("embeddings", 1, size, "embedding", name, points, labels, images, step)

    def artifact(self, path: Path) -> None:
        self._put("files", 1, 0, "artifact", path)

    def succeeded(self) -> None:
        self._put("states", 0, 0, "succeeded")

    def stopped_early(self, state: str) -> None:
        self._put("states", 0, 0, "stopped_early", state)

    def close(self) -> None:
        """Wait until everything is sent, or until that is given up; tell what was not sent."""
        self._put("states", 0, 0, "close")
        try:
            self._finish()
        finally:
            self._make.end(whole=not self._thread.is_alive())

    def _finish(self) -> None:
        """Wait for the thread, for a bounded time, and tell what was not sent."""
        begin = self._last_success = time.monotonic()
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        while self._thread.is_alive():
            self._thread.join(0.05)
            now = time.monotonic()
            silence = SILENCE + (0.0 if self._answered.is_set() else self._make.patience)
            if now - self._last_success > silence or now - begin > LONGEST_END:
                break
        self._give_up()
        if self._lost.total:
            told = (self.title, f"{self._lost.total:,}", self._lost.told())
            log.info("%s: %s records were not sent: %s", *told)

    def _put(
        self,
        kind: str,
        records: int,
        size: int,
        method: str,
        *given: Any,
        points: Sequence[Point] = (),
    ) -> None:
        """Have `method` called, unless the service leaves it as it is and so ignores records."""
        if records and getattr(type(self._service), method) is getattr(Tracker, method, None):
            return
        item = Item(kind, records, size, methodcaller(method, *given), points)
        with self._changed:
            if self._over or (self._queue and self._held + size > CAPACITY):
                self._lost.add(item)
                return
            self._queue.append(item)
            self._held += size
            self._changed.notify_all()

    def _work(self) -> None:
        """The thread: send what waits, in its order, until the run is closed."""
        pause, started = FIRST_PAUSE, False
        while items := self._next():
            try:
                self._send(items)
            except Exception as error:  # a service can fail in any way
                if self._make.passes(error):
                    self._warn(error, "It is tried again; the run goes on.")
                    if not self._pause(pause):
                        return
                    pause = min(2 * pause, LONGEST_PAUSE)
                    continue
                if not started:
                    self._warn(error, "Nothing is sent to it; the run goes on.")
                    self._give_up()
                    return
                self._warn(error, "What this was about is not sent; the run goes on.")
                self._done(items, lost=True)
            else:
                self._done(items, lost=False)
            pause, started = FIRST_PAUSE, True
            self._answered.set()
            if items[0].points:
                self._pause(COLLECTING)

    def _next(self) -> list[Item]:
        """The calls to make now, which stay in the queue: one, or numbers that go together.

        It waits for them; there are none once the run is closed and everything is sent.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing or self._over)
            found: list[Item] = []
            count = 0
            for item in self._queue:
                count += len(item.points)
                if found and (not item.points or not found[0].points or count > AT_ONCE):
                    break
                found.append(item)
            return found

    def _send(self, items: Sequence[Item]) -> None:
        points = [point for item in items for point in item.points]
        self._make(methodcaller("points", points) if points else items[0].call)

    def _done(self, items: Sequence[Item], *, lost: bool) -> None:
        """Take calls that were made out of the queue."""
        with self._changed:
            if self._over:  # they have been counted as lost
                return
            self._last_success = time.monotonic()
            for item in items:
                self._queue.popleft()
                self._held -= item.size
                if lost:
                    self._lost.add(item)

    def _pause(self, seconds: float) -> bool:
        """Wait before the next attempt; whether there is one: at the end of a run, the last."""
        with self._changed:
            if self._closing:
                return False
            self._changed.wait_for(lambda: self._closing or self._over, seconds)
            return not self._over

    def _give_up(self) -> None:
        """Count everything that waits as lost; nothing more is taken."""
        with self._changed:
            self._over = True
            for item in self._queue:
                self._lost.add(item)
            self._queue.clear()
            self._changed.notify_all()

    def _warn(self, error: Exception, what_follows: str) -> None:
        """Warn, the first time."""
        self._answered.set()
        if not self._warned and not self._over:
            self._warned = True
            log.warning("%s %s", why(self.title, error), what_follows)
