"""The examples of docs/extending.md work as they are printed there."""

from __future__ import annotations

import json
import math
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow
import pyarrow.parquet as parquet
import pytest
import torch
from parts import composed
from scipy import stats
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vae_run import load
from vae_run.comparison.candidates import read
from vae_run.comparison.ranking import compare
from vae_run.config.check import check
from vae_run.errors import ConfigError
from vae_run.evaluation import Place
from vae_run.evaluation.quantities import quantities_of
from vae_run.evaluation.quantity import NATS
from vae_run.models.build import build_model
from vae_run.models.distributions.kl import kl
from vae_run.reports.run import write_report
from vae_run.runs.run_directory import RunDirectory
from vae_run.sweeps.search.settings import SearchSettings
from vae_run.system.formatting import number

if TYPE_CHECKING:
    from conftest import Run

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page's own files."""
    folder = tmp_path_factory.mktemp("extending")
    for block in re.findall(
        r"^```\w+\n(# \S+\.(?:py|yaml)\n.*?)^```", PAGE.read_text(), re.M | re.S
    ):
        file = folder / block.split("\n", 1)[0].removeprefix("# ")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block)
    return folder


EXAMPLES = re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(), re.M | re.S)


@pytest.mark.parametrize(
    ("number", "key", "module"), [(0, "corruption", "noises"), (1, "prior", "toys")]
)
def test_the_example_trains_and_needs_trust(
    number: int, key: str, module: str, place: Path, vae_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(place))
    words = [word for word in shlex.split(EXAMPLES[number]) if not word.startswith("PYTHONPATH=")]
    assert words.pop(0) == "vae-run"
    run = f"run-{key}"
    drawn = () if key == "corruption" else ("evaluation.figures=[]",)
    finished = vae_run(*words, f"hydra.run.dir={run}", "device=cpu", *drawn, cwd=place)
    assert finished.code == 0, finished.said
    with pytest.raises(ConfigError, match=rf"{key}._target_.*trust=\[{module}\]"):
        load(place / run)
    model = load(place / run, trust=[module])
    assert model.reconstruct(torch.rand(3, 1, 8, 8)).shape == (3, 1, 8, 8)
    if key == "corruption":
        assert (place / run / "figures" / "robustness.png").is_file()
    assert model.sample(2).shape == (2, 1, 8, 8)
    sample = (f"run={run}", "n=4", "output=drawn.npz", "task=sample")
    refused = vae_run(*sample, cwd=place)
    assert refused.code == 1
    assert f"trust=[{module}]" in refused.said
    assert not (place / "drawn.npz").exists()
    assert vae_run(*sample, f"trust=[{module}]", cwd=place).code == 0
    (place / "drawn.npz").unlink()


def test_the_tracker_of_the_page_gets_every_number(
    place: Path, vae_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(place))
    words = [word for word in shlex.split(EXAMPLES[4]) if not word.startswith("PYTHONPATH=")]
    finished = vae_run(
        *words[1:], "hydra.run.dir=run-tracker", "device=cpu", "evaluation.figures=[]", cwd=place
    )
    assert finished.code == 0, finished.said
    lines = (place / "run-tracker" / "numbers.jsonl").read_text().splitlines()
    found = {tag: value for line in lines for tag, value in json.loads(line).items()}
    test = json.loads((place / "run-tracker" / "metrics.json").read_text())["test"]
    assert {name: found[f"test/{name}"] for name in test} == test
    assert load(place / "run-tracker").sample(2).shape == (2, 1, 8, 8), "without trust"


def test_the_dataset_of_the_page_trains_on_the_rows_of_a_parquet_file(
    place: Path, vae_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(place))
    values = np.random.default_rng(0).normal(size=(300, 5))
    parquet.write_table(pyarrow.table(list(values.T), list("abcde")), place / "rows.parquet")
    words = [word for word in shlex.split(EXAMPLES[5]) if not word.startswith("PYTHONPATH=")]
    small = ("hydra.run.dir=run-table", *FAST, "evaluation.figures=[]")
    finished = vae_run(*words[1:], *small, cwd=place)
    assert finished.code == 0, finished.said
    config = {"_target_": "tables.Table", "path": str(place / "rows.parquet")}
    splits = check({**composed(), "dataset": config}).build("dataset").load()
    assert [len(split) for split in (splits.train, splits.val, splits.test)] == [216, 24, 60]
    rows = torch.cat([s.images for s in (splits.train, splits.val, splits.test)]).numpy()
    order = rows[:, 0].argsort()
    np.testing.assert_array_equal(rows[order], values.astype(np.float32)[values[:, 0].argsort()])
    refused = vae_run(*words[1:], "dataset.path=none.parquet", *small[1:], cwd=place)
    assert refused.code == 3
    assert "dataset.path=none.parquet cannot be read" in refused.said


