"""Codes, reconstructions and scores of the user's own files, and what may be written where."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image
from pyarrow import parquet
from torch import Tensor

from vae_run import load
from vae_run.data.splits import Split
from vae_run.errors import ConfigError
from vae_run.plots import STRIP
from vae_run.runs.run_directory import RunDirectory
from vae_run.system.array_archive import array_archive, write_arrays
from vae_run.system.files import write_csv, write_json, write_png
from vae_run.tasks.grid_picture import GridPicture, short_names
from vae_run.tasks.user_files import check_output
from vae_run.training.experiment import assemble

if TYPE_CHECKING:
    from conftest import Run, Train

FILES = {
    "cat/grey.png": ("L", 0),
    "cat/alpha.png": ("LA", 0),
    "cat/palette.png": ("P", 0),
    "cat/turned.jpg": ("RGB", 6),
    "cat/one.png": ("1", 0),
    "dog/colour.png": ("RGB", 0),
    "dog/transparent.png": ("RGBA", 0),
    "dog/print.jpg": ("CMYK", 0),
    "dog/video.jpg": ("YCbCr", 8),
}
"""Modes and EXIF orientations that a folder of users mixes."""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`train` and `test`, each with class folders of pictures of many kinds and sizes."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        for place, (name, (mode, turn)) in enumerate(FILES.items()):
            colours = rng.integers(0, 256, (9 + place, 14 - place, 4), dtype=np.uint8)
            image = Image.fromarray(colours)
            exif = Image.Exif()
            exif[0x0112] = turn or 1
            file = root / part / name
            file.parent.mkdir(parents=True, exist_ok=True)
            (image if mode == "RGBA" else image.convert("RGB").convert(mode)).save(file, exif=exif)
    return root


@pytest.fixture(scope="module")
def run(pictures: Path, train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A conditional run on the pictures."""
    return train(
        tmp_path_factory.mktemp("conditional") / "run",
        *("dataset=image_folder", f"dataset.path={pictures}", "dataset.image_size=8"),
        *("dataset.val_size=0", "condition=label", "latent_dim=2", "evaluation.batch_size=4"),
    )


