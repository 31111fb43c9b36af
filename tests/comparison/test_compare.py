"""`task=compare`: intervals by hand, what is refused by name, and what is written and shown."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest
from browser import opened
from omegaconf import OmegaConf
from written_runs import build

from vae_run.comparison import pictures as comparison_pictures
from vae_run.comparison import tables
from vae_run.comparison.candidates import find, read
from vae_run.comparison.markup import markdown
from vae_run.comparison.ranking import Comparison, compare
from vae_run.comparison.statistics import ALL_PAIRS, estimate, paired_differences
from vae_run.errors import CheckpointError, ConfigError
from vae_run.reports.comparison import MOST_ROWS, write_page
from vae_run.tasks.compare import group_rows, run_rows

if TYPE_CHECKING:
    from conftest import Finished, Run


def of(*directories: Path, metric: str | None = None) -> Comparison:
    return compare(read(directories), metric)


def seeds(folder: Path, name: str, elbos: Sequence[float], **keys: Any) -> list[Path]:
    """A run for each ELBO on val, with seeds 0, 1, ...; on test it is lower by 1."""
    return [
        build(folder / f"{name}-{seed}", {"elbo": e}, {"elbo": e - 1}, seed=seed, **keys)
        for seed, e in enumerate(elbos)
    ]


def t_of_two(p: float) -> float:
    """The p-quantile of Student's t with two degrees of freedom, which has a closed form."""
    return (2 * p - 1) / math.sqrt(2 * p * (1 - p))


def test_an_interval_is_students() -> None:
    found = estimate([1.0, 2.0, 3.0])
    assert (found.n, found.mean) == (3, 2.0)
    assert found.half == pytest.approx(t_of_two(0.975) / math.sqrt(3), rel=1e-9)
    assert found.half == pytest.approx(2.4841, abs=1e-4)
    two = estimate([4.0, 5.0])
    assert two.half == pytest.approx(12.7062 * math.sqrt(0.5) / math.sqrt(2), abs=1e-4)
    assert math.isnan(estimate([4.0]).half)
    assert not estimate([4.0]).excludes_zero
    assert estimate([]).n == 0
    corrected = estimate([1.0, 2.0, 3.0], comparisons=3)
    assert corrected.half == pytest.approx(t_of_two(1 - 0.05 / 6) / math.sqrt(3), rel=1e-9)
    assert estimate([2.0, 2.0]).excludes_zero, "no spread at all: the interval is a point"


def test_differences_are_paired_by_seed() -> None:
    # Apart by about 1.17 at every seed, while seeds are apart by up to 20: unpaired says nothing.
    first = {0: -100.0, 1: -110.0, 2: -120.0, 7: 0.0}
    second = {2: -121.0, 0: -101.0, 1: -111.5, 9: 0.0}
    (difference,) = paired_differences([first, second])
    assert difference.seeds == (0, 1, 2)
    assert difference.estimate.mean == pytest.approx(3.5 / 3)
    half = t_of_two(0.975) * math.sqrt(1 / 12) / math.sqrt(3)
    assert difference.estimate.half == pytest.approx(half)
    assert half == pytest.approx(0.7171, abs=1e-4)
    assert difference.estimate.excludes_zero
    assert not estimate([first[s] for s in (0, 1, 2)]).half < 20


def test_more_comparisons_need_more_evidence() -> None:
    # The same difference is told with one comparison, and is not with the three of three groups.
    first, second = {0: 1.0, 1: 1.5, 2: 1.0}, {0: 0.0, 1: 0.0, 2: 0.0}
    assert paired_differences([first, second])[0].estimate.excludes_zero
    third = {0: 9.0, 1: -9.0, 2: 0.0}
    corrected = paired_differences([first, second, third])[0].estimate
    assert corrected.half == pytest.approx(t_of_two(1 - 0.05 / 6) / 6)  # 1.275 > 1.167
    assert not corrected.excludes_zero
    # A pair that shares one seed only is no comparison.
    assert paired_differences([first, second, {0: 5.0}])[0].estimate.excludes_zero