def test_every_command_of_the_page_is_run_above() -> None:
    assert len(EXAMPLES) == 6


def test_the_laplace_prior_is_what_it_says(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(place))
    config = composed("latent_dim=2", "network.widths=[8]")
    config["prior"] = {"_target_": "toys.LaplacePrior", "scale": 0.7}
    model = build_model(check(config), (1, 4, 5))
    z = torch.tensor([[0.0, 0.0], [1.4, -0.7]])
    expected = -2 * math.log(1.4) - z.abs().sum(-1) / 0.7
    torch.testing.assert_close(model.latent_prior().log_prob(z), expected)
    q, noise = model.encode(torch.rand(1, 1, 4, 5)), torch.randn(50_000, 1, 2)
    draws = model.posterior.sample(q, noise)
    mean, scale = (each.detach().double().numpy() for each in (q.mean[0], q.stddev[0]))
    # E|z| of a normal, and the normal's entropy, give the exact KL.
    distance = scale * math.sqrt(2 / math.pi) * np.exp(-0.5 * (mean / scale) ** 2)
    distance += mean * (1 - 2 * stats.norm.cdf(-mean / scale))
    entropy = 0.5 * np.log(2 * math.pi * math.e * scale**2)
    exact = float((distance / 0.7 + math.log(1.4) - entropy).sum())
    assert kl(q, model.latent_prior(), draws).item() == pytest.approx(exact, abs=0.03)
    with pytest.raises(ConfigError, match=r"prior\.scale: found 0"):
        check({**config, "prior": {"_target_": "toys.LaplacePrior", "scale": 0.0}})


def test_help_lists_the_users_own_option(place: Path, vae_run: Run) -> None:
    finished = vae_run("--config-dir", "myconf", "--help", cwd=place)
    assert finished.code == 0, finished.said
    assert "speckle" in finished.out
    assert "laplace" in finished.out


def run_example(number: int, run: str, place: Path, vae_run: Run, *more: str) -> Path:
    words = [word for word in shlex.split(EXAMPLES[number]) if not word.startswith("PYTHONPATH=")]
    assert words.pop(0) == "vae-run"
    finished = vae_run(*words, f"hydra.run.dir={run}", *more, *FAST, cwd=place)
    assert finished.code == 0, finished.said
    return place / run


FAST = ("device=cpu", "network.widths=[16]")


