"""How jobs end, as typed values: what pools of processes and clusters report to a sweep."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Cause(Enum):
    """Why a job ended."""

    EXITED = "it exited by itself"
    KILLED = "a signal killed it"
    TIME_LIMIT = "it ran longer than the launcher's time limit"
    PRUNED = "the search's pruner gave up on it"
    SEARCH_ENDED = "the search that asked for it ended"
    SWEEP_STOPPED = "the sweep was stopped by a signal"
    LOST = "its machine or its place in a queue was lost"


@dataclass(frozen=True)
class StopRequest:
    """What a job was asked to stop for.

    Attributes:
        cause: why.
        message: the same for people; one line.
        at: when, in seconds of `time.monotonic`.
    """

    cause: Cause
    message: str
    at: float


@dataclass(frozen=True)
class JobEnd:
    """How a job ended.

    Attributes:
        exit_code: of its process; negative: the number of the signal that killed it.
        seconds: its duration.
        cause: why it ended.
        message: for people; one line, which may be empty.
    """

    exit_code: int
    seconds: float
    cause: Cause
    message: str = ""


@dataclass(frozen=True)
class RunReport:
    """How one of several runs in the same process ended, sent while the others continue.

    Attributes:
        directory: the name of its run directory.
        exit_code: what a process of its own would have returned.
        message: the first line of its error, if any.
    """

    directory: str
    exit_code: int
    message: str


@dataclass(frozen=True)
class ErrorReport:
    """The first line of the error that a job is about to exit with."""

    message: str
