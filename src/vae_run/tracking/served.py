"""The process that calls services for another one, which trains (`vae_run.tracking.remote`)."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event, Thread
from typing import IO, Any

from vae_run.tracking.service import Service

Call = Callable[[Service], Any]

NICENESS = 5
"""It leaves the cores to the training where there are not enough for both."""


@dataclass(frozen=True)
class Begin:
    """The calls after this one are of `service`, in the folder and environment of the training."""

    service: Service
    folder: str
    variables: Mapping[str, str]


@dataclass(frozen=True)
class Trouble:
    """An error of a service, in parts that can be sent.

    Attributes:
        kind: the name of its class.
        text: what it says.
        number, file: of an `OSError`, its error number and file.
        passes: whether the same call may succeed later (`Service.passes`).
    """

    kind: str
    text: str
    number: int | None = None
    file: str | None = None
    passes: bool = False


def serve(calls: int, answers: int) -> None:
    """Make the calls that come through the pipe `calls`, and answer each: None, or `Trouble`."""
    sys.argv[1:] = []
    os.nice(NICENESS)
    for descriptor in (calls, answers):  # a program that a client starts shall not keep them open
        os.set_inheritable(descriptor, False)
    received: SimpleQueue[Begin | Call | None] = SimpleQueue()
    busy, served = Event(), _Served()
    with os.fdopen(answers, "wb") as answer, os.fdopen(calls, "rb") as pipe:
        Thread(target=_receive, args=(pipe, received, busy), daemon=True).start()
        while (call := received.get()) is not None:
            if isinstance(call, Begin):
                served.begin(call)
                continue
            told = served.make(call)
            busy.clear()
            pickle.dump(told, answer)
            answer.flush()


def _receive(pipe: IO[bytes], received: SimpleQueue[Begin | Call | None], busy: Event) -> None:
    """Hand calls on. Where the pipe ends during a call, nobody waits for it any more."""
    try:
        while True:
            call = pickle.load(pipe)  # noqa: S301 - from our own process
            if not isinstance(call, Begin):
                busy.set()
            received.put(call)
    except (EOFError, OSError):
        if busy.is_set():
            os._exit(1)
        received.put(None)
    except BaseException:  # what cannot be read would never be answered
        os._exit(1)


class _Served:
    """The present service, whose package is imported with its first call."""

    def __init__(self) -> None:
        self._service: Service | None = None
        self._ready = False

    def begin(self, start: Begin) -> None:
        """Leave the service before, and take that of `start`."""
        if self._service is not None and self._ready:
            self._service.restore()
        self._service, self._ready = start.service, False
        os.environ.clear()
        os.environ.update(start.variables)
        with suppress(OSError):  # it may have been removed; paths of runs are whole
            os.chdir(start.folder)

    def make(self, call: Call) -> Trouble | None:
        """Make `call`; its error, if there was one."""
        assert self._service is not None
        try:
            if not self._ready:
                self._prepare(self._service)
            call(self._service)
        except Exception as error:  # a service can fail in any way
            return self._trouble(self._service, error)
        return None

    def _prepare(self, service: Service) -> None:
        try:
            service.prepare()
        except BaseException:
            service.restore()
            raise
        self._ready = True

    def _trouble(self, service: Service, error: Exception) -> Trouble:
        try:
            passes = self._ready and bool(service.passes(error))
        except Exception:  # a package so broken that it cannot tell
            passes = False
        kind = type(error).__name__
        if isinstance(error, OSError) and isinstance(error.errno, int):
            file = None if error.filename is None else str(error.filename)
            return Trouble(kind, error.strerror or str(error), error.errno, file, passes)
        return Trouble(kind, str(error), passes=passes)
