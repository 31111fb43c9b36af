"""Files that name sizes which they do not hold: refused before memory is asked for."""

from __future__ import annotations

import io
import json
import os
import re
import resource
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from parts import composed
from PIL import Image

from vae_run import load
from vae_run.config.check import check
from vae_run.data.datasets.image_folder import ImageFolder
from vae_run.data.datasets.table import Table
from vae_run.errors import CheckpointError, DataError, MemoryShortError, RunError
from vae_run.exports.pretrained import from_pretrained
from vae_run.models.build import build_model
from vae_run.models.distributions.spline_flow import Flow
from vae_run.runs import checkpoint_file
from vae_run.runs.load import refuse_other_model
from vae_run.runs.outline import refuse_unlike
from vae_run.runs.run_directory import RunDirectory
from vae_run.system import hardware
from vae_run.tracking.history import history
from vae_run.training import memory_guard


def set_in(run: Path, key: str, value: Any) -> None:
    file = run / ".hydra" / "config.yaml"
    config = OmegaConf.load(file)
    OmegaConf.update(config, key, value, force_add=True, merge=False)
    OmegaConf.save(config, file)


def altered(run: Path, change: Callable[[dict[str, Any]], None]) -> None:
    state = checkpoint_file.read(run / "checkpoints" / "best.pt")
    change(state)
    checkpoint_file.save(run / "checkpoints" / "best.pt", state)


@pytest.fixture(autouse=True)
def _little_memory() -> Iterator[None]:
    """Each refusal takes less than 600 MB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600_000  # KiB


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("network.widths", [80_000, 80_000], r"expects \[.*80000"),
        ("latent_dim", 10**9, r"is .*, but the configured model expects"),
        ("network.widths", [10**15, 10**15], "not one of this run"),
        ("network.widths", [3] * 1_000, "more than twice as many"),
    ],
)
def test_a_configuration_that_asks_for_gigabytes_of_weights(
    key: str, value: Any, says: str, copy: Path
) -> None:
    set_in(copy, key, value)
    with pytest.raises(RunError, match=says):
        load(copy)


def test_weights_that_claim_more_than_they_hold(copy: Path) -> None:
    """A stride of 0 repeats a number: shapes agree with those of a configuration of 25 GB."""
    huge = check({**RunDirectory(copy).settings(()).raw, "latent_dim": 50_000_000})
    with torch.device("meta"):
        outline = build_model(huge, (1, 8, 8))
    set_in(copy, "latent_dim", 50_000_000)
    state = checkpoint_file.read(copy / "checkpoints" / "best.pt")
    hollow = {
        name: torch.zeros(()).expand(tensor.shape) for name, tensor in outline.state_dict().items()
    }
    with pytest.raises(CheckpointError, match=r"claims to be .*, but holds 4 bytes"):
        refuse_other_model(huge, {**state, "model": hollow}, copy)


def test_examples_of_any_shape(copy: Path) -> None:
    altered(copy, lambda state: state.update(event_shape=[3, 10**5, 10**5]))
    with pytest.raises(CheckpointError, match="more than the 268,435,456 values"):
        load(copy)


def test_a_checkpoint_that_is_compressed(copy: Path) -> None:
    """An archive of a few kilobytes that unpacks to gigabytes, with a good checksum."""
    file = copy / "checkpoints" / "best.pt"
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(file) as source,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for member in source.infolist():
            target.writestr(member.filename, source.read(member) + bytes(10**5))
    body = buffer.getvalue()[:-2]
    digest = checkpoint_file.hashlib.sha256(body).hexdigest().encode()
    file.write_bytes(body + len(digest).to_bytes(2, "little") + digest)
    with pytest.raises(CheckpointError, match="are not compressed"):
        load(copy)


def test_a_checkpoint_larger_than_memory(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sparse file of 25 GB takes no room on the disk; this one ends as a checkpoint does."""
    monkeypatch.setattr(hardware, "_free", lambda: 24e9)
    file = copy / "checkpoints" / "best.pt"
    end = file.read_bytes()[-66:]
    os.truncate(file, 25 * 10**9)
    with pytest.raises(CheckpointError, match="no complete checkpoint"):
        load(copy)
    with file.open("r+b") as opened:
        opened.seek(-66, os.SEEK_END)
        opened.write(end)
    with pytest.raises(CheckpointError, match=r"has 23\.3 GiB, and .* of memory are available"):
        load(copy)