def test_runs_that_differ_in_seed_alone_are_one_setting(tmp_path: Path) -> None:
    runs = [
        *seeds(tmp_path, "a", [-100, -110, -120]),
        *seeds(tmp_path, "b", [-101, -111.5, -121], objective__beta=4.0),
    ]
    found = of(*reversed(runs))
    assert [group.settings["objective.beta"] for group in found.groups] == [1.0, 4.0]
    assert [sorted(group.runs) for group in found.groups] == [[0, 1, 2], [0, 1, 2]]
    assert found.metric == "elbo"
    assert found.groups[0].estimate("val/elbo").mean == -110
    assert found.groups[0].estimate("test/elbo").mean == -111
    assert found.keys == found.short_keys() == ["objective.beta"]
    assert found.better_than(0) == [1]
    assert found.better_than(1) == []
    assert found.split == "test"


def test_lower_is_better_where_it_is(tmp_path: Path) -> None:
    runs = [
        build(tmp_path / f"{d}-{seed}", {"mse": mse + seed / 1e3}, latent_dim=d, seed=seed)
        for d, mse in ((2, 0.05), (32, 0.01), (8, 0.03))
        for seed in (0, 1)
    ]
    found = of(*runs)
    assert found.metric == "mse"
    assert [group.settings["latent_dim"] for group in found.groups] == [32, 8, 2]
    assert [found.better_than(i) for i in range(3)] == [[1, 2], [2], []]


def test_val_ranks_and_test_is_told(tmp_path: Path) -> None:
    for seed in (0, 1):
        build(tmp_path / f"a{seed}", {"elbo": -90.0}, {"elbo": -99.0 + seed / 10}, seed=seed)
        b = tmp_path / f"b{seed}"
        build(b, {"elbo": -91.0}, {"elbo": -95.0 + seed / 10}, seed=seed, latent_dim=2)
    found = of(*find([str(tmp_path)]))
    assert [group.settings["latent_dim"] for group in found.groups] == [16, 2]
    assert found.better_than(0) == []
    assert found.better_than(1) == [0], "on test the second is better, and that is said"
    rows = run_rows(found)
    assert [(row["run"], row["group"], row["seed"]) for row in rows] == [
        *(("a0", 1, 0), ("a1", 1, 1), ("b0", 2, 0), ("b1", 2, 1))
    ]


REFUSED = [
    ("elbo", {"likelihood___target_": "vae_run.models.likelihoods.Gaussian"},
     ["likelihood: Bernoulli, Gaussian"]),
    ("elbo", {"data": "bbbb", "dataset__split_seed": 1}, ["dataset.split_seed: 0, 1"]),
    ("mse", {"data": "bbbb", "dataset__binarize": "dynamic"}, ["dataset.binarize: none, dynamic"]),
    ("elbo", {"data": "bbbb"}, ["their fingerprints"]),
    ("mse", {"corruption": {"_target_": "vae_run.corruptions.Masking", "level": 0.5}},
     ["corruption: NoCorruption, Masking", "corruption.level"]),
    ("loss", {"objective__beta": 4.0}, ["objective.beta: 1, 4"]),
    ("log_likelihood", {"evaluation__importance_samples": 5000, "latent_dim": 2}, ["100, 5000"]),
]  # fmt: skip


@pytest.mark.parametrize(("metric", "keys", "said"), REFUSED)
def test_what_cannot_be_compared_is_not_ranked(
    tmp_path: Path, metric: str, keys: dict[str, Any], said: list[str]
) -> None:
    figures = {"elbo": -90.0, "mse": 0.1, "loss": 90.0, "log_likelihood": -88.0}
    runs = [build(tmp_path / "a", figures), build(tmp_path / "b", figures, **keys)]
    found = of(*runs, metric=metric)
    assert not found.ranked
    assert found.differences == []
    (refusal,) = found.refusals
    for words in said:
        assert words in refusal
    other = {"elbo": "mse", "loss": "mse", "log_likelihood": "elbo"}.get(metric)
    if "data" not in keys and other is not None:
        assert of(*runs, metric=other).ranked, "that figure can be compared"


def test_bounds_of_different_samples_are_told_after_an_evaluation_too(tmp_path: Path) -> None:
    """`task=evaluate` puts its metrics among the run's own, whose configuration stays."""
    later = {"log_likelihood": -88.0, "importance_samples": 5000}
    runs = [
        build(tmp_path / "a", {"log_likelihood": -89.0, "importance_samples": 100}),
        build(tmp_path / "b", later, latent_dim=2),
    ]
    found = of(*runs, metric="log_likelihood")
    assert not found.ranked
    assert "100, 5000" in found.refusals[0]
    both = [build(tmp_path / "c", later), runs[1]]
    assert of(*both, metric="log_likelihood").ranked


