"""Runs with `dataset.scale`: the user's own files in, and outputs in the user's own units."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image

from vae_run import load
from vae_run.data.scaling import Scaling
from vae_run.runs.run_directory import RunDirectory
from vae_run.training.experiment import assemble

if TYPE_CHECKING:
    from conftest import Run, Train

IMAGES = np.random.default_rng(0).uniform(10, 250, (40, 3, 4, 4)).astype("f4")
IMAGES[:, 1] /= 5


def trained(folder: Path, train: Train, *words: str) -> Path:
    np.savez(folder / "images.npz", train=IMAGES)
    data = ("dataset=arrays", f"dataset.path={folder / 'images.npz'}", "latent_dim=2")
    return train(folder / "run", *data, "trainer.epochs=1", "evaluation.batch_size=4", *words)


@pytest.fixture(scope="module")
def run(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("standard")
    return trained(folder, train, "dataset.scale=standard", "likelihood=gaussian")


@pytest.fixture
def test_images(run: Path, tmp_path: Path) -> tuple[Path, Any]:
    """The run's test images in a file of the user's, in their own units; and the experiment."""
    made = assemble(RunDirectory(run).settings(), torch.device("cpu"))
    np.savez(tmp_path / "own.npz", images=IMAGES[made.splits.test.index.numpy()])
    return tmp_path / "own.npz", made


def scaling(run: Path) -> Scaling:
    saved = torch.load(run / "checkpoints" / "best.pt", weights_only=True)
    return Scaling.of_state(saved["scaling"])


def outputs(vae_run: Run, task: str, run: Path, *words: str) -> Any:
    file = Path(f"{task}.npz").absolute()
    done = vae_run(f"task={task}", f"run={run}", f"output={file}", "overwrite=true", *words)
    assert done.code == 0, done.said
    return np.load(file)


def test_codes_and_scores_of_own_files_are_those_of_the_evaluation(
    run: Path, test_images: tuple[Path, Any], vae_run: Run
) -> None:
    own, made = test_images
    model = load(run)
    with torch.inference_mode():
        expected = [model.encode(b.input).mean for b in made.view(made.splits.test).batches()]
    for words in (own, "test"):
        codes = outputs(vae_run, "encode", run, f"input={words}")
        assert np.array_equal(codes["mean"], torch.cat(expected).numpy()), "bit for bit"
    found = outputs(vae_run, "score", run, f"input={own}", "metric=mse", "sheet=none")
    metrics = json.loads((run / "metrics.json").read_text())["test"]
    assert found["mse"].mean() == pytest.approx(metrics["mse"], rel=1e-6), "as scaled"


def test_reconstructions_and_samples_are_in_the_units_of_the_data(
    run: Path, test_images: tuple[Path, Any], vae_run: Run
) -> None:
    own, made = test_images
    model, of_run = load(run), scaling(run)
    with torch.inference_mode():
        expected = of_run.raw(model.reconstruct(made.splits.test.pixels(slice(None))))
    found = outputs(vae_run, "reconstruct", run, f"input={own}")["images"]
    assert found == pytest.approx(expected.float().numpy(), rel=1e-4)
    assert 100 < found[:, 0].mean() < 160, "the mean of 10 to 250 is 130"
    assert 20 < found[:, 1].mean() < 32
    drawn = outputs(vae_run, "sample", run, "n=5")
    with torch.inference_mode():
        decoded = model.decode(torch.from_numpy(drawn["z"])).mean
    assert drawn["images"] == pytest.approx(of_run.raw(decoded).float().numpy(), rel=1e-4)


def test_pictures_and_the_log_say_what_was_done(
    run: Path, test_images: tuple[Path, Any], vae_run: Run
) -> None:
    assert "dataset.scale=standard: by the training images" in (run / "train.log").read_text()
    view = test_images[1].view(test_images[1].splits.val)
    assert view.drawn_note == "; drawn as before dataset.scale=standard, black 0 to white 255"
    done = vae_run("task=sample", f"run={run}", "n=1", "output=one.png", "overwrite=true")
    assert done.code == 0, done.said
    side = Image.open("one.png").width // 6  # four pixels between two lines
    first = np.asarray(Image.open("one.png"))[3 * side // 2, 3 * side // 2]
    expected = outputs(vae_run, "sample", run, "n=1")["images"][0, :, 0, 0]
    assert first == pytest.approx(expected, abs=0.51), "0 to 255 is black to white"


def test_other_data_are_measured_by_the_statistics_of_the_run(
    run: Path, vae_run: Run, tmp_path: Path
) -> None:
    np.savez(tmp_path / "other.npz", train=IMAGES[:10], test=IMAGES[20:] * 1.5)
    words = (f"dataset.path={tmp_path / 'other.npz'}", "evaluation.figures=[]")
    done = vae_run("task=evaluate", f"run={run}", *words)
    assert done.code == 0, done.said
    (folder,) = (run / "evaluations").iterdir()
    found = json.loads((folder / "metrics.json").read_text())["test"]["mse"]
    x, model = scaling(run).scaled(torch.from_numpy(IMAGES[20:] * 1.5)), load(run)
    with torch.inference_mode():
        expected = (model.reconstruct(x) - x).square().mean()
    assert found == pytest.approx(float(expected), rel=1e-4)


def test_bytes_for_a_run_on_floats_of_another_range_are_warned_of(
    run: Path, vae_run: Run, tmp_path: Path
) -> None:
    np.save(tmp_path / "bytes.npy", IMAGES[:3].astype(np.uint8))
    words = (f"input={tmp_path / 'bytes.npy'}", "output=bytes.npz", "overwrite=true")
    done = vae_run("task=encode", f"run={run}", *words)
    assert "lie in [0." in done.said
    assert "scale them in the same way" in done.said


def test_files_of_float64_windows_are_read_and_written_as_such(
    train: Train, vae_run: Run, tmp_path: Path
) -> None:
    """Times in seconds since 1970, which float32 cannot tell apart, in windows [N, L, C]."""
    times = 1.7e9 + 60 * np.random.default_rng(0).normal(size=(40, 8, 2))
    np.savez(tmp_path / "times.npz", train=times)
    data = ("dataset=windows", f"dataset.path={tmp_path / 'times.npz'}", "latent_dim=2")
    more = ("dataset.channels_last=true", "dataset.scale=standard", "likelihood=gaussian")
    run = train(tmp_path / "run", *data, *more, "trainer.epochs=1", "network.widths=[8]")
    made = assemble(RunDirectory(run).settings(), torch.device("cpu"))
    np.save(tmp_path / "own.npy", times[made.splits.test.index.numpy()])
    codes = outputs(vae_run, "encode", run, f"input={tmp_path / 'own.npy'}")["mean"]
    with torch.inference_mode():
        x = made.splits.test.images
        expected = load(run).encode(x).mean.numpy()
        decoded = scaling(run).raw(load(run).reconstruct(x)).numpy()
    assert codes == pytest.approx(expected, abs=1e-6)
    words = (f"run={run}", f"input={tmp_path / 'own.npy'}", "output=again.npz")
    done = vae_run("task=reconstruct", *words)
    assert "`images` are [N, channels, steps]" in done.said
    again = np.load("again.npz")["images"]
    assert (again.dtype, again.shape) == (np.float64, decoded.shape)
    assert again - 1.7e9 == pytest.approx(decoded - 1.7e9, abs=1e-3)
    assert outputs(vae_run, "sample", run, "n=2")["images"].dtype == np.float64


def test_pixels_outside_of_the_training_range_are_refused(
    train: Train, vae_run: Run, tmp_path: Path
) -> None:
    whole = np.concatenate([IMAGES, *[np.full((1, 3, 4, 4), v, "f4") for v in (10, 250)]])
    np.savez(tmp_path / "images.npz", train=whole, test=IMAGES, val=IMAGES)
    words = ("dataset=arrays", f"dataset.path={tmp_path / 'images.npz'}", "latent_dim=2")
    run = train(tmp_path / "run", *words, "trainer.epochs=1", "dataset.scale=unit")
    np.save(tmp_path / "own.npy", np.full((2, 3, 4, 4), 260, "f4"))
    done = vae_run("task=encode", f"run={run}", f"input={tmp_path / 'own.npy'}", "output=z.npz")
    assert done.code == 3
    assert (
        "values outside of those that the run was trained on, which dataset.scale=unit" in done.said
    )