@pytest.fixture(scope="module")
def measured(place: Path, vae_run: Run) -> Iterator[Path]:
    """The run of the example of a metric, in which it is measured while training too."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(str(place))
        while_training = "evaluation.while_training=[objective,sharpness.Sharpness]"
        yield run_example(2, "run-metric", place, vae_run, while_training)


def sharpness(run: Path) -> float:
    """What `white: 100` of the example gives on test, by hand."""
    config = composed("latent_dim=16", "network.widths=[16]")
    images = check(config).build("dataset").load().test.pixels(slice(None))
    with torch.inference_mode():
        steps = load(run).reconstruct(images).numpy()
    return 100 * float(np.abs(steps[..., 1:] - steps[..., :-1]).mean())


def test_a_metric_from_outside_is_measured_and_shown_with_its_unit(measured: Path) -> None:
    """In metrics.json, report.html, TensorBoard, its learning curve, and a comparison."""
    value = json.loads((measured / "metrics.json").read_text())["test"]["sharpness"]
    assert value == pytest.approx(sharpness(measured), rel=1e-5)
    row = re.search(r"<tr><td>sharpness .*?</tr>", (measured / "report.html").read_text())
    assert row is not None
    for text in (number(value), "↑", "grey levels", "mean step between neighbours in a row"):
        assert text in row[0]
    events = EventAccumulator(str(measured))
    events.Reload()
    (scalar,) = events.Scalars("test/sharpness")
    assert scalar.value == pytest.approx(value)
    about = events.SummaryMetadata("test/sharpness").summary_description
    assert "grey levels" in about
    assert "val/sharpness" in events.Tags()["scalars"]
    table = quantities_of([measured])
    assert table.units(["sharpness", "loss"]) == {"sharpness": "grey levels", "loss": NATS}
    comparison = compare(read([measured]), "sharpness")
    assert comparison.ranked, "its direction is known without its class"
    assert comparison.about.better == 1
    assert "sharpness" in comparison.table.shown(Place.SWEEP)


def test_readers_need_no_class_of_a_metric_but_measuring_it_needs_trust(
    measured: Path, vae_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name == "sharpness"]:
        monkeypatch.delitem(sys.modules, name)
    load(measured)
    write_report(RunDirectory(measured))
    evaluate = ("task=evaluate", f"run={measured}", "evaluation.figures=[]", "device=cpu")
    refused = vae_run(*evaluate)
    assert refused.code == 1
    assert "trust=[sharpness]" in refused.said
    assert "sharpness" not in sys.modules, "nothing of it was imported"
    assert vae_run(*evaluate, "trust=[sharpness]").code == 0


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{_target_: sharpness.Sharpness, whit: 1}", "Did you mean"),
        ("{_target_: sharpness.Sharpness, white: -1}", "found -1"),
        ("sharpness.Blur", "cannot import sharpness.Blur"),
        ("sharpness.Quantity", "is neither a subclass of vae_run.evaluation.base.Metric"),
        ("vae_run.evaluation.base.Metric", "is abstract"),
        ("vae_run.system.formatting.number", "is neither a subclass"),
    ],
)
def test_what_is_no_metric_or_has_wrong_keys_is_refused_before_any_data(
    entry: str, message: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(place))
    with pytest.raises(ConfigError, match=message) as caught:
        check(composed(f"evaluation.metrics=[objective,{entry}]"))
    assert "evaluation.metrics" in str(caught.value)


def test_a_search_knows_which_way_a_metric_from_outside_is_better(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(place))
    search = SearchSettings(objective="val/sharpness")
    job = check(composed("evaluation.metrics=[objective,sharpness.Sharpness]"))
    assert search.directions(job) == ("maximize",)
    with pytest.raises(ConfigError, match="val/sharpness"):
        search.directions(check(composed()))


def test_a_picture_from_outside_is_drawn_with_its_sentence(
    place: Path, vae_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(place))
    run = run_example(3, "run-picture", place, vae_run)
    assert (run / "figures" / "differences.png").stat().st_size > 500
    assert "black is no difference" in (run / "report.html").read_text()
    events = EventAccumulator(str(run))
    events.Reload()
    assert "images/differences" in events.Tags()["images"]


STUDENT = {
    "tails.py": """
from typing import Annotated

from pydantic import Field
from torch.distributions import StudentT
from vae_run.models.likelihoods import Likelihood


class Student(Likelihood):
    def __init__(
        self,
        *,
        event_shape,
        projection,
        degrees: Annotated[float, Field(gt=2)] = 4.0,
        scale: Annotated[float, Field(gt=0)] = 0.1,
    ) -> None:
        super().__init__(event_shape=event_shape, projection=projection)
        self.degrees, self.scale = degrees, scale

    def forward(self, parameters):
        (loc,) = self.split(parameters)
        return self.independent(StudentT(self.degrees, loc, self.scale, validate_args=False))
""",
    "tailconf/likelihood/student.yaml": "_target_: tails.Student\ndegrees: 4.0\nscale: 0.2\n",
}


def test_a_students_t_likelihood_from_outside_is_two_files(
    tmp_path: Path, vae_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in STUDENT.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    words = ("likelihood=student", "trainer.epochs=1", "evaluation.figures=[]", *FAST)
    finished = vae_run("--config-dir", "tailconf", *words, "hydra.run.dir=run", cwd=tmp_path)
    assert finished.code == 0, finished.said
    model = load(tmp_path / "run", trust=["tails"])
    x, z = torch.rand(5, 1, 8, 8), torch.randn(5, 16)
    with torch.inference_mode():
        p = model.decode(z)
        found, loc = p.log_prob(x).double().numpy(), p.mean.double().numpy()
    exact = stats.t.logpdf(x.numpy(), 4, loc=loc, scale=0.2).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(found, exact, rtol=1e-5)
    losses = json.loads((tmp_path / "run" / "metrics.json").read_text())["test"]
    assert math.isfinite(losses["elbo"])


def test_each_addition_touches_three_files_at_most() -> None:
    """A class and a YAML file each; a picture, or a metric with default keys, just a class."""
    files = re.findall(r"^# (\S+\.(?:py|yaml))$", PAGE.read_text(), re.M)
    sections = PAGE.read_text().split("## Example: ")[1:]
    assert len(sections) == len(EXAMPLES) == 6
    for section in (*sections, "\n".join(f"# {name}" for name in STUDENT)):
        own = [file for file in files if f"# {file}\n" in section]
        own += [name for name in STUDENT if f"# {name}" in section]
        assert 1 <= len(own) <= 3, section.split("\n")[0]
