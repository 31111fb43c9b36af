"""Train, validation and test data as tensors, in memory or memory-mapped from a file.

Letters: N images of a split, B batch, E the event shape (C, H, W), or (F,) for flat vectors.
"""

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vae_run.data.columns import Columns
from vae_run.data.mapped import Mapped, sent
from vae_run.data.scaling import Scaling
from vae_run.data.webdataset.stream import Stream
from vae_run.system.nouns import noun_of

_CHUNK_BYTES = 2**22
"""Size of the pieces that whole splits are processed in."""


@dataclass(frozen=True)
class Split:
    """The images of one split, stored as bytes until a batch is drawn.

    Attributes:
        images: uint8 or float32 [N, *E]; with `mapped`, all images of the file as uint8, on the
            CPU and read-only.
        labels: int64 [N], or None.
        scale: the stored value that means 1.0 (255 for 8-bit images; 1 for floats in [0, 1]).
        resample: whether grey values are probabilities of binary pixels, sampled anew each time an
            image is visited (dynamic binarization); always False for validation and test.
        factors: int64 [N, F], the index of the value of each generative factor, or None; metrics
            of disentanglement compare codes with them.
        unordered: the columns of `factors` that are categorical.
        mapped: which of `images` are the split's, if they are memory-mapped; None: all, in memory.
            Labels, factors and names have only the N rows; with `mapped` they stay on the CPU too.
        names: str [N], what each image is called, such as its file or key; None: no names.
        conditions: what a model with several conditions is given: [N, P], float64 in the units that
            were read, float32 once `conditions.conditioned`; or None.
        index: int64 [N] on the CPU, each image's place in the source's split, before classes were
            chosen and sets were cut; None: 0 to N-1.
    """

    images: Tensor
    labels: Tensor | None = None
    scale: float = 1.0
    resample: bool = False
    factors: Tensor | None = None
    unordered: tuple[int, ...] = ()
    mapped: Mapped | None = None
    names: NDArray[np.str_] | None = None
    index: Tensor | None = None
    conditions: Tensor | None = None

    def __len__(self) -> int:
        return self.images.shape[0] if self.mapped is None else len(self.mapped.rows)

    @property
    def device(self) -> torch.device:
        """The device of the pixels and labels that are returned."""
        return self.images.device if self.mapped is None else self.mapped.device

    @property
    def event_shape(self) -> tuple[int, ...]:
        """E: (C, H, W), or (F,) for flat vectors."""
        return tuple(self.images.shape[1:])

    @property
    def image_bytes(self) -> int:
        """Bytes of a stored image."""
        return math.prod(self.event_shape) * self.images.element_size()

    @property
    def levels(self) -> int | None:
        """L, if pixels lie on the grid v/(L-1): 256 for 8-bit images; None for floats."""
        if self.resample:
            return 2
        whole = not self.images.is_floating_point() and float(self.scale).is_integer()
        return int(self.scale) + 1 if whole else None

    @property
    def has_grey(self) -> bool:
        """Whether any pixel lies strictly between 0 and 1; False if pixels are resampled."""
        grey = (bool(((x > 0) & (x < self.scale)).any()) for x in self.chunks())
        return not self.resample and any(grey)

    @property
    def extent(self) -> tuple[float, float]:
        """Least and greatest pixel value; (0, 1), the range of bytes, if images are mapped."""
        if self.mapped is not None:
            return 0.0, 1.0
        return float(self.images.min()) / self.scale, float(self.images.max()) / self.scale

    def stored(self, index: Tensor | slice) -> Tensor:
        """The images `index` in their stored type, on the split's device.

        `index` is on the CPU if images are mapped, else on their device.
        """
        rows = index if self.mapped is None else self.mapped.rows[index]
        if not isinstance(rows, Tensor):
            return self.images[rows]
        # `index_select` copies whole rows, where images[rows] copies pixel by pixel.
        chosen = self.images.index_select(0, rows)
        return chosen if self.mapped is None else sent(chosen, self.device)

    def chunks(self) -> Iterator[Tensor]:
        """All images in their stored type, in pieces of bounded size."""
        step = max(1, _CHUNK_BYTES // self.image_bytes)
        for start in range(0, len(self), step):
            yield self.stored(slice(start, start + step))

    def pixels(self, index: Tensor | slice) -> Tensor:
        """The images `index` (see `stored`) as float32 [B, *E]; 8-bit data are in [0, 1]."""
        chosen = self.stored(index).to(torch.float32)
        if self.scale != 1.0:
            return chosen * (1.0 / self.scale)
        # A slice of floats is a view; writing into a batch must not change the data.
        return chosen.clone() if isinstance(index, slice) else chosen

    def label(self, index: Tensor | slice) -> Tensor | None:
        """Labels of the images `index` (see `stored`), int64 [B] on the split's device, or None."""
        return self._chosen(self.labels, index)

    def beside(self, index: Tensor | slice) -> tuple[Tensor | None, Tensor | None]:
        """Labels [B] and conditions [B, P] of the images `index`, as `label`."""
        return self.label(index), self._chosen(self.conditions, index)

    def given(self, index: Tensor | slice) -> Tensor | None:
        """What a conditional model is given for the images `index`: conditions, else labels."""
        labels, conditions = self.beside(index)
        return labels if conditions is None else conditions

    def _chosen(self, values: Tensor | None, index: Tensor | slice) -> Tensor | None:
        chosen = None if values is None else values[index]
        return chosen if chosen is None or self.mapped is None else sent(chosen, self.device)

    def to(self, device: torch.device) -> "Split":
        """The same split with its tensors on `device`; mapped images are sent there by batch."""
        if self.mapped is not None:
            return replace(self, mapped=replace(self.mapped, device=torch.device(device)))
        beside = self._each_beside(lambda values: values.to(device))
        return replace(self, images=self.images.to(device), **beside)

    def _each_beside(self, change: Callable[[Tensor], Tensor]) -> dict[str, Any]:
        """Labels, factors and conditions, each changed where there is one."""
        found = {key: getattr(self, key) for key in ("labels", "factors", "conditions")}
        return {key: None if held is None else change(held) for key, held in found.items()}

    def in_memory(self) -> "Split":
        """The same split with its images in memory."""
        if self.mapped is None:
            return self
        return replace(self, images=self.images.index_select(0, self.mapped.rows), mapped=None)

    def take(self, index: Tensor) -> "Split":
        """Those of the images `index` (int64 [M], on the device of `images`)."""
        beside = self._each_beside(lambda values: values[index])
        names = None if self.names is None else self.names[index.cpu().numpy()]
        places = index.cpu() if self.index is None else self.index[index.cpu()]
        chosen = replace(self, names=names, index=places, **beside)
        if self.mapped is None:
            return replace(chosen, images=self.images[index])
        return replace(chosen, mapped=replace(self.mapped, rows=self.mapped.rows[index]))


@dataclass(frozen=True)
class Splits:
    """Three disjoint sets of images of one event shape; only `val` may be empty (`val_size=0`).

    Attributes:
        class_names: the name of label i at index i, or None.
        others, val_others: test and val images of classes that `dataset.classes` excludes, or None.
        stream: the training images, if they are read from disk in every epoch; `train` is then a
            sample of them, to fit to and to measure on. None: `train` has all training images.
        notes: sentences about how the source was understood and what of it was left out.
        table: the columns that a table's features were made from; None: the data are no table.
        scaling: what was done to the values of other data; None: nothing.
        conditions: what the columns of `Split.conditions` are, or None.
        white: the stored value of white as the data were read; None: the dataset has a fixed one.
    """

    train: Split
    val: Split
    test: Split
    class_names: tuple[str, ...] | None = None
    others: Split | None = None
    val_others: Split | None = None
    stream: Stream | None = None
    notes: tuple[str, ...] = ()
    table: Columns | None = None
    scaling: Scaling | None = None
    conditions: Columns | None = None
    white: int | None = None

    @property
    def columns(self) -> tuple[str, ...] | None:
        """The names [F] of the features of a table's rows; None: the data are no table."""
        return None if self.table is None else self.table.features

    @property
    def noun(self) -> str:
        """What the examples are called."""
        return noun_of(self.event_shape, table=self.table is not None)

    @property
    def train_size(self) -> int:
        """Number of training images in an epoch."""
        return len(self.train) if self.stream is None else self.stream.images

    @property
    def event_shape(self) -> tuple[int, ...]:
        """E: (C, H, W), or (F,) for flat vectors."""
        return self.train.event_shape

    @property
    def levels(self) -> int | None:
        """L, if pixels lie on the grid v/(L-1), None for floats; the same for all splits."""
        return self.train.levels

    def to(self, device: torch.device) -> "Splits":
        """The same splits with their tensors on `device`."""
        return self.each(lambda split: split.to(device))

    def each(self, changed: Callable[[Split], Split]) -> "Splits":
        """The same splits, each of them and of what was left out `changed`."""
        names = "train", "val", "test", "others", "val_others"
        held = [name for name in names if getattr(self, name) is not None]
        new: dict[str, Any] = {name: changed(getattr(self, name)) for name in held}
        return replace(self, **new)

    def fingerprint(self) -> str:
        """SHA-256 of all three splits, in hexadecimal; of a stream, its shards' names and sizes."""
        digest = hashlib.sha256()
        for split in (self.train, self.val, self.test):
            shape = (len(split), *split.event_shape)
            digest.update(repr((shape, split.images.dtype, split.scale)).encode())
            for images in split.chunks():
                digest.update(images.cpu().contiguous().numpy().data)
            for beside in (split.labels, split.conditions):
                if beside is not None:
                    digest.update(beside.cpu().contiguous().numpy().data)
        if self.stream is not None:
            digest.update(self.stream.fingerprint().encode())
        return digest.hexdigest()
