"""Scalars for TensorBoard, each with the unit and the meaning of its quantity."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.scalar.metadata import create_summary_metadata

from vae_run.evaluation.quantities import quantities_of

if TYPE_CHECKING:
    from vae_run.evaluation.quantity import Quantities


class DescribedScalars:
    """Makes values of the scalars of the run in `directory`.

    TensorBoard keeps the description that comes with the first value of a tag, so only that one
    carries it. The run's own quantities are read with its first scalar: by then, they are written.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._table: Quantities | None = None
        self._described: set[str] = set()

    def value(self, split: str, name: str, value: float) -> Summary.Value:
        """`value` of the quantity `name`, tagged `split/name`."""
        tag = f"{split}/{name}"
        found = Summary.Value(tag=tag, simple_value=float(value))
        if tag not in self._described:
            self._described.add(tag)
            about = create_summary_metadata(tag, self._description(name))
            found.metadata.CopyFrom(about)
        return found

    def _description(self, name: str) -> str:
        """Meaning and unit, as Markdown; "" of a quantity that nothing declares."""
        if self._table is None:
            self._table = quantities_of([self._directory])
        row = self._table.of(name)
        unit = f"**{row.unit}**" if row.unit else ""
        return ": ".join(part for part in (unit, row.text) if part)