@pytest.fixture(scope="module")
def vectors(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on vectors of three floats, beside which its data lie."""
    folder = tmp_path_factory.mktemp("vectors")
    rows = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    np.savez(folder / "rows.npz", train=rows)
    words = ("dataset=arrays", f"dataset.path={folder / 'rows.npz'}", "likelihood=gaussian")
    return train(folder / "run", *words, "latent_dim=2")


def evaluated(run: Path, part: str) -> tuple[Split, Tensor]:
    """A split of the run, and the codes that its evaluation has."""
    experiment = assemble(RunDirectory(run).settings(), torch.device("cpu"))
    split = {"train": experiment.splits.train, "test": experiment.splits.test}[part]
    model = load(run)
    with torch.inference_mode():
        found = [
            model.given(batch.label).encode(batch.input).mean
            for batch in experiment.view(split).batches()
        ]
    return split, torch.cat(found)


def encode(vae_run: Run, run: Path, words: str, output: str, *more: str) -> Any:
    finished = vae_run("task=encode", f"run={run}", f"input={words}", f"output={output}", *more)
    assert finished.code == 0, finished.said
    return np.load(output) if output.endswith(".npz") else output


@pytest.mark.parametrize("part", ["train", "test"])
def test_codes_of_a_folder_are_those_of_the_evaluation(
    part: str, run: Path, pictures: Path, vae_run: Run
) -> None:
    split, expected = evaluated(run, part)
    for words in (str(pictures / part), part):
        codes = encode(vae_run, run, words, f"{Path(words).name}.npz", "overwrite=true")
        assert np.array_equal(codes["mean"], expected.numpy()), "bit for bit"
        assert split.labels is not None
        assert codes["labels"].tolist() == split.labels.tolist()
        names = [f"{part}/{name}" if words != part else name for name in codes["names"]]
        assert sorted(names) == sorted(f"{part}/{name}" for name in FILES)
        assert codes["classes"].tolist() == [name.split("/")[1] for name in names]
    assert codes["split"].tolist() == [part] * len(FILES)


def test_every_format_of_codes_has_the_same_rows(
    run: Path, pictures: Path, vae_run: Run, tmp_path: Path
) -> None:
    folder = str(pictures / "test")
    codes = encode(vae_run, run, folder, "z.npz")
    encode(vae_run, run, folder, "z.csv")
    encode(vae_run, run, folder, "z.parquet")
    with open("z.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    table = parquet.read_table("z.parquet").to_pydict()
    columns = ["name", "label", "index", "mean_0", "mean_1", "scale_0", "scale_1"]
    assert list(rows[0]) == list(table) == columns
    for place, row in enumerate(rows):
        assert row["name"] == table["name"][place] == codes["names"][place]
        assert row["label"] == table["label"][place] == row["name"].split("/")[0]
        assert int(row["index"]) == table["index"][place] == place
        assert np.float32(row["mean_1"]) == np.float32(table["mean_1"][place])
        assert np.float32(row["mean_1"]) == codes["mean"][place, 1], "no digit is lost"


def test_a_class_is_given_by_name_or_number(run: Path, pictures: Path, vae_run: Run) -> None:
    single = str(pictures / "test" / "dog" / "colour.png")
    found = {
        label: encode(vae_run, run, single, f"{label}.npz", f"label={label}")["mean"]
        for label in ("cat", "dog", "1")
    }
    assert np.array_equal(found["dog"], found["1"])
    assert not np.array_equal(found["cat"], found["dog"])
    assert np.array_equal(encode(vae_run, run, single, "own.npz")["mean"], found["dog"])
    refused = vae_run("task=encode", f"run={run}", f"input={single}", "output=x.npz", "label=cow")
    assert refused.code == 1
    assert "label: found cow; the classes of the run are cat, dog." in refused.said


def test_folders_of_unknown_classes_are_refused_by_name(
    run: Path, pictures: Path, vae_run: Run, tmp_path: Path
) -> None:
    shutil.copytree(pictures / "test" / "dog", tmp_path / "mine" / "wolf")
    refused = vae_run("task=encode", f"run={run}", "input=mine", "output=x.npz")
    assert refused.code == 3
    assert "mine has images of wolf, which are no classes of the run (cat, dog)" in refused.said


def test_own_data_that_changed_are_refused(vectors: Path, vae_run: Run, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(vectors.parent, tmp_path / "copy"))
    config = copy / "run" / ".hydra" / "config.yaml"
    config.write_text(config.read_text().replace(str(vectors.parent), str(copy)))
    typed = (f"run={copy / 'run'}", "output=z.npz")
    assert vae_run("task=encode", *typed, "input=val").code == 0
    np.savez(copy / "rows.npz", train=np.ones((60, 3), np.float32))
    for words in (("task=encode", "input=val"), ("task=sample", "sampler=gaussian")):
        refused = vae_run(*words, *typed)
        assert refused.code == 3
        assert "rows.npz) have changed since" in refused.said.replace("\n", " ")


def test_another_range_is_refused_or_told(
    vae: Path, vectors: Path, vae_run: Run, tmp_path: Path
) -> None:
    x = np.random.default_rng(0).integers(0, 256, (4, 8, 8))
    for name, values, told in (("wide", x, "[0, 255]"), ("centred", x / 127.5 - 1, "[-1, 1]")):
        np.save(tmp_path / f"{name}.npy", np.clip(values, -1, 255).astype(np.float32))
        refused = vae_run("task=encode", f"run={vae}", f"input={name}.npy", "output=z.npz")
        assert refused.code == 3
        assert "models pixels in [0, 1]" in refused.said
        assert told[:4].rstrip(",]") in refused.said
    np.save(tmp_path / "bytes.npy", np.full((2, 3), 9, np.uint8))
    np.save(tmp_path / "large.npy", np.full((2, 3), 99, np.float32))
    for name in ("bytes", "large"):
        finished = vae_run(
            "task=encode", f"run={vectors}", f"input={name}.npy", f"output={name}.npz"
        )
        assert finished.code == 0
        assert "scale them in the same way" in finished.said, name
    np.save(tmp_path / "fits.npy", np.zeros((2, 3), np.float32))
    finished = vae_run("task=encode", f"run={vectors}", "input=fits.npy", "output=fits.npz")
    assert "scale them" not in finished.said


def test_grey_pixels_are_told_to_a_run_on_binary_ones(train: Train, vae_run: Run) -> None:
    """And a likelihood of two levels gives bytes no probability."""
    binary = ("dataset.binarize=static", "likelihood=categorical", "trainer.steps=2")
    run = train(Path.cwd() / "run", *binary, "trainer.epochs=null")
    np.save("grey.npy", np.full((2, 8, 8), 100, np.uint8))
    np.save("bool.npy", np.ones((2, 8, 8), np.bool_))
    for name, told in (("grey", True), ("bool", False)):
        finished = vae_run("task=encode", f"run={run}", f"input={name}.npy", "output=z.npz")
        assert finished.code == 0, finished.said
        assert ("has pixels between 0 and 1" in finished.said.replace("\n", " ")) == told
    typed = ("task=score", f"run={run}", "output=s.npz", "sheet=none")
    refused = vae_run(*typed, "input=grey.npy")
    assert refused.code == 3
    assert "gives probabilities to 2 grey levels" in refused.said
    assert vae_run(*typed, "input=grey.npy", "metric=mse").code == 0
    assert vae_run(*typed, "input=bool.npy").code == 0


# --- score ------------------------------------------------------------------------------------


def test_scores_are_those_of_the_runs_own_metrics(vae: Path, vae_run: Run) -> None:
    typed = ("task=score", f"run={vae}", "input=test")
    finished = vae_run(*typed, "output=s.npz", "sheet=none")
    assert finished.code == 0, finished.said
    scores = np.load("s.npz")
    own = json.loads((vae / "metrics.json").read_text())["test"]
    assert len(scores["score"]) == 359
    assert (np.diff(scores["score"]) <= 0).all(), "the strangest come first"
    assert scores["score"].mean() == pytest.approx(-own["elbo"], rel=1e-6)
    assert np.array_equal(scores["score"], -scores["elbo"])
    assert scores["score"] == pytest.approx(scores["reconstruction"] + scores["kl"], rel=1e-6)
    assert scores["mse"].mean() == pytest.approx(own["mse"], rel=1e-6)
    assert len(set(scores["index"].tolist())) == 359
    assert not Path("s-strangest.png").exists()
    assert vae_run(*typed, "output=m.json", "metric=mse").code == 0
    by_error = json.loads(Path("m.json").read_text())
    assert by_error["metric"] == "mse"
    assert by_error["score"] == "squared error per pixel"
    first = by_error["images"][0]
    assert first["score"] == first["mse"] == scores["mse"].max()
    with Image.open("m-strangest.png") as sheet:
        assert min(sheet.size) > 200


def test_the_log_likelihood_does_not_depend_on_the_pieces(vae: Path, vae_run: Run) -> None:
    found = []
    for size in (1000, 300):
        typed = ("metric=log_likelihood", f"evaluation.batch_size={size}", "sheet=none")
        finished = vae_run("task=score", f"run={vae}", "input=train", f"output={size}.npz", *typed)
        assert finished.code == 0, finished.said
        scores = np.load(f"{size}.npz")
        found.append(scores["score"][scores["index"].argsort()])
    assert found[0] == pytest.approx(found[1], rel=1e-5)
    assert found[0].mean() < -np.load("300.npz")["elbo"].mean(), "a tighter bound"


def test_scores_of_vectors_name_their_columns(vectors: Path, vae_run: Run, tmp_path: Path) -> None:
    rows = np.zeros((5, 3), np.float32)
    rows[3, 1] = 8
    np.save(tmp_path / "x.npy", rows)
    finished = vae_run("task=score", f"run={vectors}", "input=x.npy", "output=s.csv")
    assert finished.code == 0, finished.said
    with open("s.csv", newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert found[0]["index"] == "3"
    assert found[0]["column_1"] == "1"
    for row in found:
        parts = [float(row[f"contribution_{rank}"]) for rank in (1, 2, 3)]
        assert parts == sorted(parts, reverse=True)
        assert sum(parts) == pytest.approx(float(row["mse"]), rel=1e-6)
    assert Path("s-strangest.png").is_file()
    assert "vector 3" in finished.said


# --- pieces, and what may be replaced -----------------------------------------------------------


def test_images_are_drawn_in_pieces(vae: Path, vae_run: Run) -> None:
    """The pieces are those of evaluation.batch_size, and joined they are the whole."""
    typed = ("task=sample", f"run={vae}", "n=20")
    assert vae_run(*typed, "output=whole.npz").code == 0
    assert vae_run(*typed, "output=pieces.npz", "evaluation.batch_size=7").code == 0
    whole, pieces = np.load("whole.npz"), np.load("pieces.npz")
    assert np.array_equal(whole["z"], pieces["z"])
    assert whole["images"] == pytest.approx(pieces["images"], rel=1e-5)
    for name, size in (("whole", 1000), ("pieces", 7)):
        assert vae_run(*typed, f"output={name}.png", f"evaluation.batch_size={size}").code == 0
    with Image.open("whole.png") as one, Image.open("pieces.png") as other:
        assert np.abs(np.asarray(one, int) - np.asarray(other, int)).max() <= 1


def test_an_archive_grows_row_by_row(tmp_path: Path) -> None:
    rows = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
    with array_archive(tmp_path / "x.npz") as archive:
        with archive.growing("rows", rows.shape, "float32") as append:
            append(rows[:3])
            append(rows[3:])
        archive.add("text", np.array(["a", "é"]))
    found = np.load(tmp_path / "x.npz")
    assert np.array_equal(found["rows"], rows)
    assert found["text"].tolist() == ["a", "é"]
    with (
        pytest.raises(ValueError, match="rows has 1 rows, not 2"),
        array_archive(tmp_path / "y.npz") as archive,
        archive.growing("rows", (2, 3), "float32") as append,
    ):
        append(np.zeros((1, 3), np.float32))
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"], "an unfinished one is removed"


def test_only_files_of_the_program_are_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_arrays(tmp_path / "own.npz", {"x": np.zeros(3)})
    write_png(tmp_path / "own.png", np.zeros((4, 4, 3), np.uint8), "written by vae-run")
    write_json(tmp_path / "own.json", {"about": "written by vae-run"})
    np.savez(tmp_path / "users.npz", x=np.zeros(3))
    write_png(tmp_path / "users.png", np.zeros((4, 4, 3), np.uint8))
    write_csv(tmp_path / "table.csv", [{"a": 1}])
    inside = tmp_path / "run" / "codes" / "z.npz"
    (tmp_path / "run" / ".hydra").mkdir(parents=True)
    (tmp_path / "run" / ".hydra" / "config.yaml").touch()
    inside.parent.mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    endings = (".npz", ".png", ".csv", ".json")
    for name in ("own.npz", "own.png", "own.json", "new.csv", "~/own.npz", str(inside)):
        path = name if name.startswith("~") else str(tmp_path / name)
        assert check_output(path, endings) == tmp_path / name.removeprefix("~/")
    write_arrays(inside, {"x": np.zeros(3)})
    kept = {
        "users.npz": "does not say that vae-run wrote it",
        "users.png": "does not say that vae-run wrote it",
        "table.csv": "does not say that vae-run wrote it",
        str(inside): "a file of a run",
    }
    for name, why in kept.items():
        with pytest.raises(ConfigError, match=f"output: .* exists, and .*{why}.*overwrite=true"):
            check_output(str(tmp_path / name), endings)
        assert check_output(str(tmp_path / name), endings, overwrite=True) == tmp_path / name
    with pytest.raises(ConfigError, match="it is the input"):
        check_output(str(tmp_path / "own.npz"), endings, inputs=[tmp_path / "own.npz"])
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(ConfigError, match="is a folder"):
        check_output(str(tmp_path / "folder.npz"), endings, overwrite=True)


def test_a_task_keeps_the_users_file(vae: Path, vae_run: Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", images=np.zeros((2, 8, 8), np.uint8))
    before = (tmp_path / "mine.npz").read_bytes()
    typed = ("task=reconstruct", f"run={vae}", "input=mine.npz", "output=mine.npz")
    assert vae_run(*typed).code == 1
    assert (tmp_path / "mine.npz").read_bytes() == before
    assert vae_run(*typed, "overwrite=true").code == 0
    assert np.load(tmp_path / "mine.npz")["images"].dtype == np.float32


def test_names_stand_below_the_rows_of_a_sheet(tmp_path: Path) -> None:
    files = np.array([f"in/cats/{i}.png" for i in range(3)] + ["in/dogs/0.png"])
    assert short_names(files) == ["cats/0.png", "cats/1.png", "cats/2.png", "dogs/0.png"]
    assert short_names(np.array(["/a/b.png", "c/d.png"])) == ["/a/b.png", "c/d.png"]
    images = torch.rand(4, 1, 8, 8)
    grid = GridPicture(4, (1, 8, 8), short_names(files))
    grid.add(images)
    grid.write(tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as written:
        pixels = np.asarray(written)
    scale = 512 // 19
    height = 9 * scale + STRIP
    assert pixels.shape == (2 * height, 19 * scale, 3)
    for row in (0, 1):
        cells = pixels[row * height + scale : row * height + 9 * scale, scale : 9 * scale]
        own = (images[2 * row, 0] * 255).round().byte().numpy().repeat(scale, 0).repeat(scale, 1)
        assert np.array_equal(cells[..., 0], own), "each image in its own pixels"
        strip = pixels[(row + 1) * height - STRIP : (row + 1) * height]
        assert (strip < 128).any(), "its name is written"
        assert (strip > 200).mean() > 0.8


def test_a_single_picture_is_written_as_it_is(tmp_path: Path) -> None:
    grid, image = GridPicture(1, (3, 5, 7)), torch.rand(1, 3, 5, 7)
    grid.add(image)
    grid.write(tmp_path / "one.png")
    with Image.open(tmp_path / "one.png") as written:
        pixels = np.asarray(written)
    assert np.array_equal(pixels, (image[0] * 255).round().byte().permute(1, 2, 0).numpy())
