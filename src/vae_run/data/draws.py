"""The random numbers of training batches, and how their sequence goes on after a checkpoint.

Letters: K samples, B batch, D latent dimensions, E event shape.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Draws:
    """The random numbers of a batch, or of this process's share of it.

    Attributes:
        uniform: [B, *E] in [0, 1), where grey values are probabilities; else None.
        corrupting: what the corruption draws, or None.
        noise: [K, B, D], standard normal.
    """

    uniform: Tensor | None
    corrupting: Tensor | None
    noise: Tensor


def go_on(generator: torch.Generator, state: Tensor) -> None:
    """Continue `generator` from `state`, which a generator on any device may have saved.

    Devices have generators of different kinds. From the state of another kind the sequence does not
    go on; a new one begins, which depends on that state alone.
    """
    if state.shape == generator.get_state().shape:
        generator.set_state(state)
        return
    digest = hashlib.sha256(state.cpu().numpy().tobytes()).digest()
    generator.manual_seed(int.from_bytes(digest[:8], "big") >> 1)