def test_a_figure_that_ranks_nothing_is_refused(tmp_path: Path) -> None:
    run = build(tmp_path / "a", {"elbo": -90.0, "kl": 20.0})
    with pytest.raises(ConfigError, match="neither direction of"):
        of(run, metric="kl")
    with pytest.raises(ConfigError, match=r"no run has 'elb' on val\. They have elbo, kl"):
        of(run, metric="elb")
    lacking = of(run, build(tmp_path / "b", {"kl": 1.0}, latent_dim=2), metric="elbo")
    assert lacking.refusals == ["1 of 2 settings have no val/elbo"]


def test_what_says_nothing_of_the_model_makes_no_setting(tmp_path: Path) -> None:
    runs = [
        build(tmp_path / "a", {"elbo": -90.0}),
        build(tmp_path / "b", {"elbo": -91.0}, seed=1, device="cuda", dataset__root="/data"),
        build(tmp_path / "c", {"elbo": -91.0}, seed=2, objective__beta=1),
    ]
    assert len(of(*runs).groups) == 1


def test_a_run_that_was_extended_is_another_setting(tmp_path: Path) -> None:
    runs = [build(tmp_path / name, {"elbo": -90.0}, seed=i) for i, name in enumerate("ab")]
    (runs[0] / "history.csv").write_text("epoch,step\n10,100\n")
    (runs[1] / "history.csv").write_text("epoch,step\n10,100\n40,400\n")
    found = of(*runs)
    assert {group.settings["trainer.epochs"] for group in found.groups} == {10, 40}


def test_what_is_not_completed_is_listed(tmp_path: Path) -> None:
    build(tmp_path / "ok", {"elbo": -90.0})
    build(tmp_path / "again", {"elbo": -80.0}, state="completed")
    build(tmp_path / "diverged", state="diverged", message="the loss is nan\nmore")
    build(tmp_path / "interrupted", {"elbo": -1.0}, state="interrupted")
    broken = build(tmp_path / "broken", {"elbo": -2.0})
    (broken / ".hydra" / "config.yaml").write_text("a: [", encoding="utf-8")
    (tmp_path / "empty" / ".hydra").mkdir(parents=True)
    (tmp_path / "empty" / ".hydra" / "config.yaml").write_text("seed: 0\n", encoding="utf-8")
    running = build(tmp_path / "running", {"elbo": -3.0}, state="running")
    found = of(*find([str(tmp_path / "*")]))
    (group,) = found.groups
    assert [run.name for run in group.runs.values()] == ["again"]
    rest = {run.name: (run.state, why) for run, why in found.rest}
    assert rest["diverged"] == ("diverged", "the loss is nan")
    assert rest["interrupted"][0] == "interrupted"
    assert rest["broken"][0] == "unreadable"
    assert rest["empty"][0] == "not started"
    assert rest["running"][0] == "stopped" or running is None
    assert rest["ok"] == ("completed", "repeats seed 0 of again; left out")


def test_runs_are_found_in_folders_and_by_patterns(tmp_path: Path) -> None:
    for name in ("day/one", "day/sweep/000-a=[1]", "day/sweep/001-b"):
        build(tmp_path / name, {"elbo": -1.0})
    every = find([str(tmp_path / "day")])
    assert [path.relative_to(tmp_path).as_posix() for path in every] == [
        "day/one", "day/sweep/000-a=[1]", "day/sweep/001-b"]  # fmt: skip
    assert find([str(tmp_path / "*" / "sweep"), str(tmp_path / "**" / "001*")]) == every[1:]
    assert [run.name for run in read(every)] == ["one", "sweep/000-a=[1]", "sweep/001-b"]
    assert [run.name for run in read(every[:1])] == ["one"]
    with pytest.raises(CheckpointError, match="matches no run"):
        find([str(tmp_path / "day"), str(tmp_path / "night*")])
    with pytest.raises(CheckpointError, match=r"a list in brackets: 'runs=.\"a\",\"b=1\"\]'"):
        find(["a,b=1"])


