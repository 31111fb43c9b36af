"""A model before a split, as metrics and pictures see it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vae_run.corruptions import Corruption
from vae_run.data.batches import Batch, evaluation_batches
from vae_run.data.columns import Columns
from vae_run.data.scaling import Scaling
from vae_run.data.splits import Split
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.objectives import Objective
from vae_run.system.nouns import noun_of, speaking_of


@dataclass(frozen=True)
class View:
    """A model before a split, as metrics and pictures see it.

    `epoch` is the time that the objective's warm-up reads; batches carry fixed noise. `train` is
    the training split, for metrics that fit something to it, and `others` are the images
    of the classes left out, where this is val or test. `table` are the columns that the
    features were made from, if the data are rows of a table; `scaling` is what was done to the
    values of other data. `first` is the index of the first image in the whole of which `split` is
    a piece; noise depends on it. Of a split of more than `limit` images so many are visited,
    evenly spaced, so that all classes are among them where files are sorted by class.
    """

    model: LatentVariableModel
    objective: Objective
    corruption: Corruption
    split: Split
    latent_dim: int
    batch_size: int = 1000
    epoch: float = 0.0
    limit: int | None = None
    importance_samples: int = 100
    train: Split | None = None
    others: Split | None = None
    class_names: tuple[str, ...] = ()
    table: Columns | None = None
    scaling: Scaling | None = None
    manifold_label: int | None = None
    first: int = 0

    @property
    def size(self) -> int:
        """Images that `batches` visits."""
        return len(self.split) if self.limit is None else min(self.limit, len(self.split))

    @property
    def visited(self) -> Split:
        """The images that `batches` visits: the whole split, or `limit` of it."""
        if self.size == len(self.split):
            return self.split
        return self.chosen(spaced(len(self.split), self.size)).split

    def chosen(self, index: Tensor) -> View:
        """The same view of the images `index` of the split alone, int64 [M]."""
        split = self.split.take(index.to(self.split.images.device))
        return replace(self, split=split, limit=None)

    def drawn(self, images: Tensor) -> Tensor:
        """Images [..., *E] of the model as pictures show them (`Scaling.drawn`), on the CPU."""
        return images.cpu() if self.scaling is None else self.scaling.drawn(images)

    @property
    def noun(self) -> str:
        """What the examples are called."""
        return noun_of(self.split.event_shape, table=self.table is not None)

    def said(self, text: str) -> str:
        """A text of a picture about images and pixels, in the words for these data."""
        return speaking_of(text, self.noun)

    @property
    def drawn_note(self) -> str:
        """What a picture adds to its note about the values it shows; nothing if not scaled."""
        return "" if self.scaling is None else f"; {self.scaling.note}"

    def batches(self) -> Iterator[Batch]:
        return evaluation_batches(
            self.visited,
            self.corruption,
            batch_size=self.batch_size,
            noise=(max(1, self.objective.samples), self.latent_dim),  # metrics use one
            first=self.first,
        )


def spaced(total: int, count: int) -> Tensor:
    """Indices of at most `count` of `total` images, evenly spaced, int64 [min(count, total)]."""
    few = min(count, total)
    return torch.arange(few) * (total - 1) // max(few - 1, 1)
