"""The number of CPU threads of a training, by the arithmetic of a step.

Threads that share a product wait for each other about forty times a step. A small network gains
less from a second thread than this costs, and with sixteen it is slower than with one. How large a
step must be for another thread depends on the processor: with vectors of half the width a product
takes about twice as long, and the waits as long as before.

Letters: B images of a forward pass, D latent dimensions, E event shape.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from vae_run.evaluation.codes import evaluating
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.system.hardware import threads_are_chosen

if TYPE_CHECKING:
    from vae_run.training.experiment import Experiment

log = logging.getLogger("vae_run")

WIDE_FLOPS = 0.8e9
"""Operations of a step for each thread beyond the first, on a processor with AVX-512."""

NARROW_FLOPS = WIDE_FLOPS / 2
"""The same with vectors of 256 bits or fewer (AVX2, ARM); `benchmarks/threads.py` measures both."""


def threads_of(experiment: Experiment, recorded: Mapping[str, Any]) -> int:
    """The threads that `experiment` is trained with.

    They are `trainer.threads`; else, for a run that goes on, those that `recorded`, its
    `environment.json`, names, so that it goes on to the same bits; else OMP_NUM_THREADS; else those
    that the arithmetic of a step keeps busy (`by_arithmetic`). There are never more than the cores
    that the program has, except by `trainer.threads`.
    """
    granted, trainer = torch.get_num_threads(), experiment.settings.parts["trainer"]
    if chosen := trainer.get("threads"):
        return int(chosen)
    before = recorded.get("threads")
    if before is not None:
        if before > granted:
            log.warning(
                "the run was trained with %d threads, and there are %d here: sums may round "
                "differently",
                before,
                granted,
            )
        return int(min(before, granted))
    if threads_are_chosen() or experiment.device.type != "cpu" or "batch_size" not in trainer:
        return granted
    images = math.ceil(trainer["batch_size"] / trainer.get("accumulate", 1))
    flops = step_flops(
        experiment.model,
        torch.zeros(1, *experiment.splits.event_shape),
        latent_dim=experiment.settings.fixed.latent_dim,
        samples=max(1, experiment.objective.samples),
        images=images,
    )
    return by_arithmetic(flops, granted, flops_a_thread())


def flops_a_thread() -> float:
    """`WIDE_FLOPS` where torch computes with AVX-512, else `NARROW_FLOPS`."""
    return WIDE_FLOPS if torch.backends.cpu.get_cpu_capability() == "AVX512" else NARROW_FLOPS


def by_arithmetic(flops: float, granted: int, each: float) -> int:
    """One thread, and one more for every `each` of the `flops` of a step; at most `granted`."""
    return min(granted, 1 + int(flops / each))


@contextmanager
def computing_with(threads: int) -> Iterator[None]:
    """Let torch compute with `threads` threads inside, and with as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def step_flops(
    model: LatentVariableModel, image: Tensor, *, latent_dim: int, samples: int, images: int
) -> float:
    """Floating-point operations of the products and convolutions of a step.

    Those of a forward pass, two for each multiplication and addition, three times: the backward
    pass takes twice as many as the forward pass.

    Args:
        model: encoder and decoder.
        image: [1, *E].
        latent_dim: D.
        samples: codes that are decoded for each image.
        images: B.
    """
    at = next(model.parameters()).device
    x, noise = image.to(at).float(), torch.full((1, latent_dim), 0.5, device=at)
    with evaluating(model):
        with _Products() as encoding:
            given = model.given(model.in_turn(1)).beside(x)
            z = given.posterior.sample(given.encode(x), noise)
        with _Products() as decoding:
            given.decode(z)
    multiplications: int = encoding.count + samples * decoding.count
    return 3.0 * 2.0 * images * multiplications


class _Products(TorchFunctionMode):
    """Counts the multiplications of products and convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.count: int = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name in ("linear", "matmul", "mm", "bmm", "__matmul__"):
            self.count += found.numel() * args[0].shape[-1]
        elif name in ("addmm", "baddbmm"):
            self.count += found.numel() * args[1].shape[-1]
        elif name.startswith("conv_transpose"):
            self.count += args[0].numel() * args[1][0].numel()
        elif name in ("conv1d", "conv2d"):
            self.count += found.numel() * args[1][0].numel()
        return found
