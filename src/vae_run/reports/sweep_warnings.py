"""What the jobs of a sweep were warned of, with warnings that differ in numbers alone as one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vae_run.runs.run_log import read_recorded

MOST = 10
"""Warnings that are told; the ones that most jobs had."""

_NUMBER = re.compile(r"\d[\d.,]*(?:e[+-]?\d+)?")


@dataclass(frozen=True)
class JobWarning:
    """A warning and the jobs that had it.

    Attributes:
        message: as the first of the jobs recorded it.
        jobs: the directories of the jobs, in the order of the sweep.
    """

    message: str
    jobs: tuple[str, ...]


def job_warnings(folder: Path, jobs: Iterable[str]) -> list[JobWarning]:
    """The warnings (`warnings.jsonl`) of the `jobs` of the sweep in `folder`, the commonest first.

    Notes are left out. At most `MOST` warnings are returned.
    """
    alike: dict[str, tuple[str, dict[str, None]]] = {}
    for job in jobs:
        for message, level in read_recorded(folder / job):
            if level == "warning":
                alike.setdefault(_NUMBER.sub("0", message), (message, {}))[1][job] = None
    found = [JobWarning(message, tuple(having)) for message, having in alike.values()]
    return sorted(found, key=lambda each: -len(each.jobs))[:MOST]