def beta_sweep(folder: Path) -> list[Path]:
    """Three betas, two seeds: the rate falls and the distortion rises with beta."""
    return [
        build(
            folder / f"{beta:g}-{seed}",
            {"elbo": -100 - beta - seed, "kl": 20 / beta, "mse": beta / 100},
            {"elbo": -100 - beta - seed / 2, "kl": 20 / beta, "reconstruction": 80 + beta},
            seed=seed,
            objective__beta=float(beta),
        )
        for beta in (1, 2, 4)
        for seed in (0, 1)
    ]


def test_figures_are_drawn_against_what_was_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr("vae_run.plots.sweep_curves", lambda panels, *_, **__: given.update(panels))
    monkeypatch.setattr("vae_run.plots.frontier", lambda lines, *_: given.update(lines=lines))
    found = of(*beta_sweep(tmp_path))
    assert comparison_pictures.numeric_keys(found) == ["objective.beta"]
    assert list(comparison_pictures.draw(found)) == ["over_objective_beta"], (
        "a picture is None here"
    )
    val, test = given["elbo"]
    assert (val.split, list(val.x), list(val.y)) == (
        "val", [1, 1, 2, 2, 4, 4], [-101, -102, -102, -103, -104, -105])  # fmt: skip
    assert list(test.y) == [-101, -101.5, -102, -102.5, -104, -104.5]
    ((setting, points),) = given["lines"].items()
    assert setting == ""
    assert [(p.name, p.rate, p.distortion) for p in points] == [
        ("1", 20, 81), ("2", 10, 82), ("4", 5, 84)]  # fmt: skip


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as opened_file:
        return list(csv.DictReader(opened_file))


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory, vae_run: Run) -> tuple[Path, Finished]:
    """The folder that comparing a sweep over beta left behind, and what the command said."""
    folder = tmp_path_factory.mktemp("compare")
    beta_sweep(folder / "sweep")
    build(folder / "sweep" / "failed", state="failed", message="<b>no</b> [red]memory")
    finished = vae_run("task=compare", "runs=sweep", "output=out", cwd=folder)
    return folder / "out", finished


def test_the_command_tells_and_writes(compared: tuple[Path, Finished]) -> None:
    out, finished = compared
    assert finished.code == 0, finished.said
    assert "objective.beta" in finished.out
    assert "±" in finished.out
    assert "failed: failed  <b>no</b> [red]memory" in finished.out
    assert str(Path("out") / "compare.html") in finished.out
    assert [path.name for path in sorted(out.iterdir())] == [
        "compare.html", "compare.md", "compare.tex",
        "differences.csv", "figures", "groups.csv", "runs.csv"]  # fmt: skip
    assert {path.name for path in (out / "figures").iterdir()} == {
        "over_objective_beta.png", "rate_distortion.png"}  # fmt: skip
    groups = rows(out / "groups.csv")
    assert [(g["rank"], g["objective.beta"], g["seeds"]) for g in groups] == [
        ("1", "1", "2"), ("2", "2", "2"), ("3", "4", "2")]  # fmt: skip
    assert float(groups[0]["val/elbo"]) == -101.5
    assert groups[0]["better_than"] == "2 3"
    (pair, *_) = rows(out / "differences.csv")
    assert (pair["first"], pair["second"], pair["seeds"]) == ("1", "2", "0 1")
    assert float(pair["difference"]) == 1.0
    listed = rows(out / "runs.csv")
    assert len(listed) == 7
    assert listed[-1]["state"] == "failed"
    assert listed[0]["test/reconstruction"] == "81.0"


def test_a_browser_shows_the_comparison(compared: tuple[Path, Finished], tmp_path: Path) -> None:
    seen = opened(compared[0] / "compare.html", tmp_path)
    assert len(seen["pictures"]) == 2
    assert all(done and width > 400 for done, width, _ in seen["pictures"])
    assert [name for name in seen["fetched"] if not name.startswith("data:")] == []
    for words in ("Comparison of 6 runs", "1 is better", "<b>no</b> [red]memory"):
        assert words in seen["text"]


def test_the_folder_is_new_or_a_comparisons(
    compared: tuple[Path, Finished], vae_run: Run, tmp_path: Path
) -> None:
    out, runs = compared[0], f"runs={compared[0].parent / 'sweep'}"
    assert vae_run("task=compare", runs, f"output={out}").code == 0
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    finished = vae_run("task=compare", runs, "output=mine", cwd=tmp_path)
    assert finished.code == 1
    assert "output: mine exists and is no folder of an earlier comparison" in finished.said
    finished = vae_run("task=compare", runs, cwd=tmp_path)
    (made,) = [path for path in tmp_path.iterdir() if path.name != "mine"]
    assert made.name.startswith("comparison-20")
    assert made.name in finished.out
    assert not (tmp_path / "outputs").exists()


