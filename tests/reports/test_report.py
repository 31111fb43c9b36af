"""`report.html`: what stands in it, that nothing in it can do harm, and how a browser shows it."""

from __future__ import annotations

import base64
import json
import math
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from browser import opened
from PIL import Image

from vae_run.evaluation.quantities import TABLE
from vae_run.evaluation.quantity import Declared
from vae_run.reports.run import _steps, write_report
from vae_run.reports.settings import settings_rows
from vae_run.reports.warnings import large_gap
from vae_run.runs.run_directory import RunDirectory
from vae_run.system.formatting import number
from vae_run.tracking.history import best_epoch

if TYPE_CHECKING:
    from conftest import Run, Train

VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """The text of a page, its tags with their attributes, and the cells of its tables."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.feed(file.read_text(encoding="utf-8"))
        assert self.open == [], "a tag was not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.text += data
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data

    def row(self, name: str) -> list[str]:
        (found,) = [
            row for row in self.rows if row[0].removesuffix(" ↑").removesuffix(" ↓") == name
        ]
        return found

    def sources(self) -> Iterator[str]:
        for tag, attributes in self.tags:
            for name in ("src", "href"):
                if name in attributes and tag != "a":
                    yield attributes[name] or ""


@pytest.fixture(scope="module")
def page(vae: Path) -> Page:
    return Page(vae / "report.html")


def test_the_numbers_are_those_of_the_metrics(page: Page, vae: Path) -> None:
    metrics = json.loads((vae / "metrics.json").read_text(encoding="utf-8"))
    for name in ("loss", "reconstruction", "kl", "elbo", "mse", "active_units"):
        _, val, test, *_, unit, text = page.row(name)
        assert val == number(metrics["val"][name])
        assert test == number(metrics["test"][name])
        assert (unit, text) == (TABLE.of(name).unit, TABLE.of(name).text)
        assert text, f"{name} is not explained"
    assert page.row("mse")[3] == number(metrics["test"]["pca_mse"])
    assert not [row for row in page.rows if row[0].startswith("pca_mse")]


def test_it_says_what_was_run(page: Page, vae: Path) -> None:
    environment = json.loads((vae / "environment.json").read_text(encoding="utf-8"))
    assert "vae-run device=cpu" in page.text
    assert "latent_dim=2" in page.text
    assert "1,294 train, 144 val, 359 test; 1 x 8 x 8" in page.text
    assert f"{environment['parameters']:,}" in page.text
    assert environment["versions"]["torch"] in page.text
    assert environment["dataset_fingerprint"][:12] in page.text
    assert "20 epochs, 220 steps" in page.text
    assert f"cpu, {environment['threads']} thread" in page.text
    assert "not compiled" in page.text
    assert "denormal" not in page.text
    assert page.row("latent_dim") == ["latent_dim", "2"]
    typed = [attributes for tag, attributes in page.tags if attributes.get("class") == "typed"]
    assert len(typed) == 8, "the keys that were typed are marked, and the groups are not"
    assert re.search(rf"task=resume run=\S*{vae.name} trainer.epochs=N", page.text)


def test_every_picture_is_inside_and_nothing_is_outside(page: Page, vae: Path) -> None:
    inside = [source for source in page.sources() if source != "data:,"]
    files = {file.read_bytes() for file in (vae / "figures").glob("*.png")}
    assert {base64.b64decode(source.removeprefix("data:image/png;base64,")) for source in inside} \
        == files  # fmt: skip
    assert len(inside) == len(files) == 6
    assert not {"script", "iframe", "object", "style-src"} & {tag for tag, _ in page.tags}
    style = (vae / "report.html").read_text(encoding="utf-8")
    assert "url(" not in style
    assert "@import" not in style
    assert "http:" not in style
    assert "https:" not in style


def test_every_task_on_a_run_is_named(page: Page) -> None:
    for task in ("resume", "evaluate", "sample", "encode", "reconstruct", "score"):
        assert re.search(rf"task={task} run=\S+", page.text), task


def test_pca_of_a_corrupted_input_is_called_so(dae: Path) -> None:
    page = Page(dae / "report.html")
    assert "PCA of the corrupted input, test" in page.text


def test_the_report_of_a_table_speaks_of_rows(dae: Path, tmp_path: Path) -> None:
    run = shutil.copytree(dae, tmp_path / "rows")
    Declared(noun="rows").write(run)
    page = Page(write_report(RunDirectory(run)))
    about = page.text.split("How to go on")[0].split("Numbers")[1]
    assert "Means over all rows of the split" in about
    assert "per feature" in page.text
    assert not re.search(r"\b(images?|pixels?)\b", about)


def test_warnings_of_the_training_are_told(page: Page) -> None:
    assert "Pixels between 0 and 1 under a Bernoulli likelihood" in page.text


HOSTILE = """<img src=x onerror=alert(1)>&"'{{7*7}}"""


