"""Running out of memory as a message that says what to lower."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from vae_run.config.schema import Settings
from vae_run.errors import MemoryShortError


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
