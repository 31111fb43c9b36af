"""Broken data: one message that names the file and the remedy, exit code 3, the files untouched.

Every file is really broken. Whatever the bytes, a reader ends, and in that message alone.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import pickle
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat

from vae_run.data import checks, matlab_reader
from vae_run.data.dataset import Dataset
from vae_run.data.datasets.arrays import Arrays
from vae_run.data.datasets.cifar10 import CIFAR10
from vae_run.data.datasets.image_folder import ImageFolder
from vae_run.data.datasets.mnist import MNIST, read_idx
from vae_run.data.datasets.sprites import Sprites
from vae_run.data.datasets.svhn import SVHN
from vae_run.errors import DataError

Break = Callable[[Path], Any]
RNG = np.random.default_rng(0)
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def state(folder: Path) -> dict[str, tuple[int, bytes | None]]:
    """Everything below `folder`: times of change and content."""
    return {
        str(path): (path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in folder.rglob("*")
    }


def refused(dataset: Dataset, folder: Path, *, names: str, says: str) -> None:
    """Loading ends in one line that `names` what is broken and `says` more; `folder` is unchanged.

    The command line ends with exit code 3 and that line (`test_the_command_says_one_line`).
    """
    before = state(folder)
    with pytest.raises(DataError) as caught:
        dataset.load()
    told = str(caught.value)
    assert names in told
    assert says in told
    assert "\n" not in told
    assert state(folder) == before


# idx files: MNIST and its kin


def idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = np.array([0x800 + array.ndim, *array.shape], dtype=">u4")
    path.write_bytes(header.tobytes() + array.astype(np.uint8).tobytes())


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    for stem, count in (("train", 20), ("t10k", 6)):
        raw = root / "MNIST" / "raw" / stem
        idx(Path(f"{raw}-images-idx3-ubyte"), RNG.integers(0, 256, (count, 28, 28)))
        idx(Path(f"{raw}-labels-idx1-ubyte"), np.arange(count) % 10)
    return root


def cut(name: str, size: int) -> Break:
    return lambda raw: (raw / name).write_bytes((raw / name).read_bytes()[:size])


def packed(content: Callable[[bytes], bytes]) -> Break:
    """In place of the images a .gz of them, with its bytes changed by `content`."""

    def change(raw: Path) -> None:
        whole = gzip.compress((raw / IMAGES).read_bytes(), mtime=0)
        (raw / f"{IMAGES}.gz").write_bytes(content(whole))
        (raw / IMAGES).unlink()

    return change


def pipe(raw: Path) -> None:
    (raw / IMAGES).unlink()
    os.mkfifo(raw / IMAGES)


@pytest.mark.parametrize(
    ("change", "name", "says"),
    [
        (lambda raw: (raw / IMAGES).unlink(), IMAGES, "or set dataset.root to the folder that has"),
        (cut(IMAGES, 0), IMAGES, "replace it by a good copy"),
        (cut(IMAGES, 9), IMAGES, "does not start as an idx file"),
        (cut(IMAGES, 9000), IMAGES, "9000 bytes, but its header [20, 28, 28] requires 15696"),
        (cut(LABELS, 20), LABELS, "replace it by a good copy"),
        (lambda raw: idx(raw / LABELS, np.arange(19)), LABELS, "19 labels for 20 images"),
        (lambda raw: idx(raw / IMAGES, np.zeros((20, 14, 14))), IMAGES, "expected images of 28 x"),
        (lambda raw: idx(raw / IMAGES, np.zeros((20, 28))), IMAGES, "does not start as an idx"),
        (
            lambda raw: [idx(raw / IMAGES, np.zeros((0, 28, 28))), idx(raw / LABELS, np.zeros(0))],
            IMAGES,
            "it holds 0 x 28 x 28",
        ),
        (
            lambda raw: (raw / IMAGES).write_bytes(struct.pack(">4I", 0x803, *[2**32 - 1] * 3)),
            IMAGES,
            "16 bytes, but its header",
        ),
        (packed(lambda whole: whole[:-30]), f"{IMAGES}.gz", "replace it by a good copy"),
        (packed(lambda whole: whole[:99] + b"\0" + whole[100:]), f"{IMAGES}.gz", "is damaged"),
        (packed(lambda _: b"no gzip"), f"{IMAGES}.gz", "replace it by a good copy"),
        (
            packed(lambda _: gzip.compress(struct.pack(">4I", 0x803, *[2**32 - 1] * 3))),
            f"{IMAGES}.gz",
            "cannot hold what its header",
        ),
        (lambda raw: [(raw / IMAGES).unlink(), (raw / IMAGES).mkdir()], IMAGES, "is a folder"),
        (pipe, IMAGES, "is a pipe or a device"),
    ],
)  # fmt: skip
def test_broken_idx_files(change: Break, name: str, says: str, mnist: Path) -> None:
    change(mnist / "MNIST" / "raw")
    dataset = MNIST(root=str(mnist), download=False)
    refused(dataset, mnist, names=f"MNIST/raw/{name}", says=says)


def test_a_gz_that_unpacks_to_gigabytes_is_left_after_what_its_header_says(mnist: Path) -> None:
    bomb = mnist / "MNIST" / "raw" / f"{IMAGES}.gz"
    with gzip.open(bomb, "wb", 1) as file:
        file.write(struct.pack(">4I", 0x803, 20, 28, 28))
        for _ in range(64):
            file.write(bytes(2**20))
    (mnist / "MNIST" / "raw" / IMAGES).unlink()
    with pytest.raises(DataError, match=r"gz is damaged: it unpacks to more than its header"):
        MNIST(root=str(mnist)).load()


def test_a_damaged_set_is_never_downloaded_again(
    mnist: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MNIST, "_download", lambda *_: pytest.fail("downloads"))
    cut(IMAGES, 100)(mnist / "MNIST" / "raw")
    with pytest.raises(DataError, match="It is left unchanged"):
        MNIST(root=str(mnist)).load()


def test_no_network_is_told_with_the_files_that_are_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setenv("no_proxy", "")
    root = tmp_path / "data"
    root.mkdir()
    for kind, file in ((MNIST, IMAGES), (CIFAR10, "data_batch_1"), (SVHN, "train_32x32")):
        refused(kind(root=str(root)), root, names=file, says="no connection to")


# .npz files: the user's own arrays


def floats(count: int, *shape: int) -> np.ndarray:
    return RNG.random((count, *(shape or (8, 8)))).astype(np.float32)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"train": np.full((20, 8, 8), np.nan)}, "`train` has 1280 values that are NaN"),
        ({"train": np.full((20, 8, 8), np.inf)}, "or remove their images"),
        ({"train": np.full((20, 8, 8), 1e300)}, "infinite in float32"),
        ({"train": floats(20).astype(int)}, "int64; expected uint8, bool, or floats"),
        ({"train": floats(20).astype(complex)}, "complex128; expected uint8"),
        ({"train": np.array(["a"] * 20)}, "expected uint8, bool, or floats"),
        ({"train": np.array([None] * 20)}, "write it again with numpy.savez"),
        ({"train": floats(20)[:0]}, "with at least one image"),
        ({"train": floats(20), "val": floats(20)[:0]}, "`val` has shape (0, 8, 8)"),
        ({"train": floats(20), "test": floats(20)[:0]}, "`test` has shape (0, 8, 8)"),
        ({"train": np.float32(3)}, "has shape ()"),
        ({"train": floats(20, 2, 2, 2, 2)}, "expected [N, F], [N, H, W]"),
        ({"train": floats(20), "test": floats(5, 9, 9)}, "all splits need the same"),
        ({"train": floats(20), "test": (floats(5) * 255).astype(np.uint8)}, "all splits need"),
        ({"train": floats(1)}, "make them smaller, or add images"),
        ({"train": floats(1), "test": floats(1)}, "make them smaller, or add images"),
        ({"train": floats(20), "train_labels": np.arange(19)}, "one for each of the 20 images"),
        ({"train": floats(20), "train_labels": np.arange(20.0)}, "expected whole numbers"),
        ({"train": floats(20), "train_labels": np.full(20, 2**63, np.uint64)}, "of 2**63 or more"),
        ({"train_labels": np.arange(19)}, "has no array `train`"),
        ({"train": floats(20), "test_labels": np.arange(9)}, "array `test` is missing, but"),
    ],
)  # fmt: skip
def test_arrays_that_cannot_be_used(
    arrays: dict[str, np.ndarray], says: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine" / "data.npz"
    file.parent.mkdir()
    np.savez(file, **arrays)
    refused(Arrays(path=str(file)), file.parent, names=str(file), says=says)


def npy(shape: str, descr: str = "|u1", payload: bytes = b"") -> bytes:
    """An .npy file whose header claims `shape`."""
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (63 - (len(header) + 10) % 64) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + payload


def archive(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in members.items():
            opened.writestr(name, content)
    return file.getvalue()


def whole_npz() -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, train=floats(30), train_labels=np.arange(30))
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "it is not a zip archive, or an incomplete one; write it again"),
        (b"hello", "it is not a zip archive"),
        (whole_npz()[:3000], "it is not a zip archive"),
        (whole_npz()[:300] + b"\xff" + whole_npz()[301:], "write it again with numpy.savez"),
        (npy("(3, 4)", payload=bytes(12)), "is a single array (.npy), expected an .npz archive"),
        (archive({"train.npy": b"no array"}), "write it again with numpy.savez"),
        (archive({"train": b"no array"}), "name another file"),
        (archive({"a.npy": npy("(1,)", payload=b"1"), "b.npy": b""}), "it holds a, b"),
        (archive({"train.npy": npy("(1000000000000, 64, 64)")}), "has 0 bytes, but claims to be"),
        (archive({"train.npy": npy("(4294967296, 4294967296, 4294967296)")}), "but claims to be"),
        (archive({"train.npy": npy("(-5, 8, 8)", payload=b"1")}), "but claims to be"),
        (archive({"train.npy": npy("(2000000, 64, 64)", payload=bytes(9))}), "has 9 bytes, but"),
        (archive({"train.npy": npy("(5, 8)", descr="|O")}), "write it again"),
        (archive({"train.npy": pickle.dumps(print)}), "write it again"),
    ],
    ids=range(14),  # archives hold the time they were made at, which differs between workers
)  # fmt: skip
def test_files_that_are_no_npz(content: bytes, says: str, tmp_path: Path) -> None:
    file = tmp_path / "mine" / "data.npz"
    file.parent.mkdir()
    file.write_bytes(content)
    refused(Arrays(path=str(file)), file.parent, names=f"dataset.path={file}", says=says)


def test_arrays_larger_than_the_machines_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "data.npz"
    file.write_bytes(whole_npz())
    monkeypatch.setattr(checks, "granted_memory", lambda: 64 * 64)
    with pytest.raises(DataError, match=r"more than the .* GiB of memory that this machine grants"):
        Arrays(path=str(file)).load()


@pytest.mark.parametrize("place", ["none.npz", ".", "pipe.npz"])
def test_what_is_no_file(place: str, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    os.mkfifo(folder / "pipe.npz")
    path = folder / place
    for kind in (Arrays, Sprites):
        dataset = kind(path=str(path))
        refused(dataset, folder, names=f"dataset.path={path}", says="name the file")


# Folders of images


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number in range(12):
        path = tmp_path / "photos" / f"{number:02d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(RNG.integers(0, 256, (16, 16, 3), np.uint8)).save(path)
    return tmp_path / "photos"


def png(change: Callable[[bytes], bytes]) -> Break:
    return lambda photos: (photos / "07.png").write_bytes(change((photos / "07.png").read_bytes()))


def named_pipe(photos: Path) -> None:
    (photos / "07.png").unlink()
    os.mkfifo(photos / "07.png")


HUGE = b"\x89PNG\r\n\x1a\n" + struct.pack(
    ">I4sIIBBBBBI", 13, b"IHDR", 2**30, 2**30, 8, 2, 0, 0, 0, 0
)


@pytest.mark.parametrize("cache", ["auto", "kept"])
@pytest.mark.parametrize(
    ("change", "name", "says"),
    [
        (png(lambda whole: whole[:200]), "07.png", "replace or remove it"),
        (png(lambda whole: b""), "07.png", "replace or remove it"),
        (png(lambda whole: b"text"), "07.png", "replace or remove it"),
        (png(lambda whole: whole[:80] + b"\0" * 90 + whole[170:]), "07.png", "replace or remove"),
        (png(lambda whole: HUGE), "07.png", "replace or remove it"),
        (
            lambda photos: Image.fromarray(np.full((9, 9), 40_000, np.uint16)).save(
                photos / "07.png"
            ),
            "07.png",
            "convert it to 8",
        ),
        (lambda photos: Image.new("F", (9, 9)).save(photos / "07.tif"), "07.tif", "convert it"),
        (lambda photos: [p.unlink() for p in photos.iterdir()], "photos", "no image files below"),
        (lambda photos: (photos / "test").mkdir() or (photos / "train").mkdir(), "train", "no im"),
        (
            lambda photos: [p.unlink() for p in photos.iterdir() if p.name != "07.png"],
            "photos",
            "make them smaller, or add images",
        ),
        (named_pipe, "07.png", "replace or remove it"),
    ],
)  # fmt: skip
def test_broken_images(
    change: Break, name: str, says: str, cache: str, photos: Path, tmp_path: Path
) -> None:
    change(photos)
    where = cache if cache == "auto" else str(tmp_path / "kept")
    refused(ImageFolder(path=str(photos), cache=where), photos, names=name, says=says)


def test_links_in_a_circle_end(photos: Path) -> None:
    deep = photos / "deep"
    deep.mkdir()
    for name in ("one", "two", "three"):
        (deep / name).symlink_to(photos, target_is_directory=True)
    started = time.monotonic()
    splits = ImageFolder(path=str(photos), image_size=8).load()
    assert len(splits.train) + len(splits.val) + len(splits.test) == 12
    assert time.monotonic() - started < 20


# The command line


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"train": np.full((20, 8, 8), np.nan)}, "array `train` has 1280 values that are NaN"),
        ({"train": floats(20) * 2}, "Set dataset.scale=unit, or use likelihood=gaussian"),
        ({"train": floats(20), "test": floats(5) - 1}, "lie in [-"),
    ],
)
def test_the_command_says_one_line(
    arrays: dict[str, np.ndarray], says: str, tmp_path: Path, vae_run: Any
) -> None:
    file = tmp_path / "mine" / "data.npz"
    file.parent.mkdir()
    np.savez(file, **arrays)
    before = state(file.parent)
    where = ("dataset=arrays", f"dataset.path={file}", f"hydra.run.dir={tmp_path / 'run'}")
    finished = vae_run("device=cpu", *where)
    told = [line for line in finished.said.splitlines() if line]
    assert finished.code == 3, finished.said
    assert len(told) == 1, finished.said
    assert says in told[0]
    assert str(file) in told[0]
    assert state(file.parent) == before


# What is unusual but sensible


@pytest.mark.parametrize(
    ("arrays", "options", "sizes"),
    [
        ({"train": floats(1), "test": floats(1)}, ("dataset.val_size=0",), (1, 0, 1)),
        ({"train": floats(1), "val": floats(1), "test": floats(1)}, (), (1, 1, 1)),
        (
            {"train": floats(9), "test": floats(2)},
            ("trainer.batch_size=5000", "evaluation.batch_size=5000"),
            (8, 1, 2),
        ),
        ({"train": np.zeros((9, 8, 8), np.float32), "test": floats(2)}, (), (8, 1, 2)),
        ({"train": floats(9, 1, 1), "test": floats(2, 1, 1)}, (), (8, 1, 2)),
    ],
    ids=["one image", "one of each", "a batch larger than the data", "all the same", "one pixel"],
)  # fmt: skip
def test_few_or_dull_data_train(
    arrays: dict[str, np.ndarray], options: tuple[str, ...], sizes: tuple[int, ...],
    tmp_path: Path, train: Any,
) -> None:  # fmt: skip
    np.savez(tmp_path / "data.npz", **arrays)
    path = f"dataset.path={tmp_path / 'data.npz'}"
    run = train(tmp_path / "run", "dataset=arrays", path, *options)
    assert "({} train, {} val, {} test)".format(*sizes) in (run / "train.log").read_text()
    assert "NaN" not in (run / "metrics.json").read_text()


# Fuzzing: readers of bytes

ANY = settings(
    max_examples=60,
    deadline=20_000,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
FLIPS = st.lists(st.tuples(st.integers(0, 2**31), st.integers(0, 255)), min_size=1, max_size=8)


def flipped(whole: bytes, flips: list[tuple[int, int]], length: int | None = None) -> bytes:
    found = bytearray(whole)
    for place, value in flips:
        found[place % len(found)] = value
    return bytes(found[:length])


def survives(load: Callable[[], Any]) -> None:
    """`load` gives something, or the one error that is told; nothing else, and soon."""
    started = time.monotonic()
    with contextlib.suppress(DataError):
        load()
    assert time.monotonic() - started < 15


def loads(dataset: Dataset) -> Callable[[], Any]:
    return dataset.load


@ANY
@given(
    content=st.binary(max_size=64),
    packs=st.booleans(),
    shape=st.tuples(*[st.integers(0, 2**32 - 1)] * 3),
)
def test_any_idx_bytes(tmp_path: Path, content: bytes, packs: bool, shape: tuple[int, ...]) -> None:
    for start in (b"", struct.pack(">4I", 0x803, *shape), struct.pack(">4I", 0x803, 1, 8, 8)):
        path = tmp_path / "fuzzed"
        path = path.with_suffix(".gz") if packs else path
        path.write_bytes(gzip.compress(start + content) if packs else start + content)
        survives(lambda file=path: read_idx(file, 3))  # type: ignore[misc]
        path.unlink()


@ANY
@given(flips=FLIPS, length=st.integers(0, 4000) | st.none())
def test_any_change_of_an_npz(
    tmp_path: Path, flips: list[tuple[int, int]], length: int | None
) -> None:
    path = tmp_path / "fuzzed.npz"
    path.write_bytes(flipped(whole_npz(), flips, length))
    survives(loads(Arrays(path=str(path))))
    path.write_bytes(archive({"train.npy": flipped(npy("(30, 8, 8)", payload=bytes(1920)), flips)}))
    survives(loads(Arrays(path=str(path))))


@ANY
@given(
    shape=st.lists(st.integers(-9, 2**70), max_size=6),
    descr=st.sampled_from(["|u1", "<f4", ">f8", "|b1", "<U9", "|V0", "|O", "<M8[s]", "(2,)u1"]),
    payload=st.binary(max_size=200),
)  # fmt: skip
def test_any_claim_of_an_npz_header(
    tmp_path: Path, shape: list[int], descr: str, payload: bytes
) -> None:
    path = tmp_path / "fuzzed.npz"
    written = npy(f"({''.join(f'{size}, ' for size in shape)})", descr, payload)
    path.write_bytes(archive({"train.npy": written}))
    survives(loads(Arrays(path=str(path))))
    path.write_bytes(archive({"latents_classes.npy": written, "imgs.npy": written}))
    survives(loads(Sprites(path=str(path), images=9)))


def picture(kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (12, 12, 3), np.uint8)).save(file, kind)
    return file.getvalue()


PICTURES = {kind: picture(kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")}


@ANY
@given(
    kind=st.sampled_from(sorted(PICTURES)),
    flips=FLIPS,
    length=st.integers(0, 600) | st.none(),
    head=st.booleans(),
)
def test_any_change_of_an_image(
    tmp_path: Path, kind: str, flips: list[tuple[int, int]], length: int | None, head: bool
) -> None:
    if head:  # where formats keep sizes, offsets and counts
        flips = [(place % 64, value) for place, value in flips]
    content = flipped(PICTURES[kind], flips, length)
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(content if number == 1 else PICTURES["PNG"])
    survives(loads(ImageFolder(path=str(tmp_path), image_size=4)))


@ANY
@given(flips=FLIPS, length=st.integers(0, 12_000) | st.none(), tail=st.binary(max_size=30))
def test_any_change_of_cifars_pickle(
    tmp_path: Path, flips: list[tuple[int, int]], length: int | None, tail: bytes
) -> None:
    batch = {"data": np.zeros((3, 3072), np.uint8), "labels": [1, 2, 3]}
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir(exist_ok=True)
    content = flipped(pickle.dumps(batch, protocol=2), flips, length) + tail
    for name in CIFAR10(root="").files():
        (tmp_path / name).write_bytes(content)
    survives(loads(CIFAR10(root=str(tmp_path))))


CRASHES = st.sampled_from([132, 136, 144, 148, 152, 156, 160, 168, 176, 184])


@settings(ANY, max_examples=4)
@given(flips=st.lists(st.tuples(CRASHES, st.integers(0, 255)), min_size=1, max_size=4))
def test_any_change_of_svhns_matrix(tmp_path: Path, flips: list[tuple[int, int]]) -> None:
    file = io.BytesIO()
    savemat(file, {"X": np.zeros((32, 32, 3, 3), np.uint8), "y": np.ones((3, 1))})
    for name in SVHN(root="").files():
        (tmp_path / name).write_bytes(flipped(file.getvalue(), flips))
    survives(loads(SVHN(root=str(tmp_path))))


def test_a_crash_of_the_reader_of_a_matrix_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dying = tmp_path / "python"
    dying.write_text("#!/bin/sh\nkill -SEGV $$\n")
    dying.chmod(0o755)
    for name in SVHN(root="").files():
        (tmp_path / name).write_bytes(b"a file on which the reader crashes")
    monkeypatch.setattr(matlab_reader.sys, "executable", str(dying))
    with pytest.raises(DataError, match=r"mat is damaged: its reader crashed \(signal 11\)"):
        SVHN(root=str(tmp_path)).load()


def test_reading_leaves_the_global_generator_alone(photos: Path) -> None:
    before = torch.get_rng_state()
    ImageFolder(path=str(photos), image_size=8).load()
    assert torch.equal(torch.get_rng_state(), before)
