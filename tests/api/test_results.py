"""`evaluate`, `compare` and `sweep`, and how their results show themselves in a notebook."""

from __future__ import annotations

import os
import signal
import threading
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import until

import vae_run as api
from vae_run.api.views import Metrics, Page, Table
from vae_run.errors import CheckpointError, ConfigError, DataError
from vae_run.runs.saved_json import read_if_whole


def test_a_table_shows_itself() -> None:
    table = Table([{"a": 1, "b": 0.123456789}, {"a": "<x>", "c": None}])
    assert table.columns == ["a", "b", "c"]
    assert table.column("c") == [None, None]
    assert repr(table).splitlines() == ["a    b        c", "1    0.12346", "<x>           None"]
    assert "<td>&lt;x&gt;</td>" in table._repr_html_()
    long = Table({"n": n} for n in range(100))
    assert "40 more rows" in long._repr_html_()
    none = Metrics()
    none.note = "no metrics: the run is interrupted"
    assert repr(none) == none._repr_html_() == "no metrics: the run is interrupted"
    metrics = Metrics({"val": {"mse": 0.5}, "test": {"mse": 0.25, "kl": 1.0}})
    assert metrics.table() == [
        {"metric": "mse", "val": 0.5, "test": 0.25},
        {"metric": "kl", "test": 1.0},
    ]


