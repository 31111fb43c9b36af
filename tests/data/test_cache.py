"""Images decoded once into files: the same pixels, made once, and whole or not there."""

import errno
import fcntl
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vae_run.corruptions import NoCorruption
from vae_run.data import decoded_dataset
from vae_run.data.batches import TrainingBatches, evaluation_batches
from vae_run.data.datasets.image_folder import ImageFolder
from vae_run.data.images import cache, decode_pool
from vae_run.data.images.cache import FOLDER
from vae_run.data.splits import Split
from vae_run.errors import DataError
from vae_run.evaluation import principal_components
from vae_run.sweeps.executors.forking import processes

SIZE = (3, 6, 5)


SEVERAL = (
    "test_the_same_splits_decoded_in_memory_and_mapped",
    "test_what_is_said_while_decoding",
    "test_cores_are_those_granted_or_those_of_the_machine",
)
"""Tests of several processes that decode; each costs a quarter of a second."""


@pytest.fixture(autouse=True)
def _one_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.originalname not in SEVERAL:
        monkeypatch.setattr(decode_pool, "cores", lambda: 1)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """170 small pictures of random pixels in two classes."""
    return draw(tmp_path / "my photos", 170)


def draw(folder: Path, count: int, side: int = 9) -> Path:
    numbers = np.random.default_rng(0)
    for number in range(count):
        path = folder / ("a" if number % 3 else "b") / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(numbers.integers(0, 256, (side, side, 3), np.uint8)).save(path)
    return folder


def folder(path: Path, **options: Any) -> ImageFolder:
    """Kept in a cache beside it whatever its size, and read from there."""
    options = {"cache": str(path.parent / FOLDER), "memory": 0, **options}
    return ImageFolder(path=str(path), image_size=[6, 5], **options)


def caches(path: Path) -> list[Path]:
    return sorted(found for found in (path.parent / FOLDER).iterdir() if found.is_dir())


def pixels(split: Split) -> torch.Tensor:
    return split.stored(slice(None))


@pytest.mark.parametrize("binarize", ["none", "static", "dynamic"])
@pytest.mark.parametrize("classes", [None, [1]])
def test_the_same_splits_decoded_in_memory_and_mapped(
    photos: Path, binarize: Any, classes: list[int] | None
) -> None:
    options = {"binarize": binarize, "classes": classes}
    plain = folder(photos, cache="none", **options).load()
    read = folder(photos, memory=2.0, **options).load()
    mapped = folder(photos, **options).load()
    for other, where in ((read, False), (mapped, True)):
        assert other.fingerprint() == plain.fingerprint()
        assert other.levels == plain.levels
        for name in ("train", "val", "test"):
            one, same = getattr(plain, name), getattr(other, name)
            assert (same.mapped is not None) == where
            assert torch.equal(pixels(one), pixels(same))
            assert torch.equal(one.labels, same.labels)
            assert one.event_shape == same.event_shape == SIZE
            assert one.has_grey == same.has_grey
            assert len(one) == len(same) == len(pixels(same))
        assert (plain.others is None) == (other.others is None) == (classes is None)
        if plain.others is not None and other.others is not None:
            assert torch.equal(pixels(plain.others), pixels(other.others))


def test_batches_of_a_mapped_split_are_those_of_one_in_memory(photos: Path) -> None:
    plain, mapped = folder(photos, cache="none").load(), folder(photos).load()

    def batches(split: Split) -> Iterator[Any]:
        training = TrainingBatches(split, NoCorruption(), batch_size=32, noise=(1, 2), seed=3)
        yield from (training.next() for _ in range(9))
        yield from evaluation_batches(split, NoCorruption(), batch_size=50, noise=(1, 2))

    for one, same in zip(batches(plain.train), batches(mapped.train), strict=True):
        for name in ("input", "target", "noise", "label"):
            assert torch.equal(getattr(one, name), getattr(same, name))