def test_hostile_names_are_only_text(vae: Path, tmp_path: Path) -> None:
    run = RunDirectory(shutil.copytree(vae, tmp_path / HOSTILE))
    overrides = run.path / ".hydra" / "overrides.yaml"
    overrides.write_text(json.dumps([f"+dataset.path={HOSTILE}", "latent_dim=2"]), "utf-8")
    config = run.config_file.read_text(encoding="utf-8")
    config = config.replace("\nseed: 0\n", f"\nseed: 0\nrun: {json.dumps(HOSTILE)}\n")
    run.config_file.write_text(config, "utf-8")
    with (run.path / "warnings.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"time": "2026-01-01T00:00:00", "message": HOSTILE}) + "\n")
    metrics = run.metrics()
    run.write_metrics({**metrics, "test": {**metrics["test"], HOSTILE: 1.0}})
    page = Page(write_report(run))
    assert page.text.count(HOSTILE) >= 4
    assert page.row(HOSTILE)[2] == "1"
    assert not [attributes for _, attributes in page.tags if "onerror" in attributes]
    assert "49" not in page.row(HOSTILE)[0]


def test_evaluating_again_rewrites_it(vae: Path, vae_run: Run, tmp_path: Path) -> None:
    run = shutil.copytree(vae, tmp_path / "run")
    common = ("task=evaluate", f"run={run}", "device=cpu", "evaluation.figures=[samples]")
    before = (run / "report.html").read_bytes()
    finished = vae_run(*common, "corruption=masking", "evaluation.metrics=[mse]")
    assert finished.code == 0, finished.said
    assert (run / "report.html").read_bytes() == before
    own = Page(run / "evaluations" / "corruption=masking" / "report.html")
    metrics = json.loads(
        (run / "evaluations" / "corruption=masking" / "metrics.json").read_text(encoding="utf-8")
    )
    assert own.row("mse")[1:3] == [number(metrics[split]["mse"]) for split in ("val", "test")]
    assert "corruption=masking" in own.text
    assert ("a", {"href": "../../report.html"}) in own.tags
    finished = vae_run(
        *common, "evaluation.metrics=[log_likelihood]", "evaluation.importance_samples=4"
    )
    assert finished.code == 0, finished.said
    page = Page(run / "report.html")
    found = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["test"]
    written = number(found["log_likelihood"], found["log_likelihood_stderr"])
    assert page.row("log_likelihood")[2] == written
    assert "±" in written
    assert not [row for row in page.rows if "stderr" in row[0]]


def test_a_family_without_a_bound_has_a_report(dae: Path) -> None:
    page = Page(dae / "report.html")
    assert "elbo" not in page.text
    assert page.row("mse")[2]


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (-105.3456, None, "−105.35"),
        (-105.3456, 0.123, "−105.35 ± 0.12"),
        (-105.3456, 4.0, "−105.3 ± 4.0"),
        (-105.3456, 37.0, "−105 ± 37"),
        (0.0123456, None, "0.012346"),
        (0.99996, None, "0.99996"),
        (12.0, None, "12"),
        (60000.0, None, "60,000"),
        (1.5e-7, None, "1.5e−07"),
        (0.0, None, "0"),
        (float("nan"), None, "not finite"),
        (1.25, float("nan"), "1.2500"),
    ],
)
def test_numbers_have_the_digits_that_mean_something(
    value: float, error: float | None, text: str
) -> None:
    assert number(value, error) == text


@pytest.mark.parametrize(
    ("name", "better", "words"),
    [
        ("elbo", 1, "lower bound on log p(x)"),
        ("kl", 0, "KL"),
        ("psnr_at_0.25", 1, "at corruption level 0.25"),
        ("input_mse_at_1", 0, "of the corrupted input"),
        ("mean_psnr", 0, "PSNR of the mean image"),
        ("clean_ssim", 0, "ssim where the encoder sees the clean image"),
        ("pca_32_auroc", 1, "by 32 principal components"),
        ("frechet_random_conv", -1, "random conv"),
        ("frechet_random_conv_train", 0, "training images"),
        ("data_mle_20", 0, "20 neighbours"),
        ("pca_knn_accuracy", 0, "knn accuracy of PCA"),
        ("of_my_own", 0, ""),
    ],
)
def test_figures_are_explained(name: str, better: int, words: str) -> None:
    assert TABLE.of(name).better == better
    assert words in TABLE.of(name).text
    assert bool(words) == bool(TABLE.of(name).text)


def curves(train: list[float], val: list[float]) -> list[dict[str, float]]:
    pairs = zip(train, val, strict=True)
    return [{"epoch": i + 1, "train/loss": t, "val/loss": v} for i, (t, v) in enumerate(pairs)]


def test_a_large_gap_is_warned_of() -> None:
    assert large_gap(curves([100, 80, 70, 60], [99, 82, 76, 74])) is not None  # 14 over 25
    assert large_gap(curves([100, 80, 70, 69], [99, 82, 75, 73])) is None  # 4 over 26
    assert large_gap(curves([100, 60], [99, 90])) is None, "two epochs say nothing yet"
    assert large_gap(curves([-5, -9, -12], [-5, -9, -11.9])) is None
    assert "13.9 nats" in str(large_gap(curves([100, 80, 60.1], [99, 75, 74])))
    for last in (math.nan, math.inf):
        assert large_gap(curves([100, 80, 60], [99, 75, last])) is None, "a gap is a number"


