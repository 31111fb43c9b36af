"""The tasks on a trained run, and what training itself can be asked for."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from parts import composed, experiment
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vae_run import load
from vae_run.config.check import check
from vae_run.corruptions import NoCorruption
from vae_run.data.batches import evaluation_batches
from vae_run.data.datasets.digits import Digits
from vae_run.runs import checkpoint_file
from vae_run.tasks.check import beta, data, draw_some
from vae_run.training.experiment import assemble

CPU = torch.device("cpu")

if TYPE_CHECKING:
    from conftest import Run, Train


@pytest.fixture
def copy(dae: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the denoising run, to be written to."""
    return Path(shutil.copytree(dae, tmp_path_factory.mktemp("copy") / "run"))


@pytest.fixture(scope="module")
def pixels() -> np.ndarray[Any, Any]:
    """Five known images, uint8 [5, 8, 8]."""
    return np.random.default_rng(1).integers(0, 256, (5, 8, 8), dtype=np.uint8)


@pytest.fixture(scope="module")
def images(pixels: np.ndarray[Any, Any]) -> torch.Tensor:
    """The same as the model wants them."""
    return torch.from_numpy(pixels.astype(np.float32) / 255.0)[:, None]


def snapshot(run: Path) -> dict[str, str]:
    """A digest of every file."""
    return {
        str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in run.rglob("*")
        if path.is_file()
    }


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def history(run: Path) -> list[dict[str, float]]:
    with (run / "history.csv").open(newline="", encoding="utf-8") as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


# --- evaluate ---------------------------------------------------------------------------------


def test_evaluate_reproduces_the_figures_of_training(copy: Path, vae_run: Run) -> None:
    before, files = read(copy / "metrics.json"), snapshot(copy)
    finished = vae_run("task=evaluate", f"run={copy}")
    assert finished.code == 0, finished.said
    assert read(copy / "metrics.json") == before
    after = snapshot(copy)
    changed = {name for name in files if after[name] != files[name]}
    # The report tells the place of the run, and this is a copy.
    assert changed <= {"report.html"}, "metrics and pictures come out as they were"
    assert {name.split(".")[0] for name in set(after) - set(files)} == {"events"}
    assert list(Path.cwd().iterdir()) == []


def test_evaluate_does_not_depend_on_its_batch(copy: Path, vae_run: Run) -> None:
    before = read(copy / "metrics.json")
    assert vae_run("task=evaluate", f"run={copy}", "evaluation.batch_size=37").code == 0
    after = read(copy / "metrics.json")
    for split in ("val", "test"):
        assert after[split] == pytest.approx(before[split], rel=1e-6)
    assert after["train"] == before["train"]


def test_evaluate_adds_chosen_metrics_to_those_there(vae: Path, vae_run: Run) -> None:
    before = snapshot(vae)
    finished = vae_run("task=evaluate", f"run={vae}", "evaluation.metrics=[mze]")
    assert finished.code == 1
    assert snapshot(vae) == before


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        (["corruption=masking"], "corruption=masking"),
        (["corruption=none"], "corruption=none"),
        (["dataset.classes=[0]"], "dataset.classes=_0_"),
        (["checkpoint=last"], "last"),
        (
            ["corruption=masking", "corruption.level=0.7"],
            "corruption.level=0.7,corruption=masking",
        ),
    ],
)
def test_other_conditions_go_into_a_folder_of_their_own(
    typed: list[str], name: str, copy: Path, vae_run: Run
) -> None:
    files = snapshot(copy)
    finished = vae_run("task=evaluate", f"run={copy}", "evaluation.figures=[samples]", *typed)
    assert finished.code == 0, finished.said
    after = snapshot(copy)
    assert {n: after[n] for n in files} == files, "nothing of the run itself may change"
    folder = f"evaluations/{name}"
    data = ["environment.json"] if name.startswith("dataset") else []  # whose fingerprint
    names = ("metrics.json", "report.html", "figures/samples.png", *data)
    assert set(after) - set(files) == {f"{folder}/{name}" for name in names}
    own, other = (read(copy / place / "metrics.json")["test"] for place in (".", folder))
    assert own.keys() == other.keys()
    if "last" not in typed[0]:
        assert own["loss"] != other["loss"]


