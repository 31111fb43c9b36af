"""TensorBoard as a tracker: an event file in the run directory."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import STATUS_SUCCESS
from tensorboard.plugins.hparams.plugin_data_pb2 import (
    HParamsPluginData,
    SessionEndInfo,
    SessionStartInfo,
)
from torch import Tensor
from torch.nn.functional import interpolate, pad
from torch.utils.tensorboard.writer import SummaryWriter

from vae_run.evaluation.quantities import TABLE
from vae_run.evaluation.quantity import NATS, Place
from vae_run.tracking.scalar_descriptions import DescribedScalars
from vae_run.tracking.tracker import Tracker

if TYPE_CHECKING:
    from numpy.typing import NDArray

THUMBNAIL = 64
"""Pixels of the side of a thumbnail: browsers take sprites of up to 8192 pixels."""

LAYOUT = {
    f"bound ({NATS})": {
        name: ["Multiline", [f"train/{name}", f"val/{name}"]] for name in TABLE.shown(Place.CHART)
    }
}


def thumbnails(images: Tensor) -> Tensor:
    """`images` [N, C, H, W] as the projector's sprite needs them: padded to squares, and small."""
    height, width = images.shape[-2:]
    side = max(height, width)
    square = pad(images, (0, side - width, 0, side - height))
    return square if side <= THUMBNAIL else interpolate(square, THUMBNAIL, mode="area")


class TensorBoard(Tracker):
    """Writes TensorBoard's event file, and the projector's files, into the run directory."""

    _opened: SummaryWriter | None = None

    @property
    def _writer(self) -> SummaryWriter:
        assert self._opened is not None, "start comes first"
        return self._opened

    def start(self, run: Path, resumed_step: int | None) -> None:
        """Open a new event file; the page's layout is written into the first one of a run."""
        _let_writers_fail_quietly()
        self._scalars = DescribedScalars(run)
        purge = None if resumed_step is None else resumed_step + 1
        known = [path.name for path in run.glob("events.out.tfevents.*")]
        self._opened = SummaryWriter(str(run), purge_step=purge)
        self._opened.flush()
        if known:
            _put_last(self._opened, run, known)
        else:
            self._opened.add_custom_scalars(LAYOUT)

    def scalars(self, split: str, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._scalars.add(self._writer, split, name, value, step)

    def text(self, name: str, markdown: str) -> None:
        self._writer.add_text(name, markdown, 0)

    def pictures(self, pictures: Mapping[str, NDArray[Any]], step: int) -> None:
        for name, picture in pictures.items():
            self._writer.add_image(f"images/{name}", picture, step, dataformats="HWC")

    def histogram(self, name: str, values: Tensor, step: int) -> None:
        self._writer.add_histogram(name, values, step)

    def embedding(
        self, name: str, points: Tensor, labels: Tensor | None, images: Tensor | None, step: int
    ) -> None:
        """Write the projector's files, with small square thumbnails of `images`."""
        wide = pad(points, (0, max(0, 3 - points.shape[1])))  # it draws nothing below 3 dimensions
        about = None if labels is None else [str(label) for label in labels.tolist()]
        small = None if images is None else thumbnails(images)
        folder: Any = (
            f"projector_step_{step:05d}"  # names a folder of the run, below which they lie
        )
        self._writer.add_embedding(wide, about, small, global_step=folder, tag=name)

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
        self._row(metadata.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=info))

    def succeeded(self) -> None:
        """End the row of the HParams page.

        Only success is recorded: TensorBoard keeps the first status that it reads, and a run that
        failed may go on.
        """
        info = SessionEndInfo(status=STATUS_SUCCESS, end_time_secs=time.time())
        self._row(metadata.SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=info))

    def _row(self, tag: str, data: HParamsPluginData) -> None:
        data.version = metadata.PLUGIN_DATA_VERSION
        about = SummaryMetadata.PluginData(
            plugin_name=metadata.PLUGIN_NAME, content=data.SerializeToString()
        )
        value = Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=about))
        events = self._writer._get_file_writer()  # type: ignore[no-untyped-call]
        events.add_summary(Summary(value=[value]))

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


def _let_writers_fail_quietly() -> None:
    """Print no traceback when the thread of an event writer fails.

    The writer's next call raises the same error, which is reported then.
    """
    before = threading.excepthook
    if getattr(before, "quiet", False):
        return

    def hook(failure: threading.ExceptHookArgs) -> None:
        if not type(failure.thread).__module__.startswith("tensorboard."):
            before(failure)

    hook.quiet = True  # type: ignore[attr-defined]
    threading.excepthook = hook


def _put_last(writer: SummaryWriter, directory: Path, known: list[str]) -> None:
    """Rename the new event file so that TensorBoard reads it after the `known` ones.

    TensorBoard reads event files in the order of their names, which begin with the second of their
    start. Without this, the file of a run that is resumed within the same second, or after the
    clock was set back, would come first.
    """
    pattern = re.compile(r"(events\.out\.tfevents\.)(\d+)(\..*)")
    last = max((int(found[2]) for name in known if (found := pattern.match(name))), default=-1)
    for path in directory.glob("events.out.tfevents.*"):
        found = pattern.match(path.name)
        if path.name not in known and found and int(found[2]) <= last:
            target = directory / f"{found[1]}{last + 1:010d}{found[3]}"
            path.rename(target)
            # TensorBoard's own writer opens the file by its name whenever it writes.
            file = writer._get_file_writer().event_writer._general_file_writer  # type: ignore[no-untyped-call]
            if hasattr(file, "filename"):
                file.filename = os.fsencode(target)
