"""What a run records while it goes: TensorBoard events, and a row an epoch in `history.csv`."""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
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

from vae_run.errors import explain_os_error
from vae_run.evaluation.quantities import TABLE
from vae_run.evaluation.quantity import NATS, Place
from vae_run.tracking.described import DescribedScalars
from vae_run.tracking.history import History

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger("vae_run")

THUMBNAIL = 64
"""Pixels of a side of a projector's image: a browser takes a sprite of 8192 at most."""

LAYOUT = {
    f"bound ({NATS})": {
        name: ["Multiline", [f"train/{name}", f"val/{name}"]] for name in TABLE.shown(Place.CHART)
    }
}


def thumbnails(images: Tensor) -> Tensor:
    """`images` [N, C, H, W] as the projector's sprite wants them: square, and not large."""
    height, width = images.shape[-2:]
    side = max(height, width)
    square = pad(images, (0, side - width, 0, side - height))
    return square if side <= THUMBNAIL else interpolate(square, THUMBNAIL, mode="area")


class Tracker:
    """Writes a run's events and history into its directory."""

    def __init__(
        self, directory: Path, *, resumed_step: int | None = None, layout: bool = True
    ) -> None:
        """Open a new event file in `directory`.

        Args:
            directory: of the run.
            resumed_step: the step of the checkpoint that a resumed run goes on from; what was
                recorded after it is taken back.
            layout: write the custom-scalars layout, wanted once a run.
        """
        self._directory = directory
        self._scalars = DescribedScalars(directory)
        self._writer: SummaryWriter | None = None
        _let_writers_fail_quietly()
        purge = None if resumed_step is None else resumed_step + 1
        known = [path.name for path in directory.glob("events.out.tfevents.*")]
        try:
            self._writer = SummaryWriter(str(directory), purge_step=purge)
            self._writer.flush()
        except OSError as error:
            self._give_up(error)
        if self._writer is not None and known:
            _put_last(self._writer, directory, known)
        self.history = History(directory / "history.csv", keep_to_step=resumed_step)
        if layout and resumed_step is None:
            self._write(lambda writer: writer.add_custom_scalars(LAYOUT))

    def _write(self, action: Callable[[SummaryWriter], Any]) -> None:
        """Do `action` with the writer; a full disk ends the events, not the training."""
        if self._writer is not None:
            try:
                action(self._writer)
            except OSError as error:
                self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self._writer = None
        told = OSError(error.errno, error.strerror or str(error), str(self._directory))
        log.warning("%s TensorBoard's events end here; all else goes on.", explain_os_error(told))

    def scalars(self, split: str, values: Mapping[str, float], step: int) -> None:
        def write(writer: SummaryWriter) -> None:
            for name, value in values.items():
                self._scalars.add(writer, split, name, value, step)

        self._write(write)

    def pictures(self, pictures: Mapping[str, NDArray[Any]], step: int) -> None:
        def write(writer: SummaryWriter) -> None:
            for name, picture in pictures.items():
                writer.add_image(f"images/{name}", picture, step, dataformats="HWC")

        self._write(write)

    def latents(
        self,
        means: Tensor,
        scales: Tensor | None,
        labels: Tensor | None,
        images: Tensor | None,
        step: int,
    ) -> None:
        """Histograms and projector of the codes [N, D], with thumbnails [N, C, H, W]."""
        points = pad(means, (0, max(0, 3 - means.shape[1])))  # below 3-D the projector stays empty
        metadata = None if labels is None else [str(label) for label in labels.tolist()]
        images = None if images is None else thumbnails(images)

        def write(writer: SummaryWriter) -> None:
            writer.add_histogram("latent/mean", means, step)
            if scales is not None:
                writer.add_histogram("latent/scale", scales, step)
            writer.add_embedding(points, metadata, images, global_step=step, tag="latent")

        self._write(write)

    def text(self, name: str, markdown: str) -> None:
        self._write(lambda writer: writer.add_text(name, markdown, 0))

    def hparams(self, values: Mapping[str, Any]) -> None:
        """Begin a row of the HParams page, whose cells are `values`; null is an empty cell.

        What the page's columns are is for no run to say: TensorBoard would believe the first one
        that does, and leave out what others have besides. Unsaid, it takes together what all runs
        have, finds the type of each column, and puts those that differ first.
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
        """End the row of the HParams page. Only a success is told, for TensorBoard keeps what it
        was told first, and a run that failed may go on."""
        info = SessionEndInfo(status=STATUS_SUCCESS, end_time_secs=time.time())
        self._row(metadata.SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=info))

    def _row(self, tag: str, data: HParamsPluginData) -> None:
        data.version = metadata.PLUGIN_DATA_VERSION
        about = SummaryMetadata.PluginData(
            plugin_name=metadata.PLUGIN_NAME, content=data.SerializeToString()
        )
        value = Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=about))

        def write(writer: SummaryWriter) -> None:
            events = writer._get_file_writer()  # type: ignore[no-untyped-call]
            events.add_summary(Summary(value=[value]))

        self._write(write)

    def flush(self) -> None:
        self._write(lambda writer: writer.flush())

    def close(self) -> None:
        self._write(lambda writer: writer.close())


def _let_writers_fail_quietly() -> None:
    """Let what ends a writer's thread reach the user by `Tracker` alone, without a traceback."""
    tell = threading.excepthook
    if getattr(tell, "quiet", False):
        return

    def hook(failure: threading.ExceptHookArgs) -> None:
        if not type(failure.thread).__module__.startswith("tensorboard."):
            tell(failure)

    hook.quiet = True  # type: ignore[attr-defined]
    threading.excepthook = hook


def _put_last(writer: SummaryWriter, directory: Path, known: list[str]) -> None:
    """Let TensorBoard read the new event file after the `known` ones.

    It reads them by name, which begins with the second of their start: one of a resumed run whose
    clock was set back, or that began within the same second, would come first.
    """
    pattern = re.compile(r"(events\.out\.tfevents\.)(\d+)(\..*)")
    last = max((int(found[2]) for name in known if (found := pattern.match(name))), default=-1)
    for path in directory.glob("events.out.tfevents.*"):
        found = pattern.match(path.name)
        if path.name not in known and found and int(found[2]) <= last:
            target = directory / f"{found[1]}{last + 1:010d}{found[3]}"
            path.rename(target)
            # TensorBoard's own writer opens the file anew, by its name, whenever it writes.
            file = writer._get_file_writer().event_writer._general_file_writer  # type: ignore[no-untyped-call]
            if hasattr(file, "filename"):
                file.filename = os.fsencode(target)
