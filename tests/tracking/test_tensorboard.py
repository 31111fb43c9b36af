"""What TensorBoard shows of a finished run: its tags, and its real page in a headless browser."""

from __future__ import annotations

import html
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.plugins.hparams.api_pb2 import STATUS_SUCCESS
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

if TYPE_CHECKING:
    from conftest import Train

TERMS = ("loss", "reconstruction", "kl", "elbo")
PICTURES = ("reconstructions", "samples", "manifold", "traversals", "interpolations")


def accumulated(run: Path) -> EventAccumulator:
    events = EventAccumulator(str(run), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    events.Reload()
    return events


@pytest.fixture(scope="module")
def events(vae: Path) -> EventAccumulator:
    return accumulated(vae)


def test_the_tags_are_the_public_ones(events: EventAccumulator) -> None:
    tags = events.Tags()
    about = ("learning_rate", "grad_norm", "examples_per_second")
    assert set(tags["scalars"]) == {
        *(f"train/{name}" for name in (*TERMS, *about)),
        *(f"val/{name}" for name in (*TERMS, "mse")),
        *(f"test/{name}" for name in (*TERMS, "mse", "pca_mse", "active_units")),
    }
    while_training = ("training_reconstructions", "training_samples")
    names = (*PICTURES, "learning_curves", *while_training)
    assert set(tags["images"]) == {f"images/{name}" for name in names}
    for name in while_training:
        steps = [event.step // 11 for event in events.Images(f"images/{name}")]
        assert steps == [1, 2, 5, 10, 20], "epochs of 11 steps"
    assert set(tags["histograms"]) == {"latent/mean", "latent/scale"}
    assert set(tags["tensors"]) == {"config/text_summary", "custom_scalars__config__"}


def test_a_deterministic_code_has_neither_kl_nor_elbo(dae: Path) -> None:
    tags = accumulated(dae).Tags()
    assert [tag for tag in tags["scalars"] if tag.endswith(("kl", "elbo"))] == []
    assert tags["histograms"] == ["latent/mean"]
    assert "images/manifold" not in tags["images"]


def test_curves_are_those_of_the_history(events: EventAccumulator, vae: Path) -> None:
    train = [event.step for event in events.Scalars("train/loss")]
    assert train == sorted({*range(10, 221, 10), *range(11, 221, 11)})
    val = events.Scalars("val/elbo")
    assert [event.step for event in val] == list(range(11, 221, 11))
    lines = (vae / "history.csv").read_text(encoding="utf-8").splitlines()
    column = lines[0].split(",").index("val/elbo")
    history = [float(line.split(",")[column]) for line in lines[1:]]
    assert [event.value for event in val] == pytest.approx(history, rel=1e-6)
    test = json.loads((vae / "metrics.json").read_text(encoding="utf-8"))["test"]
    for name, value in test.items():
        (event,) = events.Scalars(f"test/{name}")
        assert (event.step, event.value) == (220, pytest.approx(value, rel=1e-6))


def test_the_pictures_are_the_files(events: EventAccumulator, vae: Path) -> None:
    tags = [tag for tag in events.Tags()["images"] if "training_" not in tag]
    assert sorted(tag.removeprefix("images/") for tag in tags) == sorted(
        file.stem for file in (vae / "figures").glob("*.png")
    )
    assert len(tags) == 6
    for tag in tags:
        (event,) = events.Images(tag)
        file = vae / "figures" / f"{tag.removeprefix('images/')}.png"
        with Image.open(file) as picture:
            assert (event.width, event.height) == picture.size
            shown = Image.frombytes("RGB", picture.size, picture.tobytes())
        assert event.encoded_image_string.startswith(b"\x89PNG")
        assert np.asarray(shown).std() > 1


def test_the_config_is_there_as_text(events: EventAccumulator) -> None:
    (event,) = events.Tensors("config/text_summary")
    text = event.tensor_proto.string_val[0].decode()
    assert text.startswith("```yaml\n")
    assert text.endswith("```")
    assert "latent_dim: 2" in text
    assert "_target_: vae_run.models.networks.MLP" in text


def test_the_layout_puts_train_beside_val(events: EventAccumulator) -> None:
    from tensorboard.plugins.custom_scalar.layout_pb2 import Layout

    (event,) = events.Tensors("custom_scalars__config__")
    layout = Layout.FromString(event.tensor_proto.string_val[0])
    (category,) = layout.category
    charts = {chart.title: list(chart.multiline.tag) for chart in category.chart}
    assert set(charts) == set(TERMS)
    for name, tags in charts.items():
        assert tags == [f"train/{name}", f"val/{name}"]


def test_hparams_hold_the_configuration(vae: Path) -> None:
    content = {
        tag: HParamsPluginData.FromString(metadata.plugin_data.content)
        for tag, metadata in accumulated(vae).summary_metadata.items()
        if metadata.plugin_data.plugin_name == hparams_metadata.PLUGIN_NAME
    }
    assert set(content) == {
        hparams_metadata.SESSION_START_INFO_TAG,
        hparams_metadata.SESSION_END_INFO_TAG,
    }, "a run that names columns, which TensorBoard would take from it alone"
    hparams = content[hparams_metadata.SESSION_START_INFO_TAG].session_start_info.hparams
    values = {key: getattr(v, v.WhichOneof("kind")) for key, v in hparams.items()}
    assert values["latent_dim"] == 2
    assert values["model"] == "vae"
    assert values["optimizer.lr"] == pytest.approx(0.01)
    assert values["network.widths"] == "[32]"
    assert values["network.tied"] is False
    assert "trainer.steps" not in values, "null is an empty cell"
    assert not [key for key in values if "_target_" in key]
    ended = content[hparams_metadata.SESSION_END_INFO_TAG].session_end_info
    assert ended.status == STATUS_SUCCESS


def test_the_projector_has_codes_labels_and_thumbnails(vae: Path, dae: Path) -> None:
    for run, step in ((vae, "00220"), (dae, "00022")):
        folder = run / f"projector_step_{step}" / "latent"
        codes = np.loadtxt(folder / "tensors.tsv")
        labels = np.loadtxt(folder / "metadata.tsv", dtype=int)
        assert codes.shape == (144, 3), "TensorBoard draws nothing below three dimensions"
        assert set(labels) == set(range(10))
        with Image.open(folder / "sprite.png") as sprite:
            assert sprite.size == (12 * 8, 12 * 8)
        config = (run / "projector_config.pbtxt").read_text(encoding="utf-8")
        for line in ("latent", f"projector_step_{step}/latent/tensors.tsv", "single_image_dim: 8"):
            assert line in config
    assert (
        np.loadtxt(vae / "projector_step_00220" / "latent" / "tensors.tsv")[:, 2].tolist()
        == [0.0] * 144
    )


def test_codes_of_one_dimension_are_shown_too(train: Train, tmp_path: Path) -> None:
    run = train(tmp_path / "run", "latent_dim=1", "trainer.steps=1")
    assert np.loadtxt(run / "projector_step_00001" / "latent" / "tensors.tsv").shape == (144, 3)


# --- in a browser -----------------------------------------------------------------------------

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def page(vae: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of TensorBoard before the finished run, a copy alone in its folder."""
    if CHROMIUM is None and os.environ.get("CI") != "true":
        pytest.skip("there is no chromium to open TensorBoard in (apt-get install chromium)")
    assert CHROMIUM is not None, "CI has to look at TensorBoard's page, but there is no chromium"
    logdir = tmp_path_factory.mktemp("logdir")
    shutil.copytree(vae, logdir / vae.name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "tensorboard.main", "--logdir", str(logdir)),
            *("--host", "127.0.0.1", "--port", str(port), "--load_fast=false"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        address = f"http://127.0.0.1:{port}/"
        wait_for_run(f"{address}data/runs", vae.name, server)
        yield address
    finally:
        server.terminate()
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def wait_for_run(address: str, name: str, server: subprocess.Popen[bytes]) -> None:
    """Until the server has read the run's events."""
    end = time.monotonic() + 180
    while True:
        time.sleep(0.1)  # the server needs the processor
        assert server.poll() is None, "TensorBoard ended"
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                if name in json.load(answer):
                    return
        except OSError:
            pass
        assert time.monotonic() < end, "TensorBoard does not show the run"
        time.sleep(0.2)


def rendered(address: str, tags: list[str], folder: Path) -> str:
    """The page's document once its scripts have run and it holds `tags`.

    Chromium's clock is a virtual one, which can run out before the last card is drawn: three
    attempts.
    """
    assert CHROMIUM is not None
    for attempt in range(3):
        done = subprocess.run(
            [
                *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
                *("--no-first-run", "--disable-background-networking", "--disable-sync"),
                *("--disable-component-update", "--disable-dev-shm-usage"),
                *("--window-size=1600,6000", "--virtual-time-budget=20000"),
                "--run-all-compositor-stages-before-draw",
                *(f"--user-data-dir={folder / str(attempt)}", "--dump-dom", address),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        missing = [tag for tag in tags if tag not in done.stdout]
        if not missing:
            break
    assert missing == [], "these are not on the page"
    return done.stdout


@pytest.mark.scale  # a server and a browser
def test_a_browser_shows_the_curves(page: str, vae: Path, tmp_path: Path) -> None:
    tags = [f"{split}/{name}" for split in ("train", "test") for name in TERMS]
    chosen = f"(train%7Ctest)/({'%7C'.join(TERMS)})"
    document = rendered(f"{page}?tagFilter={chosen}#timeseries", tags, tmp_path)
    assert vae.name in re.findall(r">\s*([^<>]+?)\s*<", document)


@pytest.mark.scale
def test_a_browser_shows_the_pictures(page: str, vae: Path, tmp_path: Path) -> None:
    tags = [f"images/{name}" for name in PICTURES] + [f"val/{name}" for name in (*TERMS, "mse")]
    document = rendered(f"{page}?tagFilter=images/(%3F!training)%7Cval/#timeseries", tags, tmp_path)
    sources = re.findall(r'<img [^>]*src="(data/[^"]+)"', document)
    shown = {fetched(page + html.unescape(source)) for source in sources}
    files = {size_of(file.read_bytes()) for file in (vae / "figures").glob("*.png")}
    assert shown == files, "the pictures of the page are not the run's"


def fetched(address: str) -> tuple[int, int]:
    """Width and height of the picture at `address`."""
    with urllib.request.urlopen(address, timeout=10) as answer:
        return size_of(answer.read())


def size_of(content: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(content)) as picture:
        return picture.size
