"""Running out of memory as a message that says what to lower."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from vae_run.config.schema import Settings
from vae_run.errors import MemoryShortError
from vae_run.system.hardware import granted_memory

COPIES = 4
"""Copies of the weights that training holds: values, gradients, and two moments of Adam."""


@contextmanager
def enough_memory(settings: Settings) -> Iterator[None]:
    """Report that the memory of the device does not suffice for what is inside.

    Raises:
        MemoryShortError: it does not suffice; the message names the keys to lower.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        text = str(error)
        if type(error) is RuntimeError and "can't allocate memory" not in text:
            raise
        trained = settings.parts["trainer"].get("batch_size")
        measured = settings.parts["evaluation"].get("batch_size")
        lower = [
            f"{key} (found {size})"
            for key, size in (("trainer.batch_size", trained), ("evaluation.batch_size", measured))
            if size is not None
        ]
        raise MemoryShortError(
            f"device={settings.fixed.device}: its memory is too small ({text.splitlines()[0]}). "
            f"Lower {' or '.join(lower) or 'latent_dim'}, use a smaller network, or a device with "
            "more memory."
        ) from error


@contextmanager
def weights_that_fit(device: torch.device) -> Iterator[None]:
    """Stop building a model whose weights take more memory than this process is granted.

    The system would end the process without a word: memory is given out when it is filled, and a
    control group kills what exceeds its limit. Weights are counted before they are filled.

    Args:
        device: that the model is trained on; a model for a GPU is in the memory of the CPU once.

    Raises:
        MemoryShortError: they do; the message names the keys to lower.
    """
    granted, copies = granted_memory(), COPIES if device.type == "cpu" else 1
    size = 0

    def registered(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal size
        size += 0 if parameter is None else parameter.nbytes
        if copies * size > granted:
            raise MemoryShortError(
                f"network: the model has {size / 2**30:,.1f} GiB of weights or more, which take "
                f"{copies} times as much, and {granted / 2**30:,.1f} GiB of memory are granted. "
                "Use a smaller network, or a lower latent_dim."
            )

    handle = register_module_parameter_registration_hook(registered)
    try:
        yield
    finally:
        handle.remove()
