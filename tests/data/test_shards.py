"""Training images streamed from tar shards: each once an epoch, in an order that follows the seed,
bit for bit after a resume, and nothing left out or run in silence."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import sys
import tarfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from parts import experiment
from PIL import Image

from vae_run.cli import main
from vae_run.config.check import check
from vae_run.corruptions import Masking, NoCorruption
from vae_run.data.batches import Batch, TrainingBatches
from vae_run.data.datasets.image_folder import ImageFolder
from vae_run.data.datasets.shards import Shards
from vae_run.data.splits import Splits
from vae_run.data.streamed_batches import StreamedBatches
from vae_run.data.webdataset import tar_shards
from vae_run.data.webdataset.sample_names import cut_at_last_dot
from vae_run.data.webdataset.stream import Stream
from vae_run.data.webdataset.tar_shards import Sample
from vae_run.errors import ConfigError, DataError
from vae_run.runs import checkpoint_file
from vae_run.sweeps.vectorized.grouping import grouped
from vae_run.system import ranks
from vae_run.training.compiled_steps import CompiledSteps
from vae_run.training.loop import Loop
from vae_run.training.step import EagerSteps

if TYPE_CHECKING:
    from conftest import Run

webdataset = pytest.importorskip("webdataset")

TRAIN, VAL, TEST = 90, 12, 11
EACH = 20
"""Images of a shard; the last of train has ten."""
NAMES = "train-{0000..0004}.tar"
COMMAND = (
    *("dataset=shards", "dataset.test=test-0000.tar", f'dataset.train="{NAMES}"'),
    *("dataset.image_size=8", "dataset.channels=1", "dataset.buffer=15", "dataset.sample=30"),
    *("device=cpu", "network.widths=[12]", "latent_dim=3", "trainer.batch_size=16"),
    *("trainer.epochs=3", "evaluation.figures=[]", "corruption=masking"),
)


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def write(pattern: Path, pixels: np.ndarray, start: int = 0, **more: Any) -> None:
    """Shards of `pixels` uint8 [N, H, W], whose keys and labels follow their number."""
    with webdataset.ShardWriter(str(pattern), maxcount=EACH, verbose=0) as shards:
        for number, image in enumerate(pixels, start):
            sample = {"__key__": f"{number:06d}", "png": png(image), "cls": number % 3, **more}
            shards.write({key: value for key, value in sample.items() if value is not None})


def random_pixels(count: int, seed: int, side: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side), np.uint8)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shards of all three splits. Image n of the training set has n as its first pixel."""
    folder = tmp_path_factory.mktemp("written")
    train = random_pixels(TRAIN, 0)
    train[:, 0, 0] = np.arange(TRAIN)
    write(folder / "train-%04d.tar", train)
    write(folder / "val-%04d.tar", random_pixels(VAL, 1))
    write(folder / "test-%04d.tar", random_pixels(TEST, 2))
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A copy of the shards, which a test may change."""
    return Path(shutil.copytree(written, tmp_path / "my shards"))


def dataset(folder: Path, **options: Any) -> Shards:
    given: dict[str, Any] = {
        **{"path": str(folder), "train": NAMES, "val": "val-0000.tar", "test": "test-0000.tar"},
        **{"image_size": 8, "channels": 1, "buffer": 15, "sample": 30},
    }
    return Shards(**{**given, **options})


def batches(splits: Splits, seed: int = 3, **options: Any) -> StreamedBatches:
    assert splits.stream is not None
    given: dict[str, Any] = {"batch_size": 16, "noise": (1, 2), "seed": seed, **options}
    return StreamedBatches(splits.stream, splits.train, Masking(level=0.3), **given)


def numbers(batch: Batch) -> list[int]:
    """Which training images it has."""
    first: list[int] = (batch.target[:, 0, 0, 0] * 255).round().int().tolist()
    return first


def assert_same(one: Batch, other: Batch) -> None:
    for name in ("input", "target", "noise", "label"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name


# What is read


def test_pixels_are_those_of_the_same_files_in_a_folder(tmp_path: Path) -> None:
    """Of other sizes, colours and kinds of file too."""
    rng = np.random.default_rng(0)
    files = tmp_path / "files"
    files.mkdir()
    for number, kind in enumerate(("png", "jpg", "jpeg", "webp", "ppm", "png")):
        side = 9 + number
        pixels = rng.integers(0, 256, (side, side + 3, 3)[: 2 + (number % 2)], np.uint8)
        Image.fromarray(pixels).save(files / f"{number}.{kind}")
    with tarfile.open(tmp_path / "all.tar", "w") as tar:
        for file in sorted(files.iterdir()):
            tar.add(file, file.name.upper() if file.name == "1.jpg" else file.name)
    (tmp_path / "test.tar").write_bytes((tmp_path / "all.tar").read_bytes())
    given: dict[str, Any] = {"image_size": [6, 5], "channels": 3}
    read = Shards(path=str(tmp_path), train="all.tar", test="test.tar", **given).load()
    plain = ImageFolder(path=str(files), val_size=0, test_size=1, **given).read()
    assert torch.equal(read.train.images, plain.train.images)
    assert torch.equal(read.test.images, plain.train.images)
    assert read.train.labels is None
    assert read.event_shape == (3, 6, 5)
    assert len(read.val) == 0
    assert read.train_size == 6


def test_splits_count_and_labels(folder: Path) -> None:
    splits = dataset(folder).load()
    assert (splits.train_size, len(splits.val), len(splits.test)) == (TRAIN, VAL, TEST)
    assert splits.test.labels is not None
    assert splits.test.labels.tolist() == [n % 3 for n in range(TEST)]
    assert splits.levels == 256
    # The held part comes from every shard, and is all of a set that is small enough.
    held = [int(image[0, 0, 0]) // EACH for image in splits.train.images]
    assert sorted(held) == sorted([0, 1, 2, 3, 4] * 6)
    assert len(dataset(folder, sample=1000).load().train) == TRAIN
    assert dataset(folder, images=TRAIN).load().train_size == TRAIN
    apart = ["train-000{0,1}.tar", str(folder / "train-{0002..0004}.tar")]  # on several disks
    assert dataset(folder, train=apart).load().train_size == TRAIN


def test_the_fingerprint_follows_shards_and_held_splits(folder: Path) -> None:
    found = dataset(folder).load().fingerprint()
    assert dataset(folder, buffer=7).load().fingerprint() == found
    assert dataset(folder, train="train-{0000..0003}.tar").load().fingerprint() != found
    with open(folder / "train-0004.tar", "ab") as file:
        file.write(bytes(512))
    assert dataset(folder).load().fingerprint() != found


# The order


def test_an_epoch_has_every_image_once_in_an_order_of_seed_and_epoch(folder: Path) -> None:
    stream = dataset(folder).load().stream
    assert stream is not None

    def order(seed: int, epoch: int) -> list[int]:
        return [int(sample.key) for sample in stream.epoch(seed, epoch)]

    first = order(0, 0)
    assert sorted(first) == list(range(TRAIN))
    assert order(0, 0) == first
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1, 2)}) == 6
    shards = [number // EACH for number in first]
    assert shards != sorted(shards), "shards are shuffled"
    assert sum(a != b for a, b in pairwise(shards)) > 10, "and mixed"
    # An image waits in the buffer: it comes at most so many places before its own.
    read = [int(sample.key) for sample in replace(stream, buffer=1).epoch(0, 0)]
    assert [number % EACH for number in read[:10]] == list(range(10)), "as they lie in the shard"
    assert all(read.index(n) - place < stream.buffer for place, n in enumerate(first))
    assert max(place - read.index(n) for place, n in enumerate(first)) > stream.buffer


@pytest.mark.scale
def test_a_buffer_of_all_images_shuffles_them_evenly(folder: Path) -> None:
    stream = dataset(folder, buffer=1000).load().stream
    assert stream is not None
    places = np.zeros(TRAIN)
    for epoch in range(80):
        for place, sample in enumerate(stream.epoch(5, epoch)):
            places[int(sample.key)] += place / 80
    # The mean of 80 uniform places has a standard deviation of 26 / sqrt(80) = 2.9.
    assert np.abs(places - (TRAIN - 1) / 2).max() < 5 * 2.9


def test_batches_do_not_depend_on_threads(folder: Path) -> None:
    splits = dataset(folder).load()
    one, many = batches(splits, threads=1), batches(splits, threads=7)
    assert one.steps_per_epoch == 6
    sizes, seen = [], list[int]()
    for _ in range(12):
        batch = one.next()
        assert_same(batch, many.next())
        sizes.append(len(batch))
        seen += numbers(batch)
        assert batch.label is not None
        assert batch.label.tolist() == [n % 3 for n in numbers(batch)]
    assert sizes == [16, 16, 16, 16, 16, 10] * 2
    assert sorted(seen) == sorted([*range(TRAIN)] * 2)
    assert seen[:TRAIN] != seen[TRAIN:]


@pytest.mark.parametrize("step", [0, 1, 5, 6, 7, 12])
def test_batches_go_on_where_they_stood(folder: Path, step: int) -> None:
    splits = dataset(folder, binarize="dynamic").load()
    one = batches(splits)
    for _ in range(step):
        assert set(one.next().target.unique().tolist()) <= {0.0, 1.0}
    state = one.state_dict()
    other = batches(splits)
    other.next()  # what it has read ahead is forgotten
    other.load_state_dict(state)
    for _ in range(8):
        assert_same(one.next(), other.next())


@pytest.mark.parametrize("size", [40, 100])
def test_batches_are_whole_by_the_images_of_the_stream_not_of_the_sample(
    folder: Path, size: int
) -> None:
    found = batches(dataset(folder).load(), batch_size=size)
    assert (found.images, len(found.split)) == (TRAIN, 30)
    assert found.steps_per_epoch == -(-TRAIN // size)
    made = experiment(shape=found.split.event_shape)
    parts = (made.model, made.objective, found, made.optimizer(made.model))
    steps = CompiledSteps(EagerSteps(*parts, clip_norm=None, precision=nullcontext()))
    assert (steps.why_not is None) == (size <= TRAIN)


def test_noise_is_that_of_a_split_in_memory(folder: Path) -> None:
    splits = dataset(folder, sample=1000).load()
    given: dict[str, Any] = {"batch_size": 16, "noise": (2, 3), "seed": 3}
    held = TrainingBatches(splits.train, NoCorruption(), **given)
    streamed = batches(splits, **given)
    streamed.corruption = NoCorruption()
    for _ in range(7):
        assert torch.equal(held.next().noise, streamed.next().noise)


def test_processes_decode_their_own_share_of_each_batch(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = dataset(folder, sample=5).load()
    alone = [batches(splits)]
    whole = [alone[0].next() for _ in range(7)]
    spoiled = numbers(whole[1])[3]  # in the share of the first of two
    assert spoiled not in [int(image[0, 0, 0]) for image in splits.train.images]
    respoil(folder / f"train-{spoiled // EACH:04d}.tar", f"{spoiled:06d}.png")
    found = []
    for rank in (0, 1):
        monkeypatch.setattr(ranks, "place", lambda rank=rank: ranks.Place(rank, 2, rank, 2))
        own = batches(dataset(folder, sample=5, split_seed=0).load())
        found.append([own.next()])
        if rank == 0:
            with pytest.raises(DataError, match=f"{spoiled:06d} of .*train-"):
                own.next()
        else:
            found[1] += [own.next() for _ in range(6)]
    assert torch.equal(torch.cat([part[0].target for part in found]), whole[0].target)
    assert torch.equal(torch.cat([part[0].noise for part in found], 1), whole[0].noise)
    for part, all_ in zip(found[1], whole, strict=True):
        share = slice(len(all_) // 2, len(all_))
        assert part.share == (len(all_) - len(all_) // 2, len(all_))
        assert torch.equal(part.target, all_.target[share])
        assert torch.equal(part.input, all_.input[share])


def respoil(shard: Path, member: str) -> None:
    """Put bytes that are no image into a member, whose length stays."""
    with tarfile.open(shard) as tar:
        info = tar.getmember(member)
    data = bytearray(shard.read_bytes())
    data[info.offset_data : info.offset_data + info.size] = b"x" * info.size
    shard.write_bytes(data)


def test_memory_is_bounded_by_the_buffer(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    image = png(noise)  # 4.2 kB
    with webdataset.ShardWriter(str(tmp_path / "t-%04d.tar"), maxcount=250, verbose=0) as shards:
        for number in range(1000):
            shards.write({"__key__": f"{number:06d}", "png": image})
    given: dict[str, Any] = {"train": "t-{0000..0002}.tar", "test": "t-0003.tar", "val": None}
    stream = dataset(tmp_path, **given, image_size=4, buffer=100, sample=10).load().stream
    assert stream is not None
    tracemalloc.start()
    try:
        assert sum(1 for _ in stream.epoch(0, 0)) == 750
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 100 * len(image) < peak < 3 * 100 * len(image), "of 750 images, 100 are held"


# Runs


def own(folder: Path, name: str, *more: str) -> list[str]:
    return [*COMMAND, f"dataset.path='{folder}'", f"hydra.run.dir={folder.parent / name}", *more]


@pytest.mark.parametrize("val", ["null", pytest.param("val-0000.tar", marks=pytest.mark.scale)])
def test_a_run_stopped_amid_an_epoch_goes_on_as_if_never_stopped(
    folder: Path, vae_run: Run, monkeypatch: pytest.MonkeyPatch, val: str
) -> None:
    given = (f"dataset.val={val}", "dataset.binarize=dynamic", "condition=label")
    whole = vae_run(*own(folder, "whole", *given))
    assert whole.code == 0, whole.said
    assert f"({TRAIN} train" in whole.said
    take = Loop.take

    def stopped(self: Loop, record: Any) -> None:
        take(self, record)
        if record.step == 9:  # six are an epoch
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Loop, "take", stopped)
    assert vae_run(*own(folder, "parts", *given)).code == 128 + signal.SIGTERM
    monkeypatch.setattr(Loop, "take", take)
    resumed = vae_run("task=resume", f"run={folder.parent / 'parts'}")
    assert resumed.code == 0, resumed.said
    assert "reading 48 images of this epoch again" in resumed.said
    for name in ("best.pt", "last.pt"):
        one, other = (
            checkpoint_file.read(folder.parent / run / "checkpoints" / name)
            for run in ("whole", "parts")
        )
        assert one["model"].keys() == other["model"].keys()
        assert all(torch.equal(one["model"][key], other["model"][key]) for key in one["model"])
    found = [OmegaConf.load(folder.parent / run / "metrics.json") for run in ("whole", "parts")]
    assert found[0].test == found[1].test
    assert found[0].get("val") == found[1].get("val")


def test_a_signal_is_heard_while_shards_are_read_again(
    folder: Path, vae_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert vae_run(*own(folder, "run", "trainer.steps=9")).code == 0
    last = folder.parent / "run" / "checkpoints" / "last.pt"
    before, wait = last.read_bytes(), threading.Event()

    def endless(self: Stream, seed: int, number: int) -> Iterator[Sample]:
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
        wait.wait(60)
        raise DataError("over")
        yield

    monkeypatch.setattr(Stream, "epoch", endless)
    started = time.monotonic()
    try:
        stopped = vae_run("task=resume", f"run={folder.parent / 'run'}", "trainer.steps=20")
    finally:
        wait.set()
    assert stopped.code == 128 + signal.SIGTERM, stopped.said
    assert time.monotonic() - started < 30
    assert last.read_bytes() == before


def test_other_tasks_of_a_run(folder: Path, vae_run: Run) -> None:
    assert vae_run(*own(folder, "run", "trainer.epochs=1")).code == 0
    run = f"run={folder.parent / 'run'}"
    for words in (["task=evaluate"], ["task=sample", "sampler=mixture", "output=x.png"]):
        finished = vae_run(*words, run)
        assert finished.code == 0, finished.said
    checked = vae_run("task=check", *COMMAND, f"dataset.path='{folder}'")
    assert checked.code == 0, checked.said
    assert "18, 6 an epoch of batch 16" in checked.said
    assert "5 shards with 90 images" in checked.said
    (folder / "train-0001.tar").unlink()
    lost = vae_run("task=resume", run, "trainer.epochs=2")
    assert lost.code == 3
    assert "train-0001.tar does not exist" in lost.said


@pytest.mark.parametrize(("given", "found"), [(100, "found 90"), (80, "found more")])
def test_another_number_of_images_than_promised(
    folder: Path, vae_run: Run, given: int, found: str
) -> None:
    finished = vae_run(*own(folder, "run", f"dataset.images={given}"))
    assert finished.code == 3
    assert f"dataset.images: expected {given} images" in finished.said
    assert found in finished.said


def test_a_class_that_the_held_part_lacks_is_named(folder: Path, vae_run: Run) -> None:
    with webdataset.TarWriter(str(folder / "train-0004.tar")) as shard:
        for number in range(10):
            sample = {"__key__": f"r{number}", "png": png(random_pixels(1, 0)[0])}
            shard.write({**sample, "cls": 7 if number == 9 else 0})
    finished = vae_run(*own(folder, "run", "condition=label", "dataset.sample=20"))
    assert finished.code == 3
    assert "train-0004.tar: sample r9 is labelled 7, expected [0, 1, 2]" in finished.said


def test_jobs_of_a_sweep_train_alone(folder: Path) -> None:
    words = [*COMMAND, f"dataset.path='{folder}'"]
    with initialize_config_dir(str(main.CONF), version_base="1.3"):
        jobs = [compose("config", [*words, f"seed={seed}"]) for seed in (0, 1)]
    found = grouped([check(OmegaConf.to_container(job, resolve=True)) for job in jobs])
    assert not found.together
    assert "streamed" in found.reasons()[0]


# Dots in names


@pytest.mark.parametrize(
    ("names", "last"),
    [
        (["d.5/a.0001.png", "d.5/a.0002.png"], True),
        (["a.1.cls", "a.1.JPG", "a.2.cls"], True),
        (["a.seg.png", "a.jpg"], False),
        (["a.png", "b.0.png"], False),
        (["a.txt", "a.cls"], False),
        (["README", "a.1.png"], True),
        ([], False),
    ],
)
def test_where_a_name_ends(names: list[str], last: bool) -> None:
    assert cut_at_last_dot(names) == last


def test_names_with_dots_are_whole_names(folder: Path) -> None:
    for split, count in (("train", 12), ("test", 3)):
        names = [f"v1.5/IMG.{n:04d}.{kind}" for n in range(count) for kind in ("png", "cls")]
        members(*names)(folder / f"{split}-0000.tar")
    splits = dataset(folder, train="train-0000.tar", val=None, sample=100).load()
    assert splits.stream is not None
    assert (splits.stream.images, len(splits.train), len(splits.test)) == (12, 12, 3)
    keys = sorted(sample.key for sample in splits.stream.epoch(0, 0))
    assert keys == [f"v1.5/IMG.{n:04d}" for n in range(12)]
    assert "cut at their last dot" in splits.notes[0]


# What is wrong with a shard is told, with its name


def members(*names: str, data: bytes = b"") -> Callable[[Path], None]:
    def rewrite(path: Path) -> None:
        with tarfile.open(path, "w") as tar:
            for name in names:
                info = tarfile.TarInfo(name)
                own = data or (b"1" if name.endswith("cls") else png(random_pixels(1, 0)[0]))
                info.size = len(own)
                tar.addfile(info, io.BytesIO(own))

    return rewrite


def cut(size: int) -> Callable[[Path], None]:
    return lambda path: os.truncate(path, size)


def changed(offset: int, byte: bytes) -> Callable[[Path], None]:
    def write_there(path: Path) -> None:
        with open(path, "r+b") as file:
            file.seek(offset)
            file.write(byte)

    return write_there


def linked(path: Path) -> None:
    members("a.png", "a.cls")(path)
    with tarfile.open(path, "a") as tar:
        info = tarfile.TarInfo("b.png")
        info.type, info.linkname = tarfile.LNKTYPE, "a.png"
        tar.addfile(info)


def claims(size: int) -> Callable[[Path], None]:
    """A header that promises more than there is."""

    def write_header(path: Path) -> None:
        info = tarfile.TarInfo("a.png")
        info.size = size
        path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(2048))

    return write_header


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "in a member": (cut(4700), "at or after 0000"),
    "in a header": (cut(4096 + 100), "at or after 0000"),
    "between members": (cut(4096), "it ends early"),
    "a hole": (changed(8192, bytes(2048)), "after the block of zeros"),
    "two in a row": (lambda path: path.write_bytes(path.read_bytes() * 2), "after the block"),
    "a damaged header": (changed(8192 + 150, b"\xff"), "or the next header is damaged"),
    "the first header": (changed(3, b"\xff"), "at or after its first member"),
    "empty": (cut(0), "at or after its first member"),
    "no tar file": (lambda path: path.write_bytes(b"no" * 3000), "uncompressed tar file"),
    "no sample": (members(), "holds no sample"),
    "no image": (members("a.png", "a.cls", "b.cls"), "sample b has no images"),
    "another ending": (members("a.b.txt"), r"sample a has no images.*found: b\.txt.*first dot"),
    "two images": (members("a.png", "a.jpg"), "sample a has 2 images"),
    "members apart": (
        members("a.png", "a.cls", "b.png", "b.cls", "a.txt"),
        "sample a has no images",
    ),
    "apart, cut at first dots": (
        members("a.png", "b.png", "a.0.json"),
        r"sample a has no images, .*found: 0\.json\)\. .* up to their first dot",
    ),
    "apart, cut at last dots": (
        members("a.0.png", "a.1.png", "a.0.cls"),
        r"sample a\.0 has no images, .* up to their last dot",
    ),
    "one twice": (members("a.png", "a.png"), "duplicate file name"),
    "no label": (members("a.png", "a.cls", "b.png"), "sample b has no label"),
    "no number": (members("a.png", "a.cls", data=b"cat"), "sample a has the label b'cat'"),
    "no image file": (members("a.png", "a.cls", data=b"1"), "it is not an image of a known format"),
    "a link": (linked, "b.png in it is a link"),
    "claims terabytes": (claims(2**45), "unexpected end of data"),
    "missing": (Path.unlink, "does not exist"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "is a folder"),
    "a pipe": (lambda path: (path.unlink(), os.mkfifo(path)), "is a pipe"),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_damaged_shard_is_named(folder: Path, name: str, split: str) -> None:
    spoil, message = WRONG[name]
    path = folder / f"{split}-0000.tar"
    spoil(path)
    with pytest.raises(DataError, match=f"(?s){path.name}.*{message}|{message}.*{path.name}"):
        dataset(folder, sample=1000).load()
    if split == "train" and path.is_file():
        with contextlib.suppress(DataError):  # found at the start, or else while it is streamed
            one = batches(dataset(folder, images=TRAIN, sample=1).load())
            for _ in range(7):
                one.next()
            pytest.fail("it was left out in silence")


@pytest.mark.parametrize("name", [name for name in WRONG if "apart" in name or "image" in name])
def test_counting_and_reading_agree(folder: Path, name: str) -> None:
    """On every shard whose names tell that a sample is no sample."""
    spoil, message = WRONG[name]
    if name == "no image file":  # a name tells nothing of it
        return
    spoil(folder / "train-0000.tar")
    (shard,) = tar_shards.shards(["train-0000.tar"], folder, "dataset.train")
    for read in (tar_shards.count, lambda shard: sum(1 for _ in tar_shards.samples(shard))):
        with pytest.raises(DataError, match=message):
            read(shard)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (("a.png", "a.cls", "b.png"), ("b.cls", "c.png", "c.cls")),
        (("a.png", "a.cls", "b.cls"), ("b.png", "c.png", "c.cls")),
        (("a.png", "b.json"), ("b.png", "b.txt", "c.png")),
    ],
)
@pytest.mark.parametrize("images", [None, 3])
def test_a_sample_cut_by_the_end_of_a_shard_is_named_with_both(
    folder: Path, before: tuple[str, ...], after: tuple[str, ...], images: int | None
) -> None:
    members(*before)(folder / "train-0000.tar")
    members(*after)(folder / "train-0001.tar")
    for seed in (0, 1):  # whichever shard is read first
        own = dataset(folder, train="train-{0000..0001}.tar", images=images, split_seed=seed)
        with pytest.raises(DataError, match="sample b") as refused:
            own.load()
        assert "train-0000.tar" in str(refused.value)
        assert "train-0001.tar" in str(refused.value)


def test_keys_that_begin_anew_in_every_shard_are_no_cut_samples(folder: Path) -> None:
    members("a.png", "b.png", "c.png")(folder / "train-0000.tar")
    members("a.png", "c.txt", "b.png")(folder / "train-0001.tar")
    with pytest.raises(DataError, match=r"train-0001.tar: sample c has no images"):
        dataset(folder, train="train-{0000..0001}.tar").load()


def test_no_cut_and_no_flipped_header_shortens_a_shard_in_silence(folder: Path) -> None:
    path = folder / "train-0000.tar"
    whole = path.read_bytes()
    (shard,) = tar_shards.shards([path.name], folder, "dataset.train")
    end = len(whole.rstrip(b"\0"))
    for size in range(0, end, 256):
        path.write_bytes(whole[:size])
        for read in (tar_shards.count, lambda shard: sum(1 for _ in tar_shards.samples(shard))):
            with pytest.raises(DataError, match=r"train-0000\.tar"):
                read(replace(shard, size=size))
    for start in range(0, end, 512):
        if whole[start + 257 : start + 262] == b"ustar":
            path.write_bytes(whole[: start + 100] + b"\xfe" + whole[start + 101 :])
            with pytest.raises(DataError, match=r"train-0000\.tar"):
                tar_shards.count(shard)


def test_a_shard_that_is_damaged_while_it_is_used(folder: Path) -> None:
    one = batches(dataset(folder, sample=1).load())
    one.next()
    for shard in folder.glob("train-*"):
        cut(5000)(shard)
    with pytest.raises(DataError, match=r"train-000\d\.tar: cannot be read"):
        [one.next() for _ in range(12)]
    with pytest.raises(DataError, match="cannot be read"):
        one.next()  # and it stays so


# What is refused before anything is read


@pytest.fixture
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file that no command may make."""
    marker = tmp_path / "executed"
    monkeypatch.chdir(tmp_path)
    yield marker
    assert not marker.exists(), "a command was run"


