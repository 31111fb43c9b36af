"""TensorBoard as a tracker: an event file in the run directory."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.api_pb2 import STATUS_SUCCESS
from tensorboard.plugins.hparams.plugin_data_pb2 import (
    HParamsPluginData,
    SessionEndInfo,
    SessionStartInfo,
)
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig
from torch import Tensor
from torch.nn.functional import interpolate, pad

from vae_run.evaluation.quantities import TABLE
from vae_run.evaluation.quantity import NATS, Place
from vae_run.tracking import summaries
from vae_run.tracking.event_file import EventFile
from vae_run.tracking.event_reader import as_bytes, scalars_at
from vae_run.tracking.projector import write_points
from vae_run.tracking.scalar_descriptions import DescribedScalars
from vae_run.tracking.tracker import Tracker

if TYPE_CHECKING:
    from numpy.typing import NDArray

THUMBNAIL = 64
"""Pixels of the side of a thumbnail: browsers take sprites of up to 8192 pixels."""

LAYOUT = {
    f"bound ({NATS})": {name: [f"train/{name}", f"val/{name}"] for name in TABLE.shown(Place.CHART)}
}


def thumbnails(images: Tensor) -> Tensor:
    """`images` [N, C, H, W] as the projector's sprite needs them: padded to squares, and small."""
    height, width = images.shape[-2:]
    side = max(height, width)
    square = pad(images, (0, side - width, 0, side - height))
    return square if side <= THUMBNAIL else interpolate(square, THUMBNAIL, mode="area")


class TensorBoard(Tracker):
    """Writes TensorBoard's event file, and the projector's files, into the run directory."""

    def start(self, run: Path, resumed_step: int | None) -> None:
        """Open a new event file; the page's layout is written into the first one of a run."""
        self._run, self._projector = run, ProjectorConfig()
        self._scalars, self._resumed = DescribedScalars(run), resumed_step
        # A run that was killed while it closed writes its last scalars again, at the same step.
        self._there = {} if resumed_step is None else scalars_at(run, resumed_step)
        first = next(run.glob("events.out.tfevents.*"), None) is None
        self._events = EventFile(run, None if resumed_step is None else resumed_step + 1)
        if first:
            self._events.add(summaries.layout(LAYOUT))

    def scalars(self, split: str, values: Mapping[str, float], step: int) -> None:
        found = [self._scalars.value(split, name, value) for name, value in values.items()]
        if step == self._resumed:
            found = [one for one in found if self._there.get(one.tag) != as_bytes(one)]
        if found:
            self._events.add(*found, step=step)

    def text(self, name: str, markdown: str) -> None:
        self._events.add(summaries.text(name, markdown))

    def pictures(self, pictures: Mapping[str, NDArray[Any]], step: int) -> None:
        for name, picture in pictures.items():
            self._events.add(summaries.picture(f"images/{name}", picture), step=step)

    def histogram(self, name: str, values: Tensor, step: int) -> None:
        self._events.add(summaries.histogram(name, values), step=step)

    def embedding(
        self, name: str, points: Tensor, labels: Tensor | None, images: Tensor | None, step: int
    ) -> None:
        """Write the projector's files, with small square thumbnails of `images`."""
        wide = pad(points, (0, max(0, 3 - points.shape[1])))  # it draws nothing below 3 dimensions
        about = None if labels is None else [str(label) for label in labels.tolist()]
        small = None if images is None else thumbnails(images)
        folder = f"projector_step_{step:05d}"
        info = write_points(self._run, f"{folder}/{quote(name, safe='')}", wide, about, small)
        info.tensor_name = f"{name}:{folder}"
        self._projector.embeddings.append(info)
        page = self._run / "projector_config.pbtxt"
        page.write_text(str(self._projector), encoding="utf-8")

    def hparams(self, values: Mapping[str, Any]) -> None:
        """Begin a row of the HParams page with the cells `values`; None is an empty cell.

        The page's columns are not declared: TensorBoard would take the declaration of the first
        run for all of them. Without one it collects the columns of all runs, finds the type of
        each, and puts those that differ first.
        """
        info = SessionStartInfo(start_time_secs=time.time())
        for key, value in values.items():
            if isinstance(value, bool):
                info.hparams[key].bool_value = value
            elif isinstance(value, (int, float)):
                info.hparams[key].number_value = value
            elif value is not None:
                info.hparams[key].string_value = str(value)
        self._row("_hparams_/session_start_info", HParamsPluginData(session_start_info=info))

    def succeeded(self) -> None:
        """End the row of the HParams page.

        Only success is recorded: TensorBoard keeps the first status that it reads, and a run that
        failed may go on.
        """
        info = SessionEndInfo(status=STATUS_SUCCESS, end_time_secs=time.time())
        self._row("_hparams_/session_end_info", HParamsPluginData(session_end_info=info))

    def _row(self, tag: str, data: HParamsPluginData) -> None:
        data.version = 0
        self._events.add(Summary.Value(tag=tag, metadata=summaries.about("hparams", data)))

    def flush(self) -> None:
        self._events.flush()

    def close(self) -> None:
        self._events.close()
