"""What a sweep leaves behind: the page, tables on the terminal, and TensorBoard's HParams."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np
import pytest
from browser import opened
from rich.console import Console
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams.backend_context import Context
from tensorboard.plugins.hparams.get_experiment import Handler as GetExperiment
from tensorboard.plugins.hparams.list_session_groups import Handler as ListSessionGroups
from written_runs import build

from vae_run.comparison import tables
from vae_run.config.keys import flat
from vae_run.reports.sweep import duration
from vae_run.runs.run_directory import RunDirectory
from vae_run.sweeps import summary
from vae_run.sweeps.ledger import Entry, Ledger
from vae_run.sweeps.summary import summarise

if TYPE_CHECKING:
    from conftest import Finished, Run


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is said on a terminal of 120 columns."""
    file = io.StringIO()
    console = Console(
        file=file, width=120, markup=False, highlight=False, soft_wrap=True, color_system=None
    )
    for module in (summary, tables):
        monkeypatch.setattr(module, "console", console)
    return file


def job(
    ledger: Ledger, words: str, elbo: float | None = None, state: str = "completed", **config: Any
) -> Path:
    """A job of `ledger` with the overrides `words`, and its run directory."""
    number, typed = len(ledger.jobs), words.split()
    message = config.pop("message", "")
    entry = Entry(f"{number:03d}-{','.join(typed)}", typed, state, 1, 0, 2.0, message)
    ledger.jobs[str(number)] = entry
    values = None if elbo is None else {"elbo": elbo, "loss": -elbo, "mse": 0.1}
    return build(ledger.folder / entry.directory, values, state=state, **config)


def page(folder: Path) -> str:
    """What `sweep.html` says, without its marks."""
    text = re.sub(r"<style>.*?</style>|<[^>]+>", " ", (folder / "sweep.html").read_text("utf-8"))
    return " ".join(html.unescape(text).split())


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "sweep.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# --- a real sweep, half of which fails before it has read its data ----------------------------


@pytest.fixture(scope="module")
def swept(vae_run: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Finished]:
    place = tmp_path_factory.mktemp("sweep")
    images = np.random.default_rng(0).integers(0, 256, (60, 4, 4), dtype=np.uint8)
    np.savez(place / "a.npz", train=images)
    finished = vae_run(
        *("-m", "device=cpu", "network.widths=[8]", "trainer.epochs=1", "evaluation.figures=[]"),
        *("model=ae,vae", "dataset=arrays", "dataset.path=a.npz,'<b>.npz'", "sweep.dir=s"),
        cwd=place,
    )
    return place / "s", finished


def test_the_page_tells_the_sweep(swept: tuple[Path, Finished], tmp_path: Path) -> None:
    folder, finished = swept
    assert finished.code == 3, finished.said
    assert str(Path("s") / "sweep.html") in finished.out
    seen = opened(folder / "sweep.html", tmp_path)
    assert [name for name in seen["fetched"] if not name.startswith("data:")] == []
    assert seen["overflow"] <= 0, "the page is wider than its window"
    text = seen["text"]
    for words in ("Sweep of model, dataset.path", "2 completed, 2 failed", "dataset.path=a.npz,"):
        assert words in text
    assert text.count("<b>.npz") >= 4, "a value, two errors and two jobs"
    assert "'network.widths=[8]' trainer.epochs=1" in text


def test_links_lead_to_reports_and_logs(swept: tuple[Path, Finished]) -> None:
    folder, _ = swept
    content = (folder / "sweep.html").read_text(encoding="utf-8")
    links = [unquote(html.unescape(link)) for link in re.findall(r'href="([^"]+)"', content)]
    links = [link for link in links if not link.startswith("data:")]
    assert all((folder / link).is_file() for link in links)
    assert sorted(link for link in links if link.endswith("report.html")) == sorted(
        f"{path.parent.name}/report.html" for path in folder.glob("*/report.html")
    )
    assert not [link for link in links if link.endswith("train.log")], "no failed job has begun"