HOSTILE = (
    *("pipe:touch executed", "PIPE:touch executed", "http://localhost/x.tar", "file:x.tar"),
    *("{pipe:touch executed,x.tar}", "s3://x/{0..3}.tar", "hf:x", "htgs:x", "ais:x"),
)


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("key", ["train", "val", "test"])
def test_what_is_no_file_is_refused(folder: Path, nothing_runs: Path, key: str, name: str) -> None:
    for given in (name, ["train-0000.tar", name]):
        with pytest.raises(ConfigError, match=f"dataset.{key}: found .*mount remote storage"):
            dataset(folder, **{key: given})


def test_patterns_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_shards, "MOST_SHARDS", 50)
    for pattern in ("{0..9}{0..9}" * 20, ["a"] * 51):
        with pytest.raises(ConfigError, match=r"dataset\.val: found more than 50 names"):
            tar_shards.expanded(pattern, "dataset.val")


def test_commands_are_files_that_are_not_there(folder: Path, nothing_runs: Path) -> None:
    for name in ("./pipe:touch executed", " pipe:touch executed", "../pipe:touch executed"):
        with pytest.raises(DataError, match="does not exist"):
            dataset(folder, train=name).load()


def test_commands_in_a_command_line_and_in_a_saved_run_are_not_run(
    folder: Path, nothing_runs: Path, vae_run: Run
) -> None:
    bad = f"pipe:touch {nothing_runs}"
    typed = vae_run(*own(folder, "typed", f"dataset.train='{bad}'"))
    assert typed.code == 1
    assert typed.err.startswith("error: dataset.train: found 'pipe:touch")
    assert not (folder.parent / "typed").exists()
    assert vae_run(*own(folder, "run", "trainer.epochs=1")).code == 0
    file = folder.parent / "run" / ".hydra" / "config.yaml"
    saved = OmegaConf.load(file)
    for key in ("train", "val", "test"):
        spoiled = OmegaConf.merge(saved, {"dataset": {key: bad}})
        OmegaConf.save(spoiled, file)
        for words in (["task=resume", "trainer.epochs=2"], ["task=evaluate"]):
            finished = vae_run(*words, f"run={folder.parent / 'run'}")
            assert finished.code != 0
            assert f"dataset.{key}: found 'pipe:touch" in finished.said, finished.said