def test_the_best_epoch_is_that_of_the_elbo() -> None:
    rows = [
        {"epoch": 1, "val/elbo": -9.0, "val/loss": 3.0},
        {"epoch": 2, "val/elbo": -7.0, "val/loss": 5.0},
        {"epoch": 3},
    ]
    assert best_epoch(rows, {}) == rows[1]["epoch"]
    assert best_epoch(rows, {"train": {"best_epoch": 1.5}}) == 1.5, "what was kept, for any reason"
    assert best_epoch([{"epoch": 1, "val/loss": 3.0}, {"epoch": 2, "val/loss": 2.0}], {}) == 2
    assert best_epoch([{"epoch": 1}], {}) is None


def test_a_warm_up_that_never_ended_is_told(train: Train, tmp_path: Path) -> None:
    run = train(
        tmp_path / "run", "objective.warmup_epochs=2", "trainer.epochs=3", "trainer.patience=null"
    )
    history = (run / "history.csv").read_text(encoding="utf-8").splitlines()
    (run / "history.csv").write_text("\n".join(history[:2]) + "\n", encoding="utf-8")
    page = Page(write_report(RunDirectory(run)))
    assert "ended at epoch 1, before the 2 epochs of objective.warmup_epochs" in page.text


def told(run: Path) -> str:
    """What the box of warnings of the run's report says."""
    text = Page(run / "report.html").text
    return text[text.index("Warnings") : text.index("What was run")]


def test_a_collapse_is_told(train: Train, tmp_path: Path) -> None:
    run = train(tmp_path / "run", "objective.beta=1000", "trainer.epochs=3", "optimizer.lr=0.03")
    assert json.loads((run / "metrics.json").read_text())["test"]["kl"] < 0.1
    assert "Posterior collapse: at the end (epoch 3)" in told(run)


def test_a_gap_between_train_and_val_is_told(train: Train, tmp_path: Path) -> None:
    """An autoencoder that knows its forty images by heart."""
    images = np.random.default_rng(0).random((60, 1, 6, 6), dtype=np.float32)
    np.savez(tmp_path / "noise.npz", train=images[:40], val=images[40:50], test=images[50:])
    run = train(
        *(tmp_path / "run", "model=ae", "dataset=arrays", f"dataset.path={tmp_path}/noise.npz"),
        *("trainer.epochs=60", "optimizer.lr=0.01", "latent_dim=32"),
    )
    assert "Overfitting: at the end the loss on val is" in told(run)


def test_what_went_well_is_not_warned_of(train: Train, tmp_path: Path) -> None:
    run = train(tmp_path / "run", "dataset.binarize=dynamic", "objective.warmup_epochs=1")
    assert "Warnings" not in Page(run / "report.html").text


def test_a_browser_shows_it_whole_and_fetches_nothing(vae: Path, tmp_path: Path) -> None:
    seen = opened(vae / "report.html", tmp_path)
    sizes = []
    for file in (vae / "figures").glob("*.png"):
        with Image.open(file) as picture:
            sizes.append([True, *picture.size])
    assert sorted(seen["pictures"]) == sorted(sizes)
    assert [name for name in seen["fetched"] if not name.startswith("data:")] == []
    assert seen["overflow"] <= 0, "the page is wider than the window"
    assert "Numbers" in seen["text"]


def test_notes_are_no_warnings(vae: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(vae, tmp_path / "run"))
    lines = [{"level": "note", "message": "a thing of note"}, {"message": "of an old version"}]
    (copied / "warnings.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    write_report(RunDirectory(copied))
    text = Page(copied / "report.html").text
    before, _, after = text.partition("Notes")
    assert "Of an old version" in before.partition("Warnings")[2]
    assert "A thing of note" in after
    assert "A thing of note" not in before


def test_the_length_that_a_resumed_run_reached_is_told() -> None:
    config = {"trainer": {"epochs": 2, "steps": None}, "seed": 3}
    found = settings_rows(config, ["trainer.epochs=2"], [{"epoch": 5.0, "step": 60.0}])
    text = "2 at the start, extended by task=resume: 5 were trained"
    assert found == [
        ("trainer.epochs", text, True), ("trainer.steps", "null", False), ("seed", "3", False)
    ]  # fmt: skip
    assert settings_rows(config, [], [{"epoch": 2.0}])[0][1] == "2"
    assert settings_rows(config, [], [])[0][1] == "2"


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({}, ""),
        ({"compiled": True, "denormals_flushed": True}, "compiled"),
        ({"compiled": False, "denormals_flushed": False}, "not compiled, with denormal numbers"),
    ],
)
def test_it_tells_how_steps_were_computed(environment: dict[str, bool], told: str) -> None:
    assert _steps(environment).startswith(told)
    assert bool(_steps(environment)) is bool(told)
