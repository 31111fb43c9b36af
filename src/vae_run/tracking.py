"""What a run records while it goes: TensorBoard events, and a row an epoch in `history.csv`."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.nn.functional import interpolate, pad
from torch.utils.tensorboard.summary import hparams
from torch.utils.tensorboard.writer import SummaryWriter

from vae_run.checkpoints import write_atomically

if TYPE_CHECKING:
    from numpy.typing import NDArray

HPARAM_METRICS = (
    *(f"{split}/{name}" for split in ("val", "test") for name in ("elbo", "loss")),
    *(f"{split}/{name}" for split in ("val", "test") for name in ("reconstruction", "kl", "mse")),
)
"""The same in every run: TensorBoard takes the columns of its HParams page from one run only."""

THUMBNAIL = 64
"""Pixels of a side of a projector's image: a browser takes a sprite of 8192 at most."""

LAYOUT = {
    "bound (nats per image)": {
        name: ["Multiline", [f"train/{name}", f"val/{name}"]]
        for name in ("reconstruction", "kl", "elbo", "loss")
    }
}


class History:
    """`history.csv`: columns grow as quantities appear, rows are appended as epochs end."""

    def __init__(self, path: Path, *, keep_to_step: int | None) -> None:
        """With `keep_to_step`, rows of a former life up to that step stay, later ones go."""
        self._path = path
        self.rows: list[dict[str, float]] = []
        self._columns: list[str] = []
        if keep_to_step is not None and path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    values = {key: _number(value) for key, value in row.items() if value}
                    if values.get("step", math.inf) <= keep_to_step:
                        self._take(values)
            self._rewrite()

    def _take(self, row: dict[str, float]) -> bool:
        """Add a row; whether it brought a new column."""
        new = [name for name in row if name not in self._columns]
        self._columns += new
        self.rows.append(row)
        return bool(new)

    def _text(self, rows: list[dict[str, float]], *, header: bool) -> str:
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, self._columns, restval="", lineterminator="\n")
        if header:
            writer.writeheader()
        writer.writerows(rows)
        return buffer.getvalue()

    def _rewrite(self) -> None:
        write_atomically(self._path, self._text(self.rows, header=True).encode())

    def add(self, row: Mapping[str, float]) -> None:
        """Append a row; one of the same epoch (a run that was extended) is replaced."""
        again = bool(self.rows) and self.rows[-1]["epoch"] == row["epoch"]
        if again:
            self.rows.pop()
        if self._take(dict(row)) or again:
            self._rewrite()
        else:
            with self._path.open("a", encoding="utf-8", newline="") as file:
                file.write(self._text(self.rows[-1:], header=False))


def _number(text: str) -> float:
    """The number that was written as `text`; epochs and steps come back without a point."""
    return int(text) if text.isdecimal() else float(text)


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
        purge = None if resumed_step is None else resumed_step + 1
        self._writer = SummaryWriter(str(directory), purge_step=purge)
        self.history = History(directory / "history.csv", keep_to_step=resumed_step)
        if layout and resumed_step is None:
            self._writer.add_custom_scalars(LAYOUT)

    def scalars(self, split: str, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(f"{split}/{name}", value, step)

    def pictures(self, pictures: Mapping[str, NDArray[Any]], step: int) -> None:
        for name, picture in pictures.items():
            self._writer.add_image(f"images/{name}", picture, step, dataformats="HWC")

    def latents(
        self,
        means: Tensor,
        scales: Tensor | None,
        labels: Tensor | None,
        images: Tensor | None,
        step: int,
    ) -> None:
        """Histograms and projector of the codes [N, D], with thumbnails [N, C, H, W]."""
        self._writer.add_histogram("latent/mean", means, step)
        if scales is not None:
            self._writer.add_histogram("latent/scale", scales, step)
        points = pad(means, (0, max(0, 3 - means.shape[1])))  # below 3-D the projector stays empty
        metadata = None if labels is None else [str(label) for label in labels.tolist()]
        images = None if images is None else thumbnails(images)
        self._writer.add_embedding(points, metadata, images, global_step=step, tag="latent")

    def text(self, name: str, markdown: str) -> None:
        self._writer.add_text(name, markdown, 0)

    def hparams(self, values: Mapping[str, Any]) -> None:
        """One row of the HParams page; its metric columns are the scalars of the same tags."""
        plain = {
            key: value if isinstance(value, (bool, int, float, str)) else str(value)
            for key, value in values.items()
        }
        writer = self._writer._get_file_writer()  # type: ignore[no-untyped-call]
        metrics = dict.fromkeys(HPARAM_METRICS, 0.0)
        for summary in hparams(plain, metrics):  # type: ignore[no-untyped-call]
            writer.add_summary(summary)

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
