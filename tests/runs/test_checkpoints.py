"""Checkpoint files: whole or absent, verified, and no code of theirs is ever run."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import struct
from pathlib import Path

import pytest
import torch

from vae_run.errors import CheckpointError
from vae_run.runs import checkpoint_file
from vae_run.version import __version__

STATE = {
    "step": 7,
    "value": None,
    "rate": 0.1,
    "names": ["a", "b"],
    "model": {"weight": torch.arange(6.0).reshape(2, 3), "flag": torch.tensor(True)},
    "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-3}]},
    "noise": torch.Generator().manual_seed(5).get_state(),
}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "last.pt"
    checkpoint_file.save(path, STATE)
    return path


def signed(content: bytes) -> bytes:
    """`content` with a checksum in its place, as a forger who has read the format would add it."""
    body = content[:-2]
    return body + struct.pack("<H", 64) + hashlib.sha256(body).hexdigest().encode()


def test_what_is_saved_is_read_again(file):
    found = checkpoint_file.read(file)
    assert found.pop("format") == checkpoint_file.FORMAT
    assert found.pop("written_by") == f"vae-run {__version__}"
    assert found.keys() == STATE.keys()
    for name in ("step", "value", "rate", "names"):
        assert found[name] == STATE[name]
    torch.testing.assert_close(found["model"], STATE["model"], rtol=0, atol=0)
    torch.testing.assert_close(found["optimizer"], STATE["optimizer"], rtol=0, atol=0)
    assert torch.equal(found["noise"], STATE["noise"])


def test_plain_torch_opens_the_file(file):
    found = torch.load(file, weights_only=True)
    assert torch.equal(found["model"]["weight"], STATE["model"]["weight"])


def test_a_later_save_replaces_the_file(file):
    checkpoint_file.save(file, {"step": 8})
    assert checkpoint_file.read(file)["step"] == 8
    assert [entry.name for entry in file.parent.iterdir()] == ["last.pt"]


def test_a_flipped_byte_anywhere_is_damage(file):
    content = file.read_bytes()
    places = {round(i * (len(content) - 1) / 60) for i in range(61)}
    for place in sorted(places | set(range(len(content) - 70, len(content), 3))):
        damaged = bytearray(content)
        damaged[place] ^= 0x10
        file.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"last\.pt"):
            checkpoint_file.read(file)


@pytest.mark.parametrize("kept", [0, 1, 22, 64, 66, 0.1, 0.5, 0.9, -66, -1])
def test_a_truncated_file_is_damage(file, kept):
    content = file.read_bytes()
    file.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    with pytest.raises(CheckpointError, match="no complete checkpoint"):
        checkpoint_file.read(file)


def test_bytes_that_were_added_are_damage(file):
    with file.open("ab") as opened:
        opened.write(b"\0")
    with pytest.raises(CheckpointError):
        checkpoint_file.read(file)


def test_a_missing_file_is_named(tmp_path):
    for path in (tmp_path / "none.pt", tmp_path):
        with pytest.raises(CheckpointError, match="cannot be read") as caught:
            checkpoint_file.read(path)
        assert str(path) in str(caught.value)
        assert caught.value.exit_code == 3


def test_another_programs_file_is_refused(file):
    torch.save(STATE, file)
    with pytest.raises(CheckpointError, match="no complete checkpoint"):
        checkpoint_file.read(file)
    file.write_text("not a checkpoint at all, but longer than a checksum " * 5)
    with pytest.raises(CheckpointError, match="no complete checkpoint"):
        checkpoint_file.read(file)


@pytest.mark.parametrize("found", [99, "1", None])
def test_a_later_format_is_refused(file, found):
    checkpoint_file.save(file, {"format": found})
    with pytest.raises(CheckpointError, match="Update vae-run"):
        checkpoint_file.read(file)


def test_what_is_no_mapping_is_refused(file):
    buffer = io.BytesIO()
    torch.save([1, 2], buffer)
    file.write_bytes(signed(buffer.getvalue()))
    with pytest.raises(CheckpointError):
        checkpoint_file.read(file)


class Payload:
    """Makes a file where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return (os.mkdir, (str(self.marker),))


def archive(payload):
    buffer = io.BytesIO()
    torch.save({"format": 1, "model": payload}, buffer)
    return buffer.getvalue()


def old_style(payload):
    buffer = io.BytesIO()
    torch.save({"format": 1, "model": payload}, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue() + b"\0\0"


def bare_pickle(payload):
    return pickle.dumps({"format": 1, "model": payload}, protocol=2) + b"\0" * 100


@pytest.mark.parametrize("forge", [archive, old_style, bare_pickle])
def test_code_in_a_file_with_a_valid_checksum_is_not_run(file, tmp_path, forge):
    marker = tmp_path / "executed"
    content = forge(Payload(marker))
    file.write_bytes(signed(content))
    with pytest.raises(CheckpointError, match="refused"):
        checkpoint_file.read(file)
    assert not marker.exists()
    # The payload is a real one: a careless reader runs it.
    if forge is bare_pickle:
        pickle.loads(content)
    else:
        torch.load(io.BytesIO(content), weights_only=False)
    assert marker.exists()


def test_a_write_that_fails_leaves_the_old_file_and_no_other(file, monkeypatch):
    before = file.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint_file.save(file, {"step": 8})
    assert file.read_bytes() == before
    assert [entry.name for entry in file.parent.iterdir()] == ["last.pt"]


def test_the_file_is_whole_before_it_takes_its_name(file, monkeypatch):
    seen = []
    replace = os.replace

    def watched(source, target):
        seen.append(
            (checkpoint_file.read(Path(source))["step"], checkpoint_file.read(file)["step"])
        )
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    checkpoint_file.save(file, {"step": 8})
    assert seen == [(8, 7)]


def test_a_target_that_cannot_be_replaced_leaves_nothing_behind(tmp_path):
    target = tmp_path / "taken"
    (target / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="taken"):
        checkpoint_file.write_atomically(target, b"content")
    assert [entry.name for entry in tmp_path.iterdir()] == ["taken"]
