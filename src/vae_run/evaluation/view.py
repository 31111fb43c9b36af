"""A model before a split, as metrics and pictures see it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from vae_run.corruptions import Corruption
from vae_run.data.batches import Batch, evaluation_batches
from vae_run.data.columns import Columns
from vae_run.data.scaling import Scaling
from vae_run.data.splits import Split
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.objectives import Objective


@dataclass(frozen=True)
class View:
    """A model before a split, as metrics and pictures see it.

    `epoch` is the time that the objective's warm-up reads; batches carry fixed noise. `train` is
    the training split, for metrics that fit something to it, and `others` are the test images
    whose classes were left out, where this is the test split. `table` are the columns that the
    features were made from, if the data are rows of a table; `scaling` is what was done to the
    values of other data. `first` is the index of the first image in the whole of which `split` is
    a piece; noise depends on it.
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

    def drawn(self, images: Tensor) -> Tensor:
        """Images [..., *E] of the model as pictures show them (`Scaling.drawn`), on the CPU."""
        return images.cpu() if self.scaling is None else self.scaling.drawn(images)

    @property
    def drawn_note(self) -> str:
        """What a picture adds to its note about the values it shows; nothing if not scaled."""
        return "" if self.scaling is None else f"; {self.scaling.note}"

    def batches(self) -> Iterator[Batch]:
        return evaluation_batches(
            self.split,
            self.corruption,
            batch_size=self.batch_size,
            noise=(self.objective.samples, self.latent_dim),
            limit=self.limit,
            first=self.first,
        )