REFUSED: list[tuple[tuple[str, ...], str]] = [
    (("model=pca",), "trainer: found ClosedForm"),
    (("model=stacked_dae",), "trainer: found Layerwise"),
    (("trainer.patience=3",), "trainer.patience: early stopping needs validation images"),
    (("dataset.classes=[0]",), "dataset.classes: found [0]"),
    (("dataset.binarize=static",), "dataset.binarize: found static"),
    (("dataset.val=train-0002.tar",), "dataset.train, val and test: "),
    (("dataset.test=./x/../train-0002.tar",), "dataset.train, val and test: "),
    (('dataset.train="a{0..9.tar"',), "dataset.train: found 'a{0..9.tar', which is invalid"),
    (('dataset.train="a{0..99999999999}.tar"',), "more than 1,000,000 names"),
]


@pytest.mark.parametrize(("words", "message"), REFUSED, ids=[r[0][0] for r in REFUSED])
def test_what_shards_cannot_do_is_refused_before_a_folder_is_made(
    tmp_path: Path,
    vae_run: Run,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.setattr(Shards, "read", lambda self: pytest.fail("data were read"))
    command = [word for word in COMMAND if not word.startswith(("corruption", "trainer", "net"))]
    finished = vae_run(*command, "dataset.path=nowhere", f"hydra.run.dir={tmp_path / 'x'}", *words)
    assert finished.code == 1, finished.said
    assert message in finished.err
    assert list(tmp_path.iterdir()) == []


def test_without_webdataset_the_way_to_get_it_is_told(
    tmp_path: Path, vae_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "webdataset", None)
    finished = vae_run(*COMMAND, "dataset.path=nowhere", f"hydra.run.dir={tmp_path / 'x'}")
    assert finished.code == 1
    assert "which is not installed: pip install 'webdataset>=" in " ".join(finished.err.split())
    assert list(tmp_path.iterdir()) == []
