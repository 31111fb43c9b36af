"""One training in several processes, one per device, each with its share of every batch.

All of them draw the same order, noise and initial weights as a single process would, and gradients
are summed with equal weight for each image, so that the result does not depend on the number of
processes. Each process evaluates the whole of val, and all use the metrics of rank 0.

Letters: B images of a whole batch, b of one process's share, T terms.
"""

from __future__ import annotations

import logging
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from vae_run.errors import ConfigError, DataError, DivergedError, Interrupted
from vae_run.system import ranks
from vae_run.training.whole_batches import needing_whole_batches

if TYPE_CHECKING:
    from vae_run.config.schema import Settings
    from vae_run.system.signals import StopRequests

log = logging.getLogger("vae_run")

PATIENCE = timedelta(minutes=10)
"""Silence in a step after which a process counts as lost; one that ended is noticed at once."""
LOADING = timedelta(days=7)
"""Patience while data are loaded, which one process of a machine may decode for the others."""
POLL = 0.05
"""Seconds between two checks of whether the data are loaded."""

_OVER = 1
"""Message of rank 0 when its time or its metrics end the training; larger ones are signals."""


def several() -> bool:
    """Whether this process trains together with others."""
    return dist.is_available() and dist.is_initialized()


@contextmanager
def joined(settings: Settings) -> Iterator[None]:
    """Connect this process with the others while inside, if there are others.

    Raises:
        ConfigError: the parts of `settings` cannot be trained by several.
        Interrupted: another process is gone.
    """
    place = ranks.place()
    if place is None:
        yield
        return
    refuse(settings)
    gpus = torch.cuda.is_available()
    if gpus:
        torch.cuda.set_device(place.local % torch.cuda.device_count())
    with _follower_is_quiet(place):
        with _together():
            dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", timeout=PATIENCE)
        yield
        # Not after a failure: others may be waiting for this process, and must see it end.
        dist.destroy_process_group()


def refuse(settings: Settings) -> None:
    """Refuse what several processes cannot train.

    Raises:
        ConfigError: there are several, and a part needs the whole batch in one place.
    """
    place = ranks.place()
    if place is None or place.size == 1:
        return
    if settings.fixed.task not in ("train", "resume"):
        ranks.refuse_several(f"task={settings.fixed.task}")
    wanting, trainer = list(needing_whole_batches(settings)), settings.classes["trainer"]
    if not trainer.shares_batches:
        wanting.append(("trainer", trainer.__name__, "Choose another trainer"))
    for key, name, remedy in wanting:
        raise ConfigError(
            f"{key}: {name} needs each batch as a whole, and {place.size} processes (torchrun) "
            f"share it. {remedy}, or start without torchrun."
        )


@contextmanager
def _follower_is_quiet(place: ranks.Place) -> Iterator[None]:
    """Silence all ranks but 0, except for errors that only they have."""
    if place.leads:
        yield
        return
    from vae_run.system.console import console

    console.quiet = True
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"rank {place.rank}: %(message)s"))
    handler.setLevel(logging.ERROR)
    log.addHandler(handler)
    try:
        yield
    except (Interrupted, DivergedError):  # rank 0 reports it
        handler.setLevel(logging.CRITICAL + 1)
        raise


@contextmanager
def _together() -> Iterator[None]:
    """Report a collective operation that fails as the loss of another process.

    Raises:
        Interrupted: another process is gone.
    """
    try:
        yield
    except RuntimeError as error:
        raise Interrupted(
            "another process of this run ended or fell silent "
            f"({str(error).splitlines()[0][:120]}); go on from the last checkpoint with "
            "task=resume, in any number of processes",
            signal.SIGTERM,
        ) from error


@contextmanager
def in_turn() -> Iterator[None]:
    """Let the first process of each machine do what is inside before the others do it."""
    place = ranks.place()
    if place is None or not several():
        yield
        return
    if place.local == 0:
        yield
    with _together():
        group: Any = dist.new_group(backend="gloo", timeout=LOADING)
        work: Any = dist.barrier(group, async_op=True)
        while not work.is_completed():
            time.sleep(POLL)  # signals are handled between two checks
        work.wait()
    if place.local != 0:
        yield


def check_same(fingerprint: str) -> None:
    """Refuse to train if a process has other data than rank 0.

    Raises:
        DataError: a process has.
    """
    if not several():
        return
    found: list[Any] = [None] * dist.get_world_size()
    with _together():
        dist.all_gather_object(found, fingerprint)
    if wrong := [rank for rank, one in enumerate(found) if one != found[0]]:
        raise DataError(
            f"dataset: process {wrong[0]} of {len(found)} has other images than process 0 (their "
            "fingerprints differ). Give every machine the same files."
        )


def of_rank_0(values: dict[str, float]) -> dict[str, float]:
    """The `values` of rank 0."""
    if not several():
        return values
    box = [values]
    with _together():
        dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
    return box[0]


def align(model: nn.Module) -> None:
    """Give every process rank 0's parameters and buffers."""
    if not several():
        return
    with torch.no_grad(), _together():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                same = tensor.contiguous()
                dist.broadcast(same, src=0)
                tensor.copy_(same)


def mean(loss: Tensor, share: tuple[int, int] | None) -> Tensor:
    """This process's part of the mean of `loss` [b] over the whole batch, a scalar [].

    `share` is that of the batch (`data.batches.Batch`).
    """
    if share is None:
        return loss.mean()
    own, whole = share
    return loss[:own].sum() / whole


def summed(
    parameters: Sequence[nn.Parameter], terms: Mapping[str, Tensor], share: tuple[int, int]
) -> tuple[dict[str, Tensor], Tensor]:
    """Sum gradients and terms over all processes, in one exchange.

    Returns:
        The terms' sums over the whole batch, each [1], and the mean loss, [].
    """
    own, whole = share
    gradients = [p.grad for p in parameters if p.grad is not None]
    sums = torch.stack([term.detach()[:own].sum().float() for term in terms.values()])
    flat = torch.cat([*(gradient.reshape(-1) for gradient in gradients), sums])
    with _together():
        dist.all_reduce(flat)
    *parts, sums = torch.split(flat, [*(gradient.numel() for gradient in gradients), len(sums)])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))
    found = {name: sums[i : i + 1] for i, name in enumerate(terms)}
    return found, found["loss"][0] / whole


class Agreement:
    """Agrees with the other processes on why training ends, so that all end at the same step.

    A message is received one step after it was sent, so that no process waits for it.
    """

    def __init__(self) -> None:
        self._pending: tuple[Any, Tensor] | None = None

    def reason(self, own: str | None, stop: StopRequests) -> str | None:
        """The reason for all processes to stop now, or None; `own` is that of this process."""
        if not several():
            return own
        heard = 0
        with _together():
            if self._pending is not None:
                work, word = self._pending
                work.wait()
                heard = int(word)
            over = _OVER if own is not None and dist.get_rank() == 0 else 0
            word = torch.tensor(over if stop.received is None else _OVER + stop.received)
            self._pending = dist.all_reduce(word, dist.ReduceOp.MAX, async_op=True), word
        if heard > _OVER:
            stop.received = stop.received or heard - _OVER
            return "interrupted"
        return (own or "over") if heard else None