def test_a_page_runs_no_script_in_the_notebook(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text('<p title="a\'b">x</p><script>steal()</script>', "utf-8")
    tags: list[tuple[str, dict[str, str | None]]] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: tags.append((tag, dict(attrs)))  # type: ignore[method-assign]
    parser.feed(Page(tmp_path / "report.html")._repr_html_())
    assert [tag for tag, _ in tags] == ["p", "iframe"]
    frame = tags[1][1]
    assert "sandbox" in frame
    assert not frame["sandbox"], "nothing is allowed, neither scripts nor the notebook's origin"
    assert frame["srcdoc"] == (tmp_path / "report.html").read_text()


def test_a_run_is_evaluated_on_its_own_data_and_on_others(images: Any, small: Any) -> None:
    run = api.fit(images, **small)
    before = run.metrics
    own = api.evaluate(run, quiet=True, **{"evaluation.metrics": ["latent"]})
    assert own.path == run.path
    assert run.metrics["test"]["mse"] == before["test"]["mse"]
    other = api.evaluate(run, 255 - images, quiet=True)
    assert other.path.parent == run.path / "evaluations"
    assert other.path.name.startswith("data-")
    assert other.metrics["test"]["mse"] != before["test"]["mse"]
    assert "<table>" in other._repr_html_()
    masked = api.evaluate(run, quiet=True, corruption="masking", **{"corruption.level": 0.5})
    assert masked.path.name == "corruption.level=0.5,corruption=masking"
    with pytest.raises(DataError, match="shape"):
        api.evaluate(run, images[:, :3], quiet=True)
    with pytest.raises(ConfigError, match="only dataset, corruption"):
        api.evaluate(run, quiet=True, **{"trainer.epochs": 3})
    with pytest.raises(CheckpointError, match="holds no run"):
        api.evaluate("nowhere")


def test_a_run_of_files_is_evaluated_on_data_in_memory(images: Any, small: Any) -> None:
    np.savez("own.npz", train=images)
    run = api.train("dataset=arrays", "dataset.path=own.npz", **small)
    assert api.evaluate(run, images, quiet=True).path == run.path, "it is the same data"
    drawn = {"evaluation.figures": ["samples"]}
    found = api.evaluate(run, [*(255 - images)], quiet=True, figures=True, **drawn)
    assert found.path.name.startswith("data-")
    assert list(found.figures) == ["samples"]


@pytest.mark.parametrize(
    "keys",
    [
        {"dataset.white": 15, "dataset.scale": "standard", "likelihood": "gaussian"},
        {"dataset.white": 15, "dataset.scale": "none"},
        {"dataset.binarize": "static", "dataset.split_seed": 3, "dataset.test_size": 0.4},
    ],
    ids=str,
)
def test_the_same_images_in_memory_are_read_and_cut_as_those_of_the_file(
    keys: Any, images: Any, small: Any
) -> None:
    np.savez("own.npz", train=images // 17)  # from 0 to 15
    run = api.train("dataset=arrays", "dataset.path=own.npz", **{**small, **keys})
    before = run.metrics["test"]["mse"]
    found = api.evaluate(run, images // 17, quiet=True)
    assert found.path == run.path, "it is the same data"
    assert found.metrics["test"]["mse"] == pytest.approx(before, rel=1e-5)
    np.savez("moved.npz", train=images // 17)
    words = {} if "dataset.white" not in keys else {"dataset.scale": keys["dataset.scale"]}
    if words:
        chosen = {"dataset": "arrays", "dataset.path": "moved.npz", **words}
        found = api.evaluate(run, quiet=True, **chosen)
        assert found.metrics["test"]["mse"] == pytest.approx(before, rel=1e-5), "with its own white"


def test_runs_are_compared_and_ranked(images: Any, small: Any, tmp_path: Path) -> None:
    runs = [
        api.fit(images, seed=seed, **{**small, "latent_dim": dim})
        for seed in (0, 1)
        for dim in (2, 3)
    ]
    found = api.compare(runs)
    assert found.ranked
    assert found.metric == "elbo"
    assert sorted(row["latent_dim"] for row in found.table) == ["2", "3"]
    assert [row["seeds"] for row in found.table] == [2, 2]
    values = {run.path: run.metrics["val"]["elbo"] for run in runs}
    first = found.table[0]["latent_dim"]
    own = [run.path for run in runs if run.config["latent_dim"] == int(first)]
    assert found.best.path == max(own, key=lambda path: values[path])
    assert " on val. " in found._repr_html_()
    with pytest.raises(ConfigError, match="was not written"):
        _ = found.report
    written = api.compare("outputs", output="side", metric="mse")
    assert (tmp_path / "side" / "compare.html").is_file()
    assert "iframe" in written.report._repr_html_()
    with pytest.raises(CheckpointError, match="found none"):
        api.compare([])


@pytest.mark.scale
def test_a_sweep_is_that_of_the_command_line(small: Any, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match=r"^optimizer\.lr: found 'fast'"):
        api.sweep(
            {"seed": [0]}, "dataset=digits", directory="s", **{**small, "optimizer.lr": "fast"}
        )
    found = api.sweep(
        {"latent_dim": [2, 3]},
        "dataset=digits",
        "dataset.classes=[0, 1]",
        directory="s",
        **{**small, "evaluation.figures": []},
    )
    assert capfd.readouterr().out == ""
    assert [row["state"] for row in found.table] == ["completed"] * 2
    assert [run.config["latent_dim"] for run in found.runs] == [2, 3]
    best = max(found.runs, key=lambda run: run.metrics["val"]["elbo"])
    assert found.best.path == best.path
    assert found.path.name == "s"
    assert "sweep" in found.figures
    assert "<table>" in found._repr_html_()
    assert api.Sweep("s").table == found.table
    with pytest.raises(ConfigError, match="holds no sweep"):
        api.Sweep("elsewhere")


@pytest.mark.scale
def test_ctrl_c_stops_a_sweep_and_leaves_its_runs(small: Any, tmp_path: Path) -> None:
    def training() -> bool:
        files = tmp_path.glob("s/*/status.json")
        return any(read_if_whole(file).get("step", 0) > 0 for file in files)

    def press() -> None:
        until(training)
        os.kill(os.getpid(), signal.SIGINT)

    pressing = threading.Thread(target=press)
    pressing.start()
    keys = {**small, "trainer.epochs": 5000, "trainer.log_every": 5, "hydra.launcher.jobs": 1}
    keys["trainer.compile"] = False
    found = api.sweep({"seed": [0, 1]}, "dataset=digits", directory="s", **keys)
    pressing.join()
    assert [row["state"] for row in found.table] == ["interrupted", "pending"]
    assert [run.status for run in found.runs] == ["interrupted"]
    with pytest.raises(ConfigError, match="no job of the sweep is completed"):
        _ = found.best
