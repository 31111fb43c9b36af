"""Absent files: found out, said, fetched; nothing of the user's is changed."""

import gzip
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from torchvision import datasets

from vae_run.data.datasets.celeba import CelebA
from vae_run.data.datasets.cifar10 import CIFAR10
from vae_run.data.datasets.mnist import EMNIST, KMNIST, MNIST, FashionMNIST
from vae_run.data.datasets.svhn import SVHN
from vae_run.data.download import Downloaded, adopt, reachable
from vae_run.errors import DataError

ALL = [MNIST, FashionMNIST, KMNIST, EMNIST, CIFAR10, SVHN, CelebA]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    """The address of a web server on this machine, and the folder that it serves."""
    monkeypatch.setenv("no_proxy", "*")
    folder = tmp_path / "served"
    folder.mkdir()
    handler = partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}/", folder
        running.shutdown()


@pytest.mark.parametrize("kind", ALL)
def test_addresses_are_where_torchvision_keeps_them(kind: type[Downloaded]) -> None:
    sources = kind(root="nowhere").sources(getattr(datasets, kind.kin))
    assert sources
    assert all(source.startswith("http") for source in sources)


@pytest.mark.parametrize("kind", ALL)
def test_without_download_the_message_says_it_all(kind: type[Downloaded], tmp_path: Path) -> None:
    dataset = kind(root=str(tmp_path / "data"), download=False)
    with pytest.raises(DataError) as caught:
        dataset.load()
    said = str(caught.value)
    expected = (kind.kin, str(tmp_path / "data"), "dataset.root", "dataset.download=false")
    assert all(word in said for word in (*expected, *dataset.files()))
    assert "\n" not in said
    assert caught.value.exit_code == 3
    assert not (tmp_path / "data").exists()


def test_without_network_it_fails_soon_and_says_it_all(tmp_path: Path) -> None:
    if reachable(datasets.MNIST.mirrors, 3.0):
        pytest.skip("this machine can reach MNIST's mirrors")
    start = time.monotonic()
    with pytest.raises(DataError) as caught:
        MNIST(root=str(tmp_path / "fresh")).load()
    assert time.monotonic() - start < 30
    said = str(caught.value)
    assert f"MNIST is not complete in {tmp_path / 'fresh'}" in said
    assert "no connection to ossci-datasets.s3.amazonaws.com" in said
    assert "dataset.root" in said
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        assert f"MNIST/raw/{name}-ubyte" in said
    assert not (tmp_path / "fresh").exists()


def test_a_silent_server_counts_as_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as silent:  # accepts connections, and says nothing
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        start = time.monotonic()
        assert not reachable([f"http://127.0.0.1:{silent.getsockname()[1]}/"], 0.5)
        assert time.monotonic() - start < 2


def test_one_answer_is_enough(server: tuple[str, Path]) -> None:
    assert reachable(["http://127.0.0.1:1/", server[0] + "no-such-file"], 5.0)
    assert not reachable(["http://127.0.0.1:1/"], 5.0)


def served_mnist(address: str, folder: Path, source: Path, spoil: bool = False) -> type[Any]:
    """torchvision's own MNIST class, with the addresses and checksums of small files."""
    resources = []
    for path in sorted((source / "MNIST" / "raw").iterdir()):
        packed = gzip.compress(path.read_bytes(), mtime=0)
        (folder / f"{path.name}.gz").write_bytes(b"spoilt" if spoil else packed)
        resources.append((f"{path.name}.gz", hashlib.md5(packed).hexdigest()))
    return type("MNIST", (datasets.MNIST,), {"mirrors": [address], "resources": resources})


def test_download_brings_what_is_missing_and_changes_nothing(
    server: tuple[str, Path],
    idx_folder: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    source = idx_folder("MNIST")
    monkeypatch.setattr(datasets, "MNIST", served_mnist(*server, source))
    root = tmp_path / "new" / "root"
    mine = root / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    mine.parent.mkdir(parents=True)
    mine.write_bytes((source / "MNIST" / "raw" / mine.name).read_bytes()[:-1] + b"\x07")
    kept = mine.read_bytes()
    with caplog.at_level(logging.INFO, "vae_run"):
        splits = MNIST(root=str(root)).load()
    assert [len(s) for s in (splits.train, splits.val, splits.test)] == [18, 2, 6]
    assert mine.read_bytes() == kept
    assert splits.test.labels is not None
    assert splits.test.labels[-1] == 7
    assert [path.name for path in root.iterdir()] == ["MNIST"]  # no temporary folder is left
    assert "downloading MNIST into" in caplog.text
    said = capfd.readouterr().out.splitlines()  # the log's line too, where a command ran before
    assert [line for line in said if not line.startswith("downloading MNIST into")] == []


def test_a_spoilt_download_leaves_nothing_behind(
    server: tuple[str, Path],
    idx_folder: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kin = served_mnist(*server, idx_folder("MNIST"), spoil=True)
    monkeypatch.setattr(datasets, "MNIST", kin)
    with pytest.raises(DataError, match=r"MNIST is not complete in .*its download failed"):
        MNIST(root=str(tmp_path / "new")).load()
    assert list((tmp_path / "new").iterdir()) == []


def test_a_root_that_cannot_be_made_is_told(
    server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    kin = type("MNIST", (datasets.MNIST,), {"mirrors": [server[0]]})
    monkeypatch.setattr(datasets, "MNIST", kin)
    with pytest.raises(DataError, match=r"its download failed \((NotADirectory|FileExists)Error"):
        MNIST(root=str(tmp_path / "file")).load()


def test_adopt_never_overwrites(tmp_path: Path) -> None:
    for name, text in (("a/x", "new"), ("a/y", "new"), ("b/z", "new"), ("w", "new")):
        (tmp_path / "from" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "from" / name).write_text(text)
    (tmp_path / "to" / "a").mkdir(parents=True)
    (tmp_path / "to" / "a" / "x").write_text("old")
    (tmp_path / "to" / "w").mkdir()
    adopt(tmp_path / "from", tmp_path / "to")
    found = {name: (tmp_path / "to" / name).read_text() for name in ("a/x", "a/y", "b/z")}
    assert found == {"a/x": "old", "a/y": "new", "b/z": "new"}
    assert (tmp_path / "to" / "w").is_dir()


def test_home_is_expanded(idx_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(idx_folder("MNIST")))
    assert len(MNIST(root="~", download=False).load().test) == 6