def test_the_command_refuses_what_it_cannot_do(vae_run: Run, tmp_path: Path) -> None:
    finished = vae_run("task=compare", "runs=nowhere/*", cwd=tmp_path)
    assert finished.code == 3
    assert "runs: nowhere/* matches no run" in finished.said
    finished = vae_run("task=compare", "runs=x", "latent_dim=2", cwd=tmp_path)
    assert finished.code == 1
    assert "latent_dim: task=compare takes the runs as they are" in finished.said
    build(tmp_path / "a", {"elbo": -1.0})
    build(
        tmp_path / "b",
        {"elbo": -2.0},
        likelihood={"_target_": "vae_run.models.likelihoods.Laplace"},
    )
    finished = vae_run("task=compare", "runs=[a,b]", "output=out", cwd=tmp_path)
    assert finished.code == 0
    said = " ".join(finished.said.split())
    assert "not ranked: elbo is of different likelihoods (likelihood: Bernoulli, Laplace)" in said
    assert (tmp_path / "out" / "compare.html").is_file()


def test_a_folder_is_found_by_its_name_with_brackets(tmp_path: Path) -> None:
    """A path that exists is no pattern: [beta] would stand for one letter."""
    run = build(tmp_path / "sweep=1,é [beta]" / "000", {"elbo": 1.0}, {"elbo": 1.0}, seed=0)
    build(tmp_path / "sweep=1,é b" / "000", {"elbo": 1.0}, {"elbo": 1.0}, seed=0)
    assert find([str(run)]) == [run]
    assert find([str(run.parent)]) == [run]
    assert find([str(tmp_path / "sweep=1,é [b]")]) == [tmp_path / "sweep=1,é b" / "000"]


