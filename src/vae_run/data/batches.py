"""Minibatches gathered on the device, in a seeded order, with seeded noise.

Letters: N images of a split, K samples, B batch, D latent dimensions, E event shape.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vae_run.corruptions import Corruption
from vae_run.data.draws import Draws, go_on
from vae_run.data.splits import Split
from vae_run.system import ranks

NOISE_CHUNK = 256
"""Images that share one generator of evaluation noise, independently of the batch size."""


@dataclass(frozen=True)
class Batch:
    """B images with the noise that an objective needs.

    Attributes:
        input: [B, *E], corrupted.
        target: [B, *E], clean, in [0, 1].
        noise: [K, B, D], standard normal, for K posterior samples per image.
        label: int64 [B], or None.
        conditions: float32 [B, P] of a model with several conditions, or None.
        share: (images of this process that count, images of the whole batch), if several processes
            divide a batch among them; None: this is the whole batch.
    """

    input: Tensor
    target: Tensor
    noise: Tensor
    label: Tensor | None = None
    conditions: Tensor | None = None
    share: tuple[int, int] | None = None

    @property
    def given(self) -> Tensor | None:
        """What a conditional model is given (`LatentVariableModel.given`)."""
        return self.label if self.conditions is None else self.conditions

    def __len__(self) -> int:
        return self.target.shape[0]

    @property
    def whole(self) -> int:
        """Number of images of the whole batch."""
        return len(self) if self.share is None else self.share[1]


def seeded(device: torch.device | str, *key: object) -> torch.Generator:
    """A generator on `device` seeded with a hash of `key`, independent of those of other keys."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "big") >> 1)