def test_failures_are_told_with_their_error(swept: tuple[Path, Finished]) -> None:
    folder, finished = swept
    failed = [row for row in rows(folder) if row["state"] == "failed"]
    assert len(failed) == 2
    told = "".join(finished.out.split())  # a cell that is too long goes on in the next line
    for row in failed:
        assert "<b>.npz" in row["message"]
        assert row["message"].replace(" ", "") in told
        assert not (folder / row["run"]).exists(), "it failed before its first step"
    assert "4 jobs, 2 not completed (2 failed)" in finished.out


def test_hparams_are_those_of_all_jobs_that_began(swept: tuple[Path, Finished]) -> None:
    """Asked of TensorBoard's own plugin: columns, their types, cells, and what is sorted."""
    folder, _ = swept
    events = EventMultiplexer()
    events.AddRunsFromDirectory(str(folder))
    events.Reload()
    provider = MultiplexerDataProvider(events, str(folder))
    context = Context(TBContext(logdir=str(folder), multiplexer=events, data_provider=provider))
    request = api_pb2.GetExperimentRequest(experiment_name="")
    experiment = GetExperiment(RequestContext(), context, "", request).run()
    columns = {info.name: info for info in experiment.hparam_infos}
    configured = dict(flat(RunDirectory(folder / rows(folder)[0]["run"]).config()))
    null = {"condition", "trainer.steps", "trainer.max_time", "network.decoder_widths"}
    assert {configured[key] for key in null} == {None}
    assert null.isdisjoint(columns), "a column that is empty in all runs"
    assert {"model", "dataset.path", "latent_dim", "trainer.epochs", "seed"} <= set(columns)
    assert "objective.beta" in columns, "which the first job, an AE, does not have"
    number, text = api_pb2.DATA_TYPE_FLOAT64, api_pb2.DATA_TYPE_STRING
    for name, kind in (("latent_dim", number), ("objective.beta", number), ("model", text)):
        assert columns[name].type == kind, name
    differing = {name for name, info in columns.items() if info.differs}
    assert "model" in differing
    assert not {"latent_dim", "dataset.path"} & differing
    metrics = {info.name.tag for info in experiment.metric_infos}
    assert {"val/elbo", "test/elbo", "test/mse"} <= metrics

    order = api_pb2.ORDER_ASC
    statuses = (api_pb2.STATUS_UNKNOWN, api_pb2.STATUS_SUCCESS)
    found = ListSessionGroups(
        RequestContext(),
        context,
        "",
        api_pb2.ListSessionGroupsRequest(
            allowed_statuses=statuses,
            col_params=[api_pb2.ColParams(hparam=name, order=order) for name in columns],
            slice_size=10,
        ),
    ).run()
    assert len(found.session_groups) == 2
    for group in found.session_groups:
        kinds = {value.WhichOneof("kind") for value in group.hparams.values()}
        assert kinds == {"number_value", "string_value", "bool_value"}
        assert group.sessions[0].status == api_pb2.STATUS_SUCCESS
        assert "test/mse" in {value.name.tag for value in group.metric_values}
        assert ("objective.beta" in group.hparams) == ("model=vae" in group.name)


# --- tables and pages of every kind of sweep --------------------------------------------------


def test_seeds_are_summed_up_below_the_jobs(tmp_path: Path, said: io.StringIO) -> None:
    ledger = Ledger(tmp_path / "s")
    for beta, elbos in (("1", [-40, -41, -42]), ("4", [-50, -51, -52.5])):
        for seed, elbo in enumerate(elbos):
            words = f"objective.beta={beta} seed={seed} sweep.dir=s"
            job(ledger, words, elbo, seed=seed, objective__beta=float(beta))
    summarise(ledger)
    lines = [line.split() for line in said.getvalue().splitlines()]
    table = [line for line in lines if line[:1] == ["1"]]
    best = [
        *("−41.0", "±", "2.5") * 2,
        "41.0",
        "±",
        "2.5",
        "0.10000",
        "41.0",
        "±",
        "2.5",
        "0.10000",
    ]
    assert table == [["1", "1", "3", *best, "2"]]
    assert sum(line[:1] in (["000"], ["005"]) for line in lines) == 2
    text = page(tmp_path / "s")
    assert "best elbo −41.0 ± 2.5" in text
    assert "1 is better" in text
    assert "The same" not in text, "nothing is the same in all jobs but their folder"
    assert len(rows(tmp_path / "s")) == 6


