"""TensorBoard's event file: its own reader reads it, and its own writers would write the same."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import crc32c as reference
from torch.utils.tensorboard import summary as of_torch
from torch.utils.tensorboard._embedding import make_sprite
from torch.utils.tensorboard.writer import SummaryWriter

from vae_run.tracking import summaries
from vae_run.tracking.event_file import EventFile, crc32c
from vae_run.tracking.event_reader import scalars_at
from vae_run.tracking.projector import sprite, write_points
from vae_run.tracking.tensorboard import TensorBoard


def scalars(run: Path) -> list[tuple[int, float]]:
    events = EventAccumulator(str(run))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars("loss")]


def test_checksums() -> None:
    assert crc32c(b"123456789") == 0xE3069283, "of RFC 3720, appendix B.4: Castagnoli's"
    assert crc32c(bytes(32)) == 0x8A9136AA
    data = np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8).tobytes()
    for size in (0, 1, 3, 511, 512, 513, 639, 640, 5000):
        assert crc32c(data[:size]) == reference(data[:size])


def test_a_run_killed_while_it_closed_writes_no_scalar_twice(tmp_path: Path) -> None:
    """Its last scalars are on the disk; those that differ, or lack, are written."""
    for resumed, values in (
        (None, {"loss": 2.5, "nan": float("nan")}),
        (7, {"loss": 2.5, "nan": float("nan"), "kl": 1.0}),
        (7, {"loss": 2.75}),
    ):
        tracker = TensorBoard()
        tracker.start(tmp_path, resumed)
        tracker.scalars("test", values, 7)
        tracker.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [event.value for event in events.Scalars("test/loss")] == [2.5, 2.75]
    assert len(events.Scalars("test/nan")) == 1
    assert [event.value for event in events.Scalars("test/kl")] == [1.0]


def test_a_scalar_that_tensorboard_forgot_is_written_again(tmp_path: Path) -> None:
    """A run was resumed at step 10 and so purged step 20, which it then reaches again."""
    for resumed, steps in ((None, (10, 20)), (10, ()), (20, (20,))):
        tracker = TensorBoard()
        tracker.start(tmp_path, resumed)
        for step in steps:
            tracker.scalars("val", {"loss": float(step)}, step)
        tracker.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("val/loss")] == [
        (10, 10),
        (20, 20),
    ]
    assert scalars_at(tmp_path, 10).keys() == {"val/loss"}, "a later step was purged"


@pytest.mark.parametrize("length", [2**63, 10**9, 30])
def test_a_damaged_event_file_is_read_up_to_there(length: int, tmp_path: Path) -> None:
    file = EventFile(tmp_path)
    file.add(Summary.Value(tag="loss", simple_value=2.5), step=3)
    file.close()
    with file.path.open("ab") as opened:
        opened.write(length.to_bytes(8, "little") + b"0000" + b"\xff" * 34)
    assert scalars_at(tmp_path, 3) == {"loss": b"\x00\x00\x20\x40"}
    assert scalars_at(tmp_path, 4) == {}


def test_a_resumed_run_replaces_later_steps(tmp_path: Path) -> None:
    """Even where the clock was set back between the two."""
    late = tmp_path / f"events.out.tfevents.{int(time.time()) + 1000:010d}.host.1.0"
    first = EventFile(tmp_path)
    for step in range(5):
        first.add(Summary.Value(tag="loss", simple_value=1.0), step=step)
    first.close()
    first.path.rename(late)
    second = EventFile(tmp_path, purge_step=3)
    second.add(Summary.Value(tag="loss", simple_value=2.0), step=3)
    second.close()
    assert second.path.name > late.name
    assert scalars(tmp_path) == [(0, 1.0), (1, 1.0), (2, 1.0), (3, 2.0)]


def test_records_are_there_when_they_are_flushed(tmp_path: Path) -> None:
    file = EventFile(tmp_path)
    file.add(Summary.Value(tag="loss", simple_value=1.0), step=1)
    file.flush()
    assert scalars(tmp_path) == [(1, 1.0)]
    file._file.close()
    file.add(Summary.Value(tag="loss", simple_value=1.0), step=2)
    with pytest.raises(ValueError, match="closed file"):
        file.flush()


def test_values_are_those_of_torch(tmp_path: Path) -> None:
    assert summaries.text("config", "a *b*") == of_torch.text("config", "a *b*").value[0]
    lines = {"bound": {"loss": ["train/loss", "val/loss"]}}
    given = {"bound": {"loss": ["Multiline", ["train/loss", "val/loss"]]}}
    assert summaries.layout(lines) == of_torch.custom_scalars(given).value[0]
    picture = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    made = of_torch.image("images/a", picture, dataformats="HWC").value[0]
    assert summaries.picture("images/a", picture) == made
    bins = SummaryWriter(str(tmp_path)).default_bins
    for values in (torch.randn(200), torch.zeros(3), torch.tensor([1e-13, 4.0]), -torch.rand(9, 2)):
        made = of_torch.histogram("a", values.numpy(), bins).value[0]
        assert summaries.histogram("a", values) == made


@pytest.mark.parametrize("shape", [(7, 1, 4, 4), (9, 3, 5, 5), (1, 1, 2, 2)])
def test_the_sprite_is_that_of_torch(shape: tuple[int, ...], tmp_path: Path) -> None:
    images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    make_sprite(images, str(tmp_path))
    with Image.open(tmp_path / "sprite.png") as expected:
        assert (np.asarray(expected) == sprite(images)).all()


def test_points_are_written_as_they_are(tmp_path: Path) -> None:
    points = torch.tensor([[0.1, 1.0], [2.0, -3.5]])
    info = write_points(tmp_path, "step/latent", points, ["a", "b"], None)
    folder = tmp_path / "step" / "latent"
    assert (folder / "metadata.tsv").read_text() == "a\nb\n"
    assert (folder / "tensors.tsv").read_text() == "0.10000000149011612\t1.0\n2.0\t-3.5\n"
    assert info.tensor_path == "step/latent/tensors.tsv"
    assert not info.sprite.image_path