class TrainingBatches:
    """An endless, seeded and resumable sequence of training batches.

    Each epoch visits every image once in a fresh order; its last batch may be smaller. The order
    is drawn on the CPU, so it is the same on every device. If several processes train together,
    each draws the order and the noise of whole batches, and gathers only its share of the images.
    """

    def __init__(
        self,
        split: Split,
        corruption: Corruption,
        *,
        batch_size: int,
        noise: tuple[int, int],
        seed: int,
    ) -> None:
        """`noise` is (K, D): posterior samples per image, and latent dimensions."""
        self.split, self.corruption = split, corruption
        self.batch_size, self.noise_shape = batch_size, noise
        self.device = split.device
        self.steps_per_epoch = -(-self.images // batch_size)
        self._order_generator = seeded("cpu", "order", seed)
        self._noise_generator = seeded(self.device, "noise", seed)
        self._position = 0
        self._shuffle()

    @property
    def images(self) -> int:
        """Number of training images of an epoch."""
        return len(self.split)

    def _shuffle(self) -> None:
        self._epoch_state = self._order_generator.get_state()
        order = torch.randperm(len(self.split), generator=self._order_generator)
        self._order = order.to(self.split.images.device)

    @property
    def resident(self) -> bool:
        """Whether a batch is nothing but images of the split, which are on the device."""
        return type(self) is TrainingBatches and self.split.mapped is None

    def ready(self) -> None:
        """Wait until the next batch can be taken: at once, as the images are in memory."""

    def next(self) -> Batch:
        """The next batch; starts a new epoch at the end of the current one."""
        index = self.next_index()
        mine, _ = ranks.share_of(len(index))
        return self.completed(index, self.split.pixels(index[mine]))

    def next_index(self) -> Tensor:
        """Indices of the images of the next batch, int64 [B]; pass them to `completed`."""
        if self._position >= len(self.split):
            self._position = 0
            self._shuffle()
        index = self._order[self._position : self._position + self.batch_size]
        self._position += self.batch_size
        return index

    def completed(self, index: Tensor, target: Tensor) -> Batch:
        """The batch of the images `index`, whose pixels are `target`: corrupted, with its noise."""
        mine, _ = ranks.share_of(len(index))
        return self.finished(len(index), target, *self.split.beside(index[mine]))

    def finished(
        self, whole: int, target: Tensor, label: Tensor | None, conditions: Tensor | None = None
    ) -> Batch:
        """This process's share, images `target`, of a batch of `whole` images, with its noise."""
        drawn = self.draws(whole, tuple(target.shape[1:]))
        return self.combined(whole, drawn, target, label, conditions)

    def combined(
        self,
        whole: int,
        drawn: Draws,
        target: Tensor,
        label: Tensor | None,
        conditions: Tensor | None,
    ) -> Batch:
        """This process's share, images `target`, of a batch of `whole` images, with `drawn`."""
        _, share = ranks.share_of(whole)
        if drawn.uniform is not None:
            target = (drawn.uniform < target).to(target.dtype)
        corrupted = self.corruption.apply(target, drawn.corrupting)
        return Batch(corrupted, target, drawn.noise, label, conditions, share)

    def draws(self, whole: int, event_shape: tuple[int, ...]) -> Draws:
        """The random numbers of this process's share of the next batch, of `whole` images."""
        mine, _ = ranks.share_of(whole)
        generator, device = self._noise_generator, self.device
        shape = torch.Size((whole, *event_shape))
        uniform = None
        if self.split.resample:
            uniform = torch.rand(shape, generator=generator, device=device)[mine]
        corrupting = self.corruption.noise(shape, generator)
        corrupting = None if corrupting is None else corrupting[mine]
        samples, latent_dim = self.noise_shape
        noise = torch.randn((samples, whole, latent_dim), generator=generator, device=device)
        return Draws(uniform, corrupting, noise[:, mine])

    def state_dict(self) -> dict[str, Any]:
        """The position in the sequence, from which `load_state_dict` continues exactly."""
        return {
            "order": self._epoch_state,
            "position": self._position,
            "noise": self._noise_generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from where `state_dict` was called."""
        self._order_generator.set_state(state["order"])
        self._shuffle()
        self._position = state["position"]
        go_on(self._noise_generator, state["noise"])


def _per_image(
    draw: Callable[[torch.Generator], Tensor | None],
    start: int,
    stop: int,
    device: torch.device,
    *key: object,
) -> Tensor | None:
    """Random numbers of the images start..stop, independent of how a split is batched."""
    pieces = []
    for chunk in range(start // NOISE_CHUNK, -(-stop // NOISE_CHUNK)):
        drawn = draw(seeded(device, *key, chunk))
        if drawn is None:
            return None
        base = chunk * NOISE_CHUNK
        pieces.append(drawn[max(0, start - base) : stop - base])
    return torch.cat(pieces) if len(pieces) > 1 else pieces[0]


def evaluation_batches(
    split: Split,
    corruption: Corruption,
    *,
    batch_size: int,
    noise: tuple[int, int],
    limit: int | None = None,
    first: int = 0,
) -> Iterator[Batch]:
    """Every image of `split` once, in order (or the first `limit`), with fixed noise.

    The noise depends only on an image's index, which counts from `first`: not on the run's seed,
    the batch size or earlier evaluations.
    """
    device, shape = split.device, split.event_shape
    samples, latent_dim = noise
    total = len(split) if limit is None else min(limit, len(split))

    def uniform(generator: torch.Generator) -> Tensor:
        return torch.rand((NOISE_CHUNK, *shape), generator=generator, device=device)

    def normal(generator: torch.Generator) -> Tensor:
        return torch.randn((NOISE_CHUNK, samples, latent_dim), generator=generator, device=device)

    def corrupting(generator: torch.Generator) -> Tensor | None:
        return corruption.noise(torch.Size((NOISE_CHUNK, *shape)), generator)

    for start in range(0, total, batch_size):
        stop = min(start + batch_size, total)
        places = (first + start, first + stop)
        target = split.pixels(slice(start, stop))
        if split.resample:
            grey = _per_image(uniform, *places, device, "evaluation binarization")
            assert grey is not None
            target = (grey < target).to(target.dtype)
        drawn = _per_image(corrupting, *places, device, "evaluation corruption")
        codes = _per_image(normal, *places, device, "evaluation noise")
        assert codes is not None
        parts = (target, codes.transpose(0, 1), *split.beside(slice(start, stop)))
        yield Batch(corruption.apply(target, drawn), *parts)