def test_many_jobs_are_folded_on_the_terminal_alone(
    tmp_path: Path, said: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ledger = Ledger(Path("s"))
    for beta in range(1, 61):
        for seed in range(2):
            words = f"objective.beta={beta} seed={seed}"
            if beta >= 40 and seed == 0:
                job(ledger, words, state="failed", message="killed by SIGKILL")
            elif beta >= 40:
                job(ledger, words, state="failed", message="the disk is full\nand more")
            else:
                elbo = -40 - beta - seed / 9
                job(ledger, words, elbo, seed=seed, objective__beta=float(beta))
    summarise(ledger)
    text = said.getvalue()
    assert len(text.splitlines()) < 60
    assert max(len(line) for line in text.splitlines() if line.startswith(" ")) <= 120
    assert "The best 30 settings; 9 more are in sweep.html." in text
    shown = [line.split() for line in text.splitlines()]
    assert [line[1] for line in shown if line and line[0] in ("1", "2", "30")] == ["1", "2", "30"]
    failures = [line for line in text.splitlines() if " and 20 more " in line]
    assert [line.split()[0] for line in failures] == ["078", "079"]
    assert "killed by SIGKILL" in failures[0]
    assert "the disk is full" in failures[1]
    assert "full and more" not in " ".join(text.split()), "only the first line"
    assert "120 jobs, 42 not completed (42 failed)" in text
    assert len(rows(tmp_path / "s")) == 120
    content = (tmp_path / "s" / "sweep.html").read_text(encoding="utf-8")
    assert all(entry.directory in content for entry in ledger.jobs.values())


def test_a_sweep_that_failed_as_a_whole_has_a_page(tmp_path: Path, said: io.StringIO) -> None:
    ledger = Ledger(tmp_path / "s")
    job(ledger, "optimizer.lr=1", state="diverged", message="the loss is nan at step 3")
    job(ledger, "optimizer.lr=2", state="failed", message="no [red]memory[/]")
    summarise(ledger)
    text = page(tmp_path / "s")
    for words in ("1 diverged, 1 failed", "the loss is nan at step 3", "no [red]memory[/]"):
        assert words in text
        assert words in said.getvalue() or "1 diverged" in words
    assert "Settings" not in text
    assert "2 jobs, 2 not completed (1 diverged, 1 failed)" in said.getvalue()


def test_one_job_and_a_stopped_one(tmp_path: Path, said: io.StringIO) -> None:
    ledger = Ledger(tmp_path / "s")
    job(ledger, "seed=0", -40.0)
    summarise(ledger)
    assert "Sweep of one job" in page(tmp_path / "s")
    ledger.jobs["later"] = Entry("001-seed=1", ["seed=1"])
    job(ledger, "seed=2", state="interrupted")
    summarise(ledger)
    text = page(tmp_path / "s")
    assert "1 completed, 1 pending, 1 interrupted" in text
    assert "Failures" not in text
    assert [row["state"] for row in rows(tmp_path / "s")] == [
        "completed", "pending", "interrupted"]  # fmt: skip


def test_what_cannot_be_ranked_is_told_by_name(tmp_path: Path, said: io.StringIO) -> None:
    ledger = Ledger(tmp_path / "s")
    for name, other in (("bernoulli", {}), ("gaussian", {"likelihood___target_": "a.Gaussian"})):
        for seed in (0, 1):
            job(ledger, f"likelihood={name} seed={seed}", -40.0 - seed, seed=seed, **other)
    summarise(ledger)
    text = page(tmp_path / "s")
    assert "These metrics cannot be ranked" in text
    assert "elbo is of different likelihoods (likelihood: Bernoulli, Gaussian)" in text
    assert "best elbo" not in text
    assert re.search(r"^ - +bernoulli +2 ", said.getvalue(), re.MULTILINE)


def test_jobs_that_differ_in_their_evaluation_alone_are_two_settings(
    tmp_path: Path, said: io.StringIO
) -> None:
    ledger = Ledger(tmp_path / "s")
    for samples in (10, 1000):
        words = f"evaluation.importance_samples={samples}"
        job(ledger, words, -40.0, evaluation__importance_samples=samples)
    found = summary.compared(
        ledger.folder,
        [summary.row(ledger.folder, entry) for entry in ledger.jobs.values()],
        ["evaluation.importance_samples"],
    )
    assert found is not None
    told = [found.label(group)["evaluation.importance_samples"] for group in found.groups]
    assert told == ["10", "1000"]
    assert found.rest == []


def test_a_damaged_run_does_not_take_the_summary_with_it(tmp_path: Path, said: io.StringIO) -> None:
    ledger = Ledger(tmp_path / "s")
    good, bad = (job(ledger, f"seed={seed}", -40.0, seed=seed) for seed in (0, 1))
    (bad / "metrics.json").write_text("{", encoding="utf-8")
    summarise(ledger)
    first, second = rows(tmp_path / "s")
    assert first["val/elbo"] == "-40.0"
    assert second["val/elbo"] == ""
    assert "metrics.json: cannot be read" in second["message"]
    assert good.is_dir()


def test_a_picture_that_makes_no_sense_any_more_is_removed(
    tmp_path: Path, said: io.StringIO
) -> None:
    ledger = Ledger(tmp_path / "s")
    for width in (1, 2, 3):
        run = job(ledger, f"network.widths=[{width}]", -40.0 - width, network__widths=[width])
        (run / "history.csv").write_text("epoch,val/loss\n1,50\n2,45\n")
    summarise(ledger)
    assert {path.name for path in (tmp_path / "s").glob("*.png")} == {"sweep.png", "curves.png"}
    for width in (4, 5, 6, 7, 8):
        job(ledger, f"network.widths=[{width}]", -40.0, network__widths=[width])
    summarise(ledger)
    assert {path.name for path in (tmp_path / "s").glob("*.png")} == {"sweep.png"}
    assert "curves" not in (tmp_path / "s" / "sweep.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.04, "0.0 s"), (59.4, "59.4 s"), (60, "1 min 0 s"), (3661, "1 h 1 min"), (90000, "1 d 1 h")],
)
def test_a_duration_is_told_in_two_units(seconds: float, told: str) -> None:
    assert duration(seconds) == told


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (r"dataset.path=a\=b", "a=b"),
        ("dataset.path='my photos, 2'", "my photos, 2"),
        (r'dataset.path="it\"s"', 'it"s'),
        ("network.widths=[64,32]", "[64,32]"),
        ("optimizer.lr=1e-3", "1e-3"),
        ("+note=", ""),
        (r"dataset.classes=['1', '2']", "['1', '2']"),
    ],
)
def test_the_table_has_plain_text(override: str, expected: str) -> None:
    assert summary.plain(override, override.partition("=")[2]) == expected


def test_warnings_of_jobs_are_told_once(said: io.StringIO, tmp_path: Path) -> None:
    """Those that differ in numbers alone are one; notes are none."""
    ledger = Ledger(tmp_path)
    for seed, texts in enumerate(
        (["the KL is 0.01 nats <here>"], [], ["the KL is 2e-05 nats <here>"])
    ):
        run = job(ledger, f"seed={seed}", -20.0 - seed)
        lines = [{"level": "warning", "message": text} for text in texts]
        lines.append({"level": "note", "message": "two cores are used"})
        (run / "warnings.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    summarise(ledger)
    assert " 000 and 1 more were warned: the KL is 0.01 nats <here>\n" in said.getvalue()
    assert "two cores" not in said.getvalue()
    assert "jobs warning, as the first of them has it first job 2 the KL is 0.01" in page(tmp_path)