def test_results_stand_first_and_settings_as_far_as_they_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs that differ in twelve settings, on a terminal of 80 columns."""
    keys = {f"network__key_{i}": i for i in range(11)}
    found = of(
        build(tmp_path / "a", {"elbo": -100}, {"elbo": -101}, latent_dim=2),
        build(tmp_path / "b", {"elbo": -90}, {"elbo": -91}, latent_dim=4, **keys),
    )
    monkeypatch.setattr(tables.console, "width", 80)
    table, left_out = tables.settings_table(found, ["val/elbo", "test/elbo"])
    shown = [str(column.header) for column in table.columns]
    assert shown[:5] == ["rank", "seeds", "val/elbo", "test/elbo", "better than"]
    assert set(shown[5:]) | set(left_out) == set(found.keys)
    assert "latent_dim" in shown
    assert 0 < len(left_out) < len(found.keys)
    unlimited = tables.console.options.update(width=1000)
    assert tables.console.measure(table, options=unlimited).maximum <= 80


def test_the_page_names_runs_then_results_then_settings(tmp_path: Path) -> None:
    found = of(*seeds(tmp_path, "a", [-1, -2]), *seeds(tmp_path, "b", [-3, -4], latent_dim=9))
    write_page(found, tmp_path, "compare.html")
    text = (tmp_path / "compare.html").read_text(encoding="utf-8")
    heads = re.findall(r"<th[^>]*>([^<]*)</th>", text)
    assert heads[:4] == ["rank", "run", "val elbo", "test elbo"]
    assert heads.index("seeds") < heads.index("latent_dim")
    assert 'title="seed 0, 1">2</td>' in text, "the number of seeds, not their values"
    assert "a-0 and 1 more" in text


def test_the_page_leads_to_the_reports_of_the_runs(tmp_path: Path) -> None:
    run, _ = seeds(tmp_path, "a #1", [-1, -2])
    (run / "report.html").touch()
    pages = tmp_path / "pages"
    pages.mkdir()
    write_page(of(run, tmp_path / "a #1-1"), pages, "compare.html")
    text = (pages / "compare.html").read_text(encoding="utf-8")
    links = set(re.findall(r'<a href="([^"]*)"', text))
    assert links == {"../a%20%231-0/report.html"}, "only where there is a report"
    assert (pages / unquote(links.pop())).is_file()


def test_the_page_says_that_one_seed_tells_nothing_apart(tmp_path: Path) -> None:
    sentence = "No two settings share two seeds, so none can be called better"
    for seeds_each, expected in ((1, True), (2, False)):
        elbos = [-1.0, -2.0][:seeds_each]
        folder = tmp_path / str(seeds_each)
        both = (*seeds(folder, "a", elbos), *seeds(folder, "b", elbos, latent_dim=9))
        write_page(of(*both), folder, "compare.html")
        assert (sentence in (folder / "compare.html").read_text("utf-8")) is expected


def test_many_settings_of_which_the_best_has_one_seed(tmp_path: Path) -> None:
    """Others share two seeds, but only pairs with the best are compared."""
    runs = seeds(tmp_path, "best", [-0.5])
    for i in range(ALL_PAIRS):
        runs = (
            *runs,
            *seeds(tmp_path, f"g{i}", [-1.0 - i, -2.0 - i][: 2 if i < 2 else 1], latent_dim=i + 20),
        )
    comparison = of(*runs)
    write_page(comparison, tmp_path, "compare.html")
    for text in (
        (tmp_path / "compare.html").read_text("utf-8"),
        " ".join(tables.told(comparison)),
    ):
        assert "No two settings share" not in text
        assert "Of more than 100 settings, each is compared with the best alone, and none" in text


@pytest.mark.scale  # a browser
def test_a_page_of_many_runs_is_short_and_fits_its_window(tmp_path: Path) -> None:
    """Thousands of runs with many keys: the page has the best, and the tables have all."""
    mlp = {"_target_": "vae_run.models.networks.mlp.MLP"}
    for i in range(MOST_ROWS + 5):
        widths = {**mlp, "widths": [512, 256, 128 + i % 2]}
        run = build(
            tmp_path / "many" / f"2026-11-29-{i:05d}-latent_dim={i}", {"elbo": -100.0 - i},
            latent_dim=i, network=widths, objective__beta=i % 7, trainer__epochs=10 + i % 5,
            dataset__binarize="dynamic" if i % 2 else "none", evaluation__threshold=i % 3,
            optimizer={"_target_": "torch.optim.Adam" if i % 2 else "torch.optim.SGD", "lr": i / 7},
        )  # fmt: skip
        choices = {"model": "vae", "network": "mlp", "optimizer": ("sgd", "adam")[i % 2]}
        content = OmegaConf.create({"hydra": {"runtime": {"choices": choices}}})
        OmegaConf.save(content, run / ".hydra" / "hydra.yaml")
    found = compare(read(find([str(tmp_path / "many")])))
    assert {row["optimizer"] for row in map(found.label, found.groups)} == {"adam", "sgd"}
    write_page(found, tmp_path, "compare.html")
    page = (tmp_path / "compare.html").read_text()
    assert page.count("<tr") < 3 * MOST_ROWS + 50
    assert "5 more settings are in groups.csv" in page
    assert "Also different: " in page
    assert "torch.optim" not in page
    seen = opened(tmp_path / "compare.html", tmp_path, width=1280)
    assert seen["overflow"] <= 0
    assert seen["scrolled"] <= 0


def test_seeds_that_lack_the_metric_are_not_counted(tmp_path: Path) -> None:
    """The interval of two finite values of five runs is that of two."""
    one = [1.0, 3.0, math.nan, math.nan, math.inf]
    comparison = of(
        *seeds(tmp_path, "one", one), *seeds(tmp_path, "two", [7.0, 8.0], objective__beta=2.0)
    )
    counted = {
        group.written("objective.beta"): comparison.seeds(group) for group in comparison.groups
    }
    assert counted == {"1": "2 of 5", "2": "2"}
    told = "Seeds: n of m have a finite elbo on val and test."
    assert told in tables.told(comparison)
    assert "| 2 of 5 |" in markdown(comparison)
    assert told in markdown(comparison)
    write_page(comparison, tmp_path, "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert ">2 of 5</td>" in page
    assert told in page
    found = {
        row["objective.beta"]: (row["seeds"], row["seeds_counted"])
        for row in group_rows(comparison)
    }
    assert found == {"1": (5, 2), "2": (2, 2)}
    whole = of(*seeds(tmp_path, "three", [1.0, 2.0], objective__beta=3.0))
    assert whole.incomplete is None