def test_more_corruption_is_harder(copy: Path, vae_run: Run) -> None:
    for level in ("0.1", "0.9"):
        overrides = ("corruption=masking", f"corruption.level={level}")
        assert vae_run("task=evaluate", f"run={copy}", *overrides).code == 0
    folder = copy / "evaluations"
    few, many = (
        read(folder / f"corruption.level={x},corruption=masking" / "metrics.json")["test"]["mse"]
        for x in ("0.1", "0.9")
    )
    assert few < many


def test_a_key_of_the_runs_own_part_can_be_changed(copy: Path, vae_run: Run) -> None:
    finished = vae_run("task=evaluate", f"run={copy}", "corruption.level=0.9")
    assert finished.code == 0, finished.said
    whole = vae_run("task=evaluate", f"run={copy}", "corruption=gaussian", "corruption.level=0.9")
    assert whole.code == 0, whole.said
    own, other, same = (
        read(copy / folder / "metrics.json")["test"]
        for folder in (
            ".",
            "evaluations/corruption.level=0.9",
            "evaluations/corruption.level=0.9,corruption=gaussian",
        )
    )
    assert other == same
    assert other["mse"] != own["mse"], "0.9 is not the level of the training"


@pytest.mark.parametrize("typed", ["latent_dim=3", "model=vae", "objective=elbo", "seed=1"])
def test_evaluate_refuses_what_would_be_another_model(typed: str, copy: Path, vae_run: Run) -> None:
    files = snapshot(copy)
    finished = vae_run("task=evaluate", f"run={copy}", typed)
    assert finished.code == 1
    assert f"{typed.split('=')[0]}: task=evaluate rebuilds the run" in finished.said
    assert snapshot(copy) == files