def test_a_run_from_the_cache_measures_what_one_in_memory_does(
    photos: Path, tmp_path: Path, train: Callable[..., Path]
) -> None:
    """Figures that read whole splits are among them: PCA, the range of SSIM, codes, samples."""
    options = (
        *("dataset=image_folder", f"dataset.path={photos}", "dataset.image_size=12"),
        *("likelihood=gaussian", "likelihood.sigma=learned", "condition=label"),
        *("trainer.epochs=1", "dataset.classes=[0,1]"),
        "evaluation.metrics=[objective,mse,pca,reconstruction,generation,latent]",
    )
    found = []
    for name, where in (("memory", "none"), ("mapped", tmp_path / "kept")):
        run = train(tmp_path / name, *options, f"dataset.cache={where}", "dataset.memory=0")
        found.append(json.loads((run / "metrics.json").read_text()))
        about = json.loads((run / "environment.json").read_text())
        found[-1]["fingerprint"] = about["dataset_fingerprint"]
        found[-1].pop("train")  # how fast it was
    assert found[0] == found[1]
    assert {"pca_mse", "ssim", "frechet_random_conv"} <= set(found[0]["test"])


def test_components_of_many_images_are_those_of_a_part(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, mapped = folder(photos, cache="none").load().train, folder(photos).load().train
    whole = principal_components.components(plain, 3)
    monkeypatch.setattr(principal_components, "MOST_IMAGES", 60)
    parts = [principal_components.components(replace(split), 3) for split in (plain, mapped)]
    assert torch.equal(parts[0].basis, parts[1].basis)
    assert not torch.allclose(parts[0].mean, whole.mean)
    monkeypatch.setattr(principal_components, "MOST_IMAGES", len(plain))
    assert torch.equal(principal_components.components(replace(mapped), 3).basis, whole.basis)


def test_a_mapped_split_is_sent_where_it_is_asked_for(photos: Path) -> None:
    split = folder(photos).load().train.to(torch.device("meta"))
    assert split.device.type == "meta"
    assert split.images.device.type == "cpu"
    assert split.pixels(torch.arange(3)).device.type == "meta"
    assert split.label(slice(0, 3)).device.type == "meta"  # type: ignore[union-attr]


def test_a_second_load_decodes_nothing(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = folder(photos).load()
    monkeypatch.setattr(cache, "decode_to_files", None)
    assert folder(photos).load().fingerprint() == first.fingerprint()
    assert len(caches(photos)) == 1


def change_pixels(photos: Path) -> None:
    Image.new("RGB", (9, 9), (1, 2, 3)).save(photos / "a" / "0001.png")


@pytest.mark.parametrize(
    "change",
    [
        change_pixels,
        lambda photos: (photos / "a" / "0001.png").unlink(),
        lambda photos: (photos / "a" / "0001.png").rename(photos / "a" / "9999.png"),
        lambda photos: os.utime(photos / "a" / "0001.png", (1, 1)),
    ],
    ids=["pixels", "removed", "renamed", "touched"],
)
def test_a_changed_source_is_decoded_anew(photos: Path, change: Callable[[Path], Any]) -> None:
    folder(photos).load()
    (before,) = caches(photos)
    change(photos)
    found = folder(photos).load()
    (after,) = caches(photos)  # what the images were before is not kept
    assert before != after
    assert found.fingerprint() == folder(photos, cache="none").load().fingerprint()


def test_sizes_and_folders_do_not_share_a_cache(photos: Path, tmp_path: Path) -> None:
    other = draw(tmp_path / "elsewhere" / "my photos", 20)
    together = str(tmp_path / "caches")
    loads = [
        lambda: folder(photos, cache=together).load(),
        lambda: folder(other, cache=together).load(),
        lambda: ImageFolder(path=str(photos), image_size=4, cache=together, memory=0).load(),
        lambda: folder(photos, channels=1, cache=together).load(),
    ]
    prints = [load().fingerprint() for load in loads]
    assert len(set(prints)) == 4
    assert len([path for path in Path(together).iterdir() if path.is_dir()]) == 4
    assert [load().fingerprint() for load in loads] == prints


def test_backgrounds_do_not_share_a_cache(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clear = Image.new("RGBA", (9, 9), (255, 0, 0, 0))  # transparent: the background shows
    clear.save(photos / "a" / "0001.png")
    prints = [folder(photos, background=name).load().fingerprint() for name in ("white", "black")]
    assert len(set(prints)) == len(caches(photos)) == 2
    monkeypatch.setattr(cache, "decode_to_files", None)  # both are still there
    again = [folder(photos, background=name).load().fingerprint() for name in ("white", "black")]
    assert again == prints


def test_a_cache_that_is_removed_as_soon_as_it_may_be_was_read_before(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process, whose source differs, may remove it once the lock is free."""
    real = cache._locked

    @contextmanager
    def followed(path: Path, what: str) -> Iterator[None]:
        with real(path, what):
            yield
        for place in caches(photos):
            shutil.rmtree(place)

    monkeypatch.setattr(cache, "_locked", followed)
    splits = folder(photos).load()
    assert splits.fingerprint() == folder(photos, cache="none").load().fingerprint()
    assert caches(photos) == []


def test_a_moved_folder_takes_the_cache_beside_it_along(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoded_dataset, "FEW_IMAGES", 10)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    first = folder(photos, cache="auto").load()
    assert first.train.mapped is not None
    assert first.train.mapped.file.parents[1] == photos.parent / FOLDER
    goal = tmp_path / "moved"
    goal.mkdir()
    for path in (photos, photos.parent / FOLDER):
        path.rename(goal / path.name)
    monkeypatch.setattr(cache, "decode_to_files", None)
    assert folder(goal / photos.name, cache="auto").load().fingerprint() == first.fingerprint()


def test_few_small_files_leave_nothing_behind(photos: Path) -> None:
    splits = folder(photos, cache="auto").load()
    assert splits.train.mapped is None
    assert not (photos.parent / FOLDER).exists()


def test_where_the_data_cannot_be_written_the_users_cache_is_used(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoded_dataset, "FEW_IMAGES", 10)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    (photos.parent / FOLDER).write_text("in the way of a folder")  # holds for root as well
    splits = folder(photos, cache="auto").load()
    assert splits.train.mapped is not None
    assert splits.train.mapped.file.is_relative_to(tmp_path / "own" / "vae-run" / "decoded")
    assert (photos.parent / FOLDER).read_text() == "in the way of a folder"
    with pytest.raises(DataError, match=r"dataset.cache: cannot write to .*cache=none"):
        folder(photos).load()


@pytest.mark.parametrize("damage", ["cut", "empty", "gone", "foreign"])
def test_a_damaged_cache_is_made_anew(
    photos: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole = folder(photos).load().fingerprint()
    file = caches(photos)[0] / "train.npy"
    content = file.read_bytes()
    file.unlink()
    if damage != "gone":
        file.write_bytes({"cut": content[:-1], "empty": b"", "foreign": b"x" * 500}[damage])
    assert folder(photos).load().fingerprint() == whole
    assert "is damaged; decoding anew" in caplog.text
    assert file.read_bytes() == content


def test_a_damaged_image_is_named_and_leaves_no_cache(photos: Path) -> None:
    bad = photos / "b" / "0099.png"
    bad.write_bytes(bad.read_bytes()[:60])
    with pytest.raises(DataError, match=r"cannot read the image .*0099\.png: .*; replace or"):
        folder(photos).load()
    assert caches(photos) == []
    bad.unlink()
    assert len(folder(photos).load().train) == 121
    bad.symlink_to(photos / "nothing.png")
    with pytest.raises(DataError, match=r"0099\.png: No such file"):
        folder(photos).load()


def test_a_source_that_changes_meanwhile_is_not_kept(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = cache.decode_to_files

    def changed(*arguments: Any) -> Iterator[int]:
        yield from real(*arguments)
        change_pixels(photos)

    monkeypatch.setattr(cache, "decode_to_files", changed)
    with pytest.raises(DataError, match="was changed while its images were decoded; start again"):
        folder(photos).load()
    assert caches(photos) == []


def test_no_room_is_told_before_anything_is_written(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = cache.shutil.disk_usage("/")._replace(free=100)
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: free)
    with pytest.raises(DataError, match=r"dataset.cache: .*GiB.*Free disk space"):
        folder(photos).load()
    assert caches(photos) == []


def test_the_users_files_are_left_as_they_are(photos: Path) -> None:
    def state() -> dict[Path, tuple[int, bytes]]:
        files = [path for path in photos.rglob("*") if path.is_file()]
        return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}

    before = state()
    folder(photos).load()
    assert state() == before


def load(path: Path, seconds: float, said: Path) -> None:
    """Load in this process, and pause for `seconds` after each piece that is decoded."""
    with said.open("w", buffering=1) as file:
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=file, force=True)
        real = cache.decode_to_files

        def slow(*arguments: Any) -> Iterator[int]:
            for done in real(*arguments):
                yield done
                time.sleep(seconds)

        cache.decode_to_files = slow
        print(folder(path).load().fingerprint(), file=file)


def start(path: Path, seconds: float, said: Path) -> BaseProcess:
    """Another process that loads; it outlives no test."""
    process = processes().Process(  # type: ignore[attr-defined]
        target=load, args=(path, seconds, said), daemon=True
    )
    process.start()
    return process


@pytest.mark.scale
def test_simultaneous_starts_decode_once_and_agree(photos: Path) -> None:
    files = [photos.parent / f"said-{number}" for number in range(2)]
    started = [start(photos, 2.0, file) for file in files]
    for process in started:
        process.join(120)
    ends = [file.read_text().splitlines() for file in files]
    assert [process.exitcode for process in started] == [0, 0], ends
    assert len({lines[-1] for lines in ends}) == 1, "the fingerprints"
    said = "\n".join(lines for end in ends for lines in end)
    assert said.count("decoding 170 images once") == 1
    assert said.count("waiting for another process, which decodes my photos") == 1
    assert len(caches(photos)) == 1


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_on_a_file_system_without_locks_images_are_decoded_with_a_warning(
    photos: Path, number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refused)
    assert len(folder(photos).load().train) == 122
    assert "does not support locks" in caplog.text
    assert len(caches(photos)) == 1
    assert [path.suffix for path in (photos.parent / FOLDER).iterdir() if path.is_file()] == [
        ".lock"
    ]


@pytest.mark.scale
def test_a_kill_half_way_leaves_no_cache_no_process_and_no_obstacle(photos: Path) -> None:
    process = start(photos, 60.0, photos.parent / "said")
    deadline = time.monotonic() + 60
    while not list(photos.parent.glob(f"{FOLDER}/*.partial/train.npy")):
        assert time.monotonic() < deadline
        assert process.is_alive()
        time.sleep(0.01)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    below = [int(pid) for pid in children.read_text().split()] if children.exists() else []
    process.kill()
    process.join()
    assert [path.suffix for path in caches(photos)] == [".partial"]
    found = folder(photos).load()
    assert found.fingerprint() == folder(photos, cache="none").load().fingerprint()
    assert [path.suffix for path in caches(photos)] == [""]
    for pid in below:
        while Path(f"/proc/{pid}").exists():
            assert time.monotonic() < deadline, "a worker outlived the process that it worked for"
            time.sleep(0.05)


def test_a_worker_that_is_killed_is_told(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vae_run.data.images import decode_pool

    real = decode_pool._Worker.do

    def killed(self: Any, job: decode_pool.Job) -> None:
        self.process.kill()
        real(self, job)

    monkeypatch.setattr(decode_pool._Worker, "do", killed)
    with pytest.raises(DataError, match="a process that decoded images was killed"):
        folder(photos).load()
    assert caches(photos) == []


def test_what_is_said_while_decoding(photos: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        folder(photos).load()
    assert "decoding 170 images once, into" in caplog.text