@pytest.mark.parametrize("values", ["[" + "3," * 100_000 + "3]", "\n  - 3" * 100_000])
def test_a_configuration_of_any_number_of_values(values: str, copy: Path) -> None:
    """100,000 layers: refused before they are parsed, which would take seconds."""
    (copy / ".hydra" / "config.yaml").write_text(f"network:\n  widths: {values}\n")
    began = time.process_time()
    with pytest.raises(
        RunError, match=r"100,00\d lines, commas and brackets, more than the 100,000"
    ):
        load(copy)
    assert time.process_time() - began < 0.5


def test_more_layers_than_a_network_has(copy: Path) -> None:
    set_in(copy, "network.widths", [3] * 1_001)
    with pytest.raises(RunError, match=r"network\.widths: .*1000"):
        load(copy)


@pytest.mark.parametrize("name", ["metrics.json", "status.json", "environment.json"])
def test_json_of_any_size(name: str, copy: Path) -> None:
    (copy / name).write_text(json.dumps({"a": ["x" * 100] * 110_000}))
    run = RunDirectory(copy)
    reader = {"metrics": run.metrics, "status": run.read_status, "environment": run.environment}
    with pytest.raises(CheckpointError, match="more than 10,000,000 bytes"):
        reader[name.removesuffix(".json")]()


def test_json_of_any_number_of_lists(copy: Path) -> None:
    (copy / "metrics.json").write_text('{"val": [' + "[]," * 1_000_000 + "1]}")
    with pytest.raises(
        CheckpointError, match="1,000,002 lists and mappings, more than the 500,000"
    ):
        RunDirectory(copy).metrics()


@pytest.mark.parametrize("length", [2**63, 90_000_000])
def test_a_safetensors_file_whose_header_claims_any_size(length: int, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(length.to_bytes(8, "little") + b"{}")
    with pytest.raises(
        CheckpointError, match=rf"header claims {length:,} bytes, more than the 10,"
    ):
        from_pretrained(tmp_path)


def test_a_parquet_file_of_any_number_of_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten million equal values take a few kilobytes."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "rows.parquet"
    parquet.write_table(pyarrow.table({"a": pyarrow.nulls(10**7)}), file)
    assert file.stat().st_size < 10**6
    monkeypatch.setattr("vae_run.data.checks.granted_memory", lambda: 3e7)
    with pytest.raises(DataError, match=r"rows\.parquet holds 0\.0 GiB, more than the 0\.0 GiB"):
        Table(path=str(file)).load()


def test_a_history_of_any_size(copy: Path) -> None:
    os.truncate(copy / "history.csv", 10**11)
    with pytest.raises(CheckpointError, match="more than 100,000,000 bytes"):
        history(RunDirectory(copy))


def test_images_of_any_size(tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "0.png")
    with pytest.raises(DataError, match="100000 x 100000 pixels are 28,610 MiB an image"):
        ImageFolder(path=str(tmp_path), image_size=100_000, test_size=1).load()


def test_a_flow_of_any_size() -> None:
    """Its masks are made of values, and so have memory before its weights do."""
    with pytest.raises(RunError, match="expected at most 8,192 in each"):
        Flow(2, 0, 1, [100_000, 100_000])


def test_a_model_of_ones_own_that_the_memory_does_not_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is stopped before its weights are filled, where the system would kill the process."""
    monkeypatch.setattr(memory_guard, "granted_memory", lambda: 2**20)
    settings = check(composed("network.widths=[512,512]"))
    with (
        pytest.raises(MemoryShortError, match=r"of weights or more, .* 0\.0 GiB of memory are"),
        memory_guard.weights_that_fit(torch.device("cpu")),
    ):
        build_model(settings, (1, 8, 8))
    build_model(settings, (1, 8, 8))  # outside of it nothing is counted


@pytest.mark.parametrize(
    "words",
    [("model=vae_gan",), ("model=hierarchical_vae",), ("model=vq_vae",), ("prior=flow",)],
)
def test_the_outline_of_a_model_is_that_of_the_model(words: tuple[str, ...]) -> None:
    """Also where initial weights, masks or code books are computed."""
    settings = check(composed(*words))
    given = {"event_shape": (1, 8, 8), "levels": None, "classes": None, "one_hot": ()}
    weights = build_model(settings, **given).state_dict()
    refuse_unlike(settings, given, weights, Path("best.pt"))
    name, tensor = next((n, t) for n, t in weights.items() if t.dim() > 1)
    with pytest.raises(CheckpointError, match=rf"{re.escape(name)} is \[1, 1\], but"):
        refuse_unlike(settings, given, {**weights, name: tensor[:1, :1]}, Path("best.pt"))