def test_a_key_of_the_runs_own_data_can_be_changed(
    train: Train, vae_run: Run, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 6, 5), dtype=np.uint8)
    np.savez(tmp_path / "first.npz", train=pixels)
    np.savez(tmp_path / "second.npz", train=pixels // 2)
    data = f"dataset.path={tmp_path / 'first.npz'}"
    run = train(tmp_path / "run", "dataset=arrays", data, "dataset.val_size=9")
    own = json.loads((run / "metrics.json").read_text())
    finished = vae_run("task=evaluate", f"run={run}", f"dataset.path={tmp_path / 'second.npz'}")
    assert finished.code == 0, finished.said
    (other,) = (run / "evaluations").iterdir()
    found = json.loads((other / "metrics.json").read_text())
    assert found["test"]["loss"] != own["test"]["loss"]
    assert json.loads((run / "metrics.json").read_text()) == own


def test_a_sweep_of_another_task_is_refused(copy: Path, vae_run: Run, tmp_path: Path) -> None:
    finished = vae_run("-m", "task=evaluate", f"run={copy},{copy}", cwd=tmp_path)
    assert finished.code == 1
    assert "task: found evaluate" in finished.said
    assert list(tmp_path.iterdir()) == []


# --- check ------------------------------------------------------------------------------------


def test_check_tells_the_experiment_and_trains_nothing(vae_run: Run, tmp_path: Path) -> None:
    finished = vae_run("task=check", "latent_dim=2", "network.widths=[16]", "objective.beta=4")
    assert finished.code == 0
    said = " ".join(finished.out.split())
    # encoder 64*16+16, posterior 16*4+4, decoder 2*16+16, likelihood 16*64+64
    for words in (
        *("train 1,294 val 144 test 359", "1 x 8 x 8", "[0, 1]", "BernoulliLikelihood"),
        *("network=mlp", "1,040 parameters", "68 parameters", "48 parameters", "1,088 parameters"),
        *("2,244 parameters", "4 on the KL", "1,100", "MiB"),
        *(f"threads {os.environ['OMP_NUM_THREADS']} (OMP_NUM_THREADS)", "compile no ("),
        "trainer.compile=auto: 1,100 steps gain about 2 s, and compiling takes about 25 s)",
    ):
        assert words in said, words
    assert list(tmp_path.iterdir()) == []


def test_check_refuses_data_outside_of_the_likelihood(vae_run: Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "wide.npz", train=np.linspace(-1, 3, 50 * 4, dtype="f4").reshape(50, 4))
    typed = ("task=check", "dataset=arrays", "dataset.path=wide.npz", "network.widths=[4]")
    finished = vae_run(*typed)
    assert finished.code == 3
    assert "[-1, 3]" in finished.said
    assert "likelihood=gaussian" in finished.said
    assert vae_run(*typed, "likelihood=gaussian").code == 0


def save_arrays(folder: Path) -> str:
    """A file of 40 images of classes `ok` and `bad`, 10 of them to test on, and an unread array."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 6, 9), np.uint8)
    kinds = np.array(["ok", "ok", "bad", "ok"] * 10)
    path = folder / "d.npz"
    np.savez(path, x_train=pixels, y_train=kinds, x_test=pixels[:10], y_test=kinds[:10], more=kinds)
    return str(path)


def test_check_tells_how_the_data_were_understood(tmp_path: Path) -> None:
    words = ("dataset=arrays", f"dataset.path={save_arrays(tmp_path)}", "dataset.val_size=4")
    made = assemble(check(composed(*words, "corruption=masking", "dataset.classes=[ok]")), CPU)
    rows = data(made)
    assert ("class", "1 ok: train 26  val 4  test 8") in rows
    assert [text.partition(": ")[2] for name, text in rows if name == "data"] == [
        "x_train is read as train, y_train is read as train_labels, x_test is read as test, "
        "y_test is read as test_labels",
        "not read: more",
        "0 bad, 1 ok",
    ]
    draw_some(made, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        colours = {tuple(colour) for colour in np.asarray(sheet).reshape(-1, 3).tolist()}
    level = int(made.splits.train.stored(slice(0, 1))[0, 0, 0, 0])
    assert (level,) * 3 in colours
    unlabelled = experiment("corruption=none", shape=(7,))
    unlabelled.splits = replace(
        unlabelled.splits, train=replace(unlabelled.splits.train, labels=None)
    )
    assert ("classes", "none: the vectors have no labels") in data(unlabelled)
    draw_some(unlabelled, tmp_path / "vectors.png")


def test_check_draws_into_no_file_of_the_user(vae_run: Run, tmp_path: Path) -> None:
    typed = ("task=check", "network.widths=[4]", "output=deep/sheet.png")
    assert vae_run(*typed).code == 0
    assert vae_run(*typed).code == 0, "it is the program's own"
    Image.new("RGB", (4, 4)).save("deep/sheet.png")
    refused = vae_run(*typed)
    assert refused.code == 1
    assert "overwrite=true" in refused.said
    assert vae_run(*typed, "overwrite=true").code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]


def test_how_the_data_were_understood_is_logged_when_a_run_starts(
    vae_run: Run, tmp_path: Path
) -> None:
    words = ("dataset=arrays", f"dataset.path={save_arrays(tmp_path)}", "network.widths=[4]")
    finished = vae_run(*words, "trainer.steps=1", "evaluation.figures=[]", "latent_dim=2")
    assert finished.code == 0, finished.said
    for said in ("not read: more", "labels of the classes: 0 bad, 1 ok"):
        assert finished.said.count(said) == 1


# --- sample, encode, reconstruct --------------------------------------------------------------


def test_sample_arrays_are_reproducible_and_decoded_from_the_prior(
    vae: Path, vae_run: Run, tmp_path: Path
) -> None:
    files = snapshot(vae)
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        typed = ("task=sample", f"run={vae}", "n=300", f"output=deep/{name}.npz", f"seed={seed}")
        assert vae_run(*typed).code == 0
    a, b, c = (np.load(tmp_path / "deep" / f"{name}.npz") for name in "abc")
    assert a["images"].shape == (300, 1, 8, 8)
    assert a["z"].shape == (300, 2)
    assert np.array_equal(a["images"], b["images"])
    assert not np.array_equal(a["z"], c["z"])
    assert abs(a["z"].mean()) < 0.15
    assert a["z"].std() == pytest.approx(1, abs=0.1)
    decoded = load(vae).decode(torch.from_numpy(a["z"])).mean.detach().numpy()
    assert np.array_equal(decoded, a["images"])
    assert snapshot(vae) == files
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]


def test_sample_pictures(vae: Path, vae_run: Run, tmp_path: Path) -> None:
    assert vae_run("task=sample", f"run={vae}", "n=10", "output=grid.png").code == 0
    with Image.open(tmp_path / "grid.png") as grid:
        width, height = grid.size
        assert (width % (4 * 9 + 1), height % (3 * 9 + 1)) == (0, 0), "4 columns, 3 rows"
        scale = width // 37
        small = np.asarray(grid.convert("L"))[scale // 2 :: scale, scale // 2 :: scale]
    torch.manual_seed(0)
    drawn = load(vae).sample(10)
    expected = (drawn[0, 0] * 255).round().byte().numpy()
    assert np.array_equal(small[1:9, 1:9], expected)


def test_a_family_without_prior_samples_from_its_codes(
    dae: Path, vae_run: Run, tmp_path: Path
) -> None:
    finished = vae_run("task=sample", f"run={dae}", "n=2000", "output=x.npz")
    assert finished.code == 0
    assert "a Gaussian fitted to the codes" in finished.out
    train = Digits().load().train.pixels(slice(None))
    noise = [
        b.input for b in evaluation_batches(
            Digits().load().train, _corruption(), batch_size=5000, noise=(1, 3)
        )
    ]  # fmt: skip
    assert noise[0].shape == train.shape
    codes = load(dae).encode(noise[0]).mean.detach()
    z = torch.from_numpy(np.load(tmp_path / "x.npz")["z"])
    assert z.mean(0) == pytest.approx(codes.mean(0).numpy(), abs=0.15 * float(codes.std()))
    assert torch.cov(z.T) == pytest.approx(
        torch.cov(codes.T).numpy(), abs=0.15 * float(codes.var())
    )


def _corruption() -> Any:
    from vae_run.corruptions import GaussianNoise

    return GaussianNoise(level=0.3)


def write_inputs(folder: Path, pixels: np.ndarray[Any, Any]) -> dict[str, int]:
    """The known images in every way that a file may hold them; how many each holds."""
    floats = pixels.astype(np.float32) / 255
    np.savez(folder / "one.npz", anything=pixels)
    np.savez(folder / "named.npz", images=floats[:, None], other=np.zeros(3))
    np.save(folder / "grey.npy", floats)
    np.save(folder / "last.npy", pixels[..., None])
    np.save(folder / "flat.npy", pixels.reshape(5, -1))
    Image.fromarray(pixels[0]).save(folder / "first.png")
    (folder / "folder").mkdir()
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(folder / "folder" / f"{i}.png")
    (folder / "folder" / "notes.txt").write_text("no picture", encoding="utf-8")
    return {
        **dict.fromkeys(("one.npz", "named.npz", "grey.npy", "last.npy", "flat.npy", "folder"), 5),
        "first.png": 1,
    }


def test_encode_and_reconstruct_read_files_of_every_kind(
    vae: Path, vae_run: Run, tmp_path: Path, pixels: np.ndarray[Any, Any], images: torch.Tensor
) -> None:
    before = snapshot(vae)
    inputs = write_inputs(tmp_path, pixels)
    files = {path.name for path in tmp_path.iterdir()}
    model = load(vae)
    q, restored = model.encode(images), model.reconstruct(images).numpy()
    for name, count in inputs.items():
        finished = vae_run("task=encode", f"run={vae}", f"input={name}", "output=codes.npz")
        assert finished.code == 0, finished.said
        codes = np.load(tmp_path / "codes.npz")
        named = ["names"] if name in ("folder", "first.png") else []
        assert codes.files == [*named, "index", "mean", "scale"]
        assert codes["mean"] == pytest.approx(q.mean.detach().numpy()[:count], rel=1e-5), name
        assert codes["scale"] == pytest.approx(q.stddev.detach().numpy()[:count], rel=1e-5), name
        typed = ("task=reconstruct", f"run={vae}", f"input={name}", "output=again.npz")
        assert vae_run(*typed).code == 0
        again = np.load(tmp_path / "again.npz")["images"]
        assert again == pytest.approx(restored[:count], rel=1e-5), name
    typed = ("task=reconstruct", f"run={vae}", "input=one.npz", "output=again.png")
    assert vae_run(*typed).code == 0
    assert Image.open(tmp_path / "again.png").size[0] % 28 == 0
    written = {path.name for path in tmp_path.iterdir()} - files
    assert written == {"codes.npz", "again.npz", "again.png"}
    assert snapshot(vae) == before


def test_a_deterministic_code_has_no_scale(
    dae: Path, vae_run: Run, tmp_path: Path, pixels: np.ndarray[Any, Any], images: torch.Tensor
) -> None:
    np.save(tmp_path / "x.npy", pixels)
    typed = ("task=encode", f"run={dae}", "input=x.npy", "output=z.npz", "checkpoint=last")
    assert vae_run(*typed).code == 0
    codes = np.load(tmp_path / "z.npz")
    assert codes.files == ["index", "mean"]
    expected = load(dae, checkpoint="last").encode(images).mean.detach().numpy()
    assert codes["mean"] == pytest.approx(expected, rel=1e-5)


def test_the_users_files_are_checked(
    vae: Path, vae_run: Run, tmp_path: Path, pixels: np.ndarray[Any, Any]
) -> None:
    np.save(tmp_path / "good.npy", pixels)
    np.save(tmp_path / "small.npy", pixels[:, :7])
    np.save(tmp_path / "bent.npy", pixels.reshape(5, 16, 4))
    np.save(tmp_path / "empty.npy", pixels[:0])
    np.save(tmp_path / "nan.npy", np.full((1, 8, 8), np.nan, dtype=np.float32))
    np.save(tmp_path / "text.npy", np.array(["a", "b"]))
    np.savez(tmp_path / "two.npz", a=pixels, b=pixels)
    np.savez(tmp_path / "none.npz")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04no archive")
    (tmp_path / "hollow").mkdir()
    bad = {
        "missing.npz": "input: there is no file missing.npz",
        "small.npy": "[5, 7, 8]",
        "bent.npy": "[5, 16, 4]",
        "empty.npy": "(0, 8, 8)",
        "nan.npy": "NaN or infinite",
        "text.npy": "text.npy",
        "two.npz": "input: two.npz holds a, b",
        "none.npz": "none.npz",
        "broken.png": "broken.png",
        "broken.npz": "broken.npz",
        "hollow": "no image files below hollow",
    }
    for name, words in bad.items():
        finished = vae_run("task=encode", f"run={vae}", f"input={name}", "output=z.npz")
        assert finished.code == 3, (name, finished.said)
        assert words in finished.said, name
        assert "Traceback" not in finished.said
    assert not (tmp_path / "z.npz").exists()


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("task=sample output=x.jpg", "output: found x.jpg, expected a name that ends in .png"),
        ("task=sample output=x.npz n=0", "n: found 0"),
        ("task=sample output=x.npz checkpoint=first", "checkpoint: found 'first'"),
        ("task=sample output=x.npz latent_dim=3", "latent_dim: task=sample takes the model as"),
        ("task=encode input=good.npy output=z.png", "output: found z.png, expected"),
        ("task=encode input=good.npy", "output: a value is needed"),
        ("task=reconstruct output=z.png", "input: a value is needed"),
    ],
)
def test_wrong_requests_of_a_run_are_refused(
    typed: str, words: str, vae: Path, vae_run: Run, tmp_path: Path
) -> None:
    finished = vae_run(f"run={vae}", *typed.split())
    assert finished.code == 1
    assert words in finished.said
    assert list(tmp_path.iterdir()) == []


# --- training ---------------------------------------------------------------------------------

STILL = ("optimizer=sgd", "optimizer.lr=1e-30")
"""A training that moves no weight."""


def test_init_from_starts_from_the_best_weights(vae: Path, train: Train, tmp_path: Path) -> None:
    shape = ("latent_dim=2", "network.widths=[32]", "network.activation=silu")
    run = train(tmp_path / "run", f"init_from={vae}", *shape, *STILL, "trainer.steps=1")
    source, started = (
        checkpoint_file.read(r / "checkpoints" / name)["model"]
        for r, name in ((vae, "best.pt"), (run, "last.pt"))
    )
    assert source.keys() == started.keys()
    assert all(torch.equal(source[name], started[name]) for name in source)
    ours, theirs = (read(r / "metrics.json")["test"] for r in (run, vae))
    assert ours == theirs


def test_init_from_another_model_names_the_first_difference(
    vae: Path, vae_run: Run, tmp_path: Path
) -> None:
    finished = vae_run(f"init_from={vae}", "latent_dim=2", "network.widths=[9]",
                       "hydra.run.dir=run")  # fmt: skip
    assert finished.code == 3
    assert "best.pt" in finished.said
    assert "decoder" in finished.said
    assert not (tmp_path / "run").exists()


def test_early_stopping(vae_run: Run, tmp_path: Path) -> None:
    finished = vae_run("network.widths=[8]", *STILL, "trainer.patience=2", "hydra.run.dir=run",
                       "evaluation.figures=[]")  # fmt: skip
    assert finished.code == 0
    assert "trainer.patience" in finished.out
    status = read(tmp_path / "run" / "status.json")
    assert (status["state"], status["epoch"]) == ("completed", 3)
    assert checkpoint_file.read(tmp_path / "run" / "checkpoints" / "best.pt")["epoch"] == 1


def test_max_time_ends_training(vae_run: Run, tmp_path: Path) -> None:
    finished = vae_run("network.widths=[8]", "trainer.max_time=0.2", "trainer.epochs=100000",
                       "evaluation.figures=[]", "hydra.run.dir=run")  # fmt: skip
    assert finished.code == 0
    assert "trainer.max_time" in finished.out
    seconds = read(tmp_path / "run" / "metrics.json")["train"]["train_seconds"]
    assert 0.2 <= seconds < 2
    assert read(tmp_path / "run" / "status.json")["state"] == "completed"


def test_max_time_may_end_before_the_first_evaluation(train: Train, tmp_path: Path) -> None:
    run = train(tmp_path / "run", "trainer.max_time=1e-9")
    assert checkpoint_file.read(run / "checkpoints" / "best.pt")["step"] == 1
    assert read(run / "metrics.json")["train"]["steps"] == 1


def test_without_validation_the_last_checkpoint_is_the_best(train: Train, tmp_path: Path) -> None:
    plans = {"epochs": [], "steps": ["trainer.steps=15"]}
    for name, plan in plans.items():
        run = train(tmp_path / name, "dataset.val_size=0", *plan)
        best, last = (
            checkpoint_file.read(run / "checkpoints" / f"{n}.pt") for n in ("best", "last")
        )
        assert best["step"] == last["step"] > 0
        assert all(torch.equal(best["model"][key], last["model"][key]) for key in best["model"])
        metrics = read(run / "metrics.json")
        assert metrics["val"] == {}
        assert "elbo" in metrics["test"]
        assert "val/loss" not in history(run)[0]


def test_without_validation_a_stop_in_mid_epoch_keeps_the_last_weights(
    train: Train, tmp_path: Path
) -> None:
    run = train(tmp_path / "run", "dataset.val_size=0", "trainer.epochs=100000",
                "trainer.batch_size=8", "trainer.max_time=0.3")  # fmt: skip
    best, last = (checkpoint_file.read(run / "checkpoints" / f"{n}.pt") for n in ("best", "last"))
    assert best["step"] == last["step"]


def test_steps_in_place_of_epochs(train: Train, tmp_path: Path) -> None:
    run = train(tmp_path / "run", "trainer.steps=15", "trainer.batch_size=200")
    assert read(run / "status.json")["step"] == 15
    assert [(row["epoch"], row["step"]) for row in history(run)] == [(1, 7), (2, 14), (3, 15)]


def test_evaluate_every_steps(train: Train, tmp_path: Path) -> None:
    run = train(tmp_path / "run", "trainer.steps=18", "trainer.evaluate_every_steps=5")
    events = EventAccumulator(str(run))
    events.Reload()
    assert [event.step for event in events.Scalars("val/loss")] == [5, 10, 15, 18]


def test_bfloat16_trains_and_evaluates_in_float32(train: Train, tmp_path: Path) -> None:
    plan = ("trainer.epochs=6", "optimizer.lr=0.01")
    runs = {p: train(tmp_path / p, *plan, f"precision={p}") for p in ("float32", "bfloat16")}
    half, full = (read(runs[p] / "metrics.json")["test"]["loss"] for p in ("bfloat16", "float32"))
    assert half != full
    assert half == pytest.approx(full, rel=0.02)
    weights = checkpoint_file.read(runs["bfloat16"] / "checkpoints" / "last.pt")["model"]
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}


def test_schedules_set_the_learning_rate(train: Train, tmp_path: Path) -> None:
    four = ("trainer.epochs=4", "trainer.log_every=1", "optimizer.lr=0.008")
    steps = train(tmp_path / "steps", *four, "schedule=multistep", "schedule.milestones=[1,3]")
    assert [row["learning_rate"] for row in history(steps)] == pytest.approx(
        [0.008, 0.0008, 0.0008, 0.00008]
    )
    wave = train(tmp_path / "wave", *four, "schedule=cosine", "schedule.warmup_epochs=1")
    events = EventAccumulator(str(wave))
    events.Reload()
    rates = [event.value for event in events.Scalars("train/learning_rate")]
    times = np.arange(44) / 11
    cosine = 0.5 * (1 + np.cos(math.pi * (times - 1) / 3))
    assert rates == pytest.approx(0.008 * np.where(times < 1, times, cosine), rel=1e-5, abs=1e-9)


def test_warmup_raises_beta_linearly(train: Train, tmp_path: Path) -> None:
    run = train(tmp_path / "run", "trainer.epochs=3", "objective.warmup_epochs=2",
                "objective.beta=3", "trainer.log_every=1")  # fmt: skip
    events = EventAccumulator(str(run))
    events.Reload()
    loss, reconstruction, kl, elbo = (
        np.array([event.value for event in events.Scalars(f"train/{name}")])
        for name in ("loss", "reconstruction", "kl", "elbo")
    )
    beta = np.minimum(3.0, 3.0 * np.arange(33) / 22)
    assert loss == pytest.approx(reconstruction + beta * kl, rel=1e-5)
    assert elbo == pytest.approx(-(reconstruction + kl), rel=1e-6)


def test_gradients_are_clipped(train: Train, tmp_path: Path) -> None:
    plan = ("optimizer=sgd", "optimizer.lr=1", "optimizer.momentum=0", "trainer.steps=1")
    clipped = train(tmp_path / "clipped", *plan, "trainer.clip_norm=0.01")
    still = train(tmp_path / "still", *STILL, "trainer.steps=1")
    states = [
        checkpoint_file.read(run / "checkpoints" / "last.pt")["model"] for run in (clipped, still)
    ]
    moved = sum(float((states[0][name] - states[1][name]).square().sum()) for name in states[0])
    assert math.sqrt(moved) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("preset", ["vae", "ae"])
def test_the_stored_sigma_is_the_train_splits(preset: str, train: Train, tmp_path: Path) -> None:
    run = train(tmp_path / "run", f"model={preset}", "latent_dim=3", "likelihood=gaussian",
                "likelihood.sigma=optimal", "trainer.epochs=5")  # fmt: skip
    model = load(run)
    split = Digits().load().train
    squared = []
    with torch.no_grad():
        for batch in evaluation_batches(split, NoCorruption(), batch_size=500, noise=(1, 3)):
            q = model.encode(batch.input)
            z = q.mean + (q.stddev * batch.noise[0] if preset == "vae" else 0)
            squared.append((model.decode(z).mean - batch.target).double().square())
    expected = math.sqrt(float(torch.cat(squared).mean()))
    assert float(model.likelihood.sigma) == pytest.approx(expected, rel=1e-5)
    assert float(model.decode(torch.zeros(1, 3)).stddev.mean()) == pytest.approx(expected, rel=1e-5)
    assert 0.1 < expected < 0.4


@pytest.mark.parametrize(
    ("loss", "kl", "said"), [(8534.0, 0.026, "1"), (25.0, 2.0, "0.999"), (8534.0, 1e-5, None)]
)
def test_beta_has_the_digits_that_float32_leaves(loss: float, kl: float, said: str | None) -> None:
    kls, whole = torch.full((4,), kl), torch.full((4,), loss)
    assert beta(whole, whole - 0.999 * kls, kls) == said
    assert beta(whole, whole, 0.0 * kls) is None
