"""Train, validation and test data as whole tensors.

Letters: N images of a split, B batch, E the event shape (C, H, W), or (F,) for flat vectors.
"""

import hashlib
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Split:
    """The images of one split, kept compact until a batch is drawn.

    Attributes:
        images: uint8 or float32 [N, *E].
        labels: int64 [N], or None.
        scale: the stored value that means 1.0 (255 for 8-bit images; 1 for floats in [0, 1]).
        resample: grey values are probabilities of binary pixels, drawn afresh at every visit
            (dynamic binarization); never set for validation or test.
        factors: int64 [N, F], the number of each factor's value that an image was made from, or
            None; metrics of disentanglement compare codes with them.
        unordered: the columns of `factors` whose values are names, and not steps of a quantity.
    """

    images: Tensor
    labels: Tensor | None = None
    scale: float = 1.0
    resample: bool = False
    factors: Tensor | None = None
    unordered: tuple[int, ...] = ()

    def __len__(self) -> int:
        return self.images.shape[0]

    @property
    def event_shape(self) -> tuple[int, ...]:
        """E: (C, H, W), or (F,) for flat vectors."""
        return tuple(self.images.shape[1:])

    @property
    def levels(self) -> int | None:
        """L, where pixels lie on the grid v/(L-1): 256 in 8-bit images; None for floats."""
        if self.resample:
            return 2
        whole = not self.images.is_floating_point() and float(self.scale).is_integer()
        return int(self.scale) + 1 if whole else None

    @property
    def has_grey(self) -> bool:
        """Whether any pixel that is visited lies strictly between 0 and 1."""
        if self.resample:
            return False
        return bool(((self.images > 0) & (self.images < self.scale)).any())

    def pixels(self, index: Tensor | slice) -> Tensor:
        """Images `index` as float32 [B, *E]; 8-bit data fall in [0, 1]."""
        chosen = self.images[index].to(torch.float32)
        if self.scale != 1.0:
            return chosen * (1.0 / self.scale)
        # A slice of floats is a view: whoever writes into a batch must not reach the data.
        return chosen.clone() if isinstance(index, slice) else chosen

    def to(self, device: torch.device) -> "Split":
        """The same split with its tensors on `device`."""
        labels = None if self.labels is None else self.labels.to(device)
        factors = None if self.factors is None else self.factors.to(device)
        return replace(self, images=self.images.to(device), labels=labels, factors=factors)

    def take(self, index: Tensor) -> "Split":
        """The sub-split of the images `index` (int64 [M])."""
        labels = None if self.labels is None else self.labels[index]
        factors = None if self.factors is None else self.factors[index]
        return replace(self, images=self.images[index], labels=labels, factors=factors)


@dataclass(frozen=True)
class Splits:
    """Three different sets of images of one event shape.

    Attributes:
        train, val, test: the sets; only `val` may hold no image (`val_size=0`).
        class_names: the name of label i at place i, or None.
        others: what `classes` left out of the test set, or None.
    """

    train: Split
    val: Split
    test: Split
    class_names: tuple[str, ...] | None = None
    others: Split | None = None

    @property
    def event_shape(self) -> tuple[int, ...]:
        """E: (C, H, W), or (F,) for flat vectors."""
        return self.train.event_shape

    @property
    def levels(self) -> int | None:
        """L, where pixels lie on the grid v/(L-1), and None for floats; all splits agree."""
        return self.train.levels

    def to(self, device: torch.device) -> "Splits":
        """The same splits with their tensors on `device`."""
        others = None if self.others is None else self.others.to(device)
        train, val, test = self.train.to(device), self.val.to(device), self.test.to(device)
        return replace(self, train=train, val=val, test=test, others=others)

    def fingerprint(self) -> str:
        """SHA-256 over the bytes of all three splits, in hexadecimal: equal data, equal text."""
        digest = hashlib.sha256()
        for split in (self.train, self.val, self.test):
            header = (tuple(split.images.shape), split.images.dtype, split.scale)
            digest.update(repr(header).encode())
            digest.update(split.images.cpu().contiguous().numpy().data)
            if split.labels is not None:
                digest.update(split.labels.cpu().contiguous().numpy().data)
        return digest.hexdigest()
