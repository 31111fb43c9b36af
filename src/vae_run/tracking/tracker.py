"""What a tracker is: a part that receives what a run records while it trains."""

# ruff: noqa: B027 (a tracker leaves the methods that it has no use for as they are)

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


class Tracker(ABC):
    """Receives what a run records, by the names, steps and units of TensorBoard's.

    Only `scalars` has to be written; a method that is left as it is ignores what it is given. The
    constructor takes the options of the YAML file and opens nothing: it is also called where
    nothing is trained. Of several processes that train one model, only rank 0 has trackers.

    A method that raises never ends a training: the program warns once and calls the tracker no
    more, neither `flush` nor `close` (`vae_run.tracking.fan_out`).

    Letters: N images, D latent dimensions, C channels, H and W height and width.

    Attributes:
        receives_sweeps: whether it also receives a sweep: `start` is then given the sweep's folder.
    """

    receives_sweeps: ClassVar[bool] = False

    def start(self, run: Path, resumed_step: int | None) -> None:
        """Begin to receive the records of the run directory `run`.

        Args:
            run: the directory, which exists; a tracker may keep files of its own there.
            resumed_step: the step of the checkpoint that a resumed run continues from: records
                of later steps are sent again and replace the earlier ones. None for a new run,
                and for `task=evaluate`, which adds to a finished one.
        """

    @abstractmethod
    def scalars(self, split: str, values: Mapping[str, float], step: int) -> None:
        """Receive the numbers `values` after `step` optimiser steps.

        Args:
            split: "train", "val" or "test"; the full name of a number is `split/name`.
            values: by metric, in the metric's unit, nats per image where it has no other.
            step: optimiser steps done.
        """

    def text(self, name: str, markdown: str) -> None:
        """Receive a text: `config` is the configuration as YAML in a code block."""

    def hparams(self, values: Mapping[str, Any]) -> None:
        """Receive the hyperparameters by full key: numbers, strings, booleans, lists or None."""

    def pictures(self, pictures: Mapping[str, NDArray[Any]], step: int) -> None:
        """Receive pictures by name, each uint8 [height, width, 3]."""

    def histogram(self, name: str, values: Tensor, step: int) -> None:
        """Receive numbers whose distribution is of interest: `latent/mean` [N, D], on the CPU."""

    def embedding(
        self, name: str, points: Tensor, labels: Tensor | None, images: Tensor | None, step: int
    ) -> None:
        """Receive codes with what they stand for.

        Args:
            name: `latent`.
            points: [N, D].
            labels: int64 [N], the classes; None where the data have none.
            images: [N, C, H, W] in [0, 1] with 1 or 3 channels; None where the data are no images.
            step: optimiser steps done.
        """

    def artifact(self, path: Path) -> None:
        """Receive a file to keep: `report.html` of a run, which is whole by then."""

    def succeeded(self) -> None:
        """Learn that the run is complete. A run that fails or is interrupted may still go on."""

    def stopped_early(self, state: str) -> None:
        """Learn that the run ends early: it is "interrupted", or has "failed" or "diverged"."""

    def flush(self) -> None:
        """Make everything durable: a checkpoint is about to be written."""

    def close(self) -> None:
        """Release what `start` opened, however the run ended."""


class NoTracker(Tracker):
    """Ignores everything: with `tracker=none`, TensorBoard is the only tracker."""

    def scalars(self, split: str, values: Mapping[str, float], step: int) -> None:
        """Ignore them."""
