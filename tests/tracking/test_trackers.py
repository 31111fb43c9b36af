"""A tracker from outside the package: what it is sent, that it cannot end a training, resume."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from same_run import curves, metrics
from same_run import history as rows_of
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vae_run import load
from vae_run.runs.identity import identity
from vae_run.runs.run_directory import RunDirectory
from vae_run.tracking.fan_out import FanOut
from vae_run.tracking.tracker import Tracker

if TYPE_CHECKING:
    from conftest import Run

CODE = '''
"""Writes what it is sent to a file of JSON lines, and fails at the step `fails_at`."""

import json
from dataclasses import dataclass

from vae_run.tracking.tracker import Tracker


@dataclass(kw_only=True)
class JsonLines(Tracker):
    file: str = "sent.jsonl"
    fails_at: int | None = None

    def _write(self, **record):
        with self.path.open("a") as file:
            file.write(json.dumps(record) + "\\n")

    def start(self, run, resumed_step):
        self.path = run / self.file
        self._write(kind="start", resumed_step=resumed_step)

    def scalars(self, split, values, step):
        if self.fails_at is not None and step >= self.fails_at:
            raise RuntimeError("the server said no")
        tags = {f"{split}/{name}": value for name, value in values.items()}
        self._write(kind="scalars", values=tags, step=step)

    def text(self, name, markdown):
        self._write(kind="text", name=name, text=markdown)

    def hparams(self, values):
        self._write(kind="hparams", values=values)

    def pictures(self, pictures, step):
        self._write(kind="pictures", shapes={k: p.shape for k, p in pictures.items()}, step=step)

    def histogram(self, name, values, step):
        self._write(kind="histogram", name=name, shape=list(values.shape), step=step)

    def embedding(self, name, points, labels, images, step):
        shapes = [None if x is None else list(x.shape) for x in (points, labels, images)]
        self._write(kind="embedding", name=name, shapes=shapes, step=step)

    def succeeded(self):
        self._write(kind="succeeded")

    def close(self):
        self._write(kind="close")
'''
PLAN = (
    *("device=cpu", "network.widths=[16]", "latent_dim=2", "trainer.log_every=4"),
    *("trainer.checkpoint_seconds=0", "evaluation.figures=[samples]", "dataset.classes=[0,1,2]"),
)
MINE = ("--config-dir", "myconf", "tracker=mine")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder with a tracker: one class and one YAML file."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "sending.py").write_text(CODE, encoding="utf-8")
    (folder / "myconf" / "tracker").mkdir(parents=True)
    option = "_target_: sending.JsonLines\nfile: sent.jsonl\nfails_at: null\n"
    (folder / "myconf" / "tracker" / "mine.yaml").write_text(option, encoding="utf-8")
    return folder


@pytest.fixture
def at_home(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder, on the Python path."""
    monkeypatch.syspath_prepend(str(place))
    return place


@pytest.fixture(scope="module")
def run(place: Path, vae_run: Run) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(place))
        words = (*MINE, *PLAN, "trainer.epochs=3", "hydra.run.dir=run")
        finished = vae_run(*words, cwd=place)
        assert finished.code == 0, finished.said
    return place / "run"


def sent(run: Path, kind: str) -> list[dict[str, Any]]:
    lines = (run / "sent.jsonl").read_text(encoding="utf-8").splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == kind]


def scalars(run: Path) -> dict[str, list[tuple[int, float]]]:
    """By tag what was sent; of a step that was sent again, the later number."""
    found: dict[str, dict[int, float]] = {}
    for record in sent(run, "scalars"):
        for tag, value in record["values"].items():
            found.setdefault(tag, {})[record["step"]] = value
    return {tag: sorted(points.items()) for tag, points in found.items()}


def assert_as_tensorboard(run: Path) -> None:
    """What was sent has the tags, steps and numbers of TensorBoard's event files."""
    mine, shown = scalars(run), curves(run)
    timing = [tag for tag in mine if tag.endswith("examples_per_second")]
    assert timing == ["train/examples_per_second"]
    assert set(mine) - set(timing) == set(shown)
    for tag, points in shown.items():
        assert [step for step, _ in mine[tag]] == [step for step, _ in points], tag
        found = [value for _, value in mine[tag]]
        assert found == pytest.approx([value for _, value in points], rel=1e-6), tag


def test_it_gets_what_tensorboard_gets(run: Path) -> None:
    assert_as_tensorboard(run)
    assert {"train/loss", "train/grad_norm", "val/elbo", "test/mse"} <= scalars(run).keys()
    (event_file,) = run.glob("events.out.tfevents.*")
    events = EventAccumulator(str(event_file), size_guidance={"images": 0, "tensors": 0})
    events.Reload()
    pictures = sent(run, "pictures")  # while it trains, and at its end
    assert {f"images/{name}" for one in pictures for name in one["shapes"]} == set(
        events.Tags()["images"]
    )
    assert {one["name"] for one in sent(run, "histogram")} == set(events.Tags()["histograms"])
    last = max(step for step, _ in scalars(run)["train/loss"])
    assert pictures[-1]["step"] == last
    (embedding,) = sent(run, "embedding")
    assert embedding["step"] == last
    codes, labels, images = embedding["shapes"]
    assert codes == [labels[0], 2]
    assert images == [labels[0], 1, 8, 8]
    (text,) = sent(run, "text")
    (shown,) = events.Tensors("config/text_summary")
    assert text["text"].encode() == shown.tensor_proto.string_val[0]
    (hparams,) = sent(run, "hparams")
    assert hparams["values"]["optimizer.lr"] == 0.001
    assert hparams["values"]["model"] == "vae"
    assert not [key for key in hparams["values"] if key.split(".")[0] in ("tracker", "device")]
    assert sent(run, "start") == [{"kind": "start", "resumed_step": None}]
    assert len(sent(run, "succeeded")) == len(sent(run, "close")) == 1


def test_it_changes_no_result_and_no_identity(run: Path, vae_run: Run, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    finished = vae_run(*PLAN, "trainer.epochs=3", f"hydra.run.dir={plain}")
    assert finished.code == 0, finished.said
    assert metrics(run) == metrics(plain)
    assert curves(run) == curves(plain)
    mine, theirs = (RunDirectory(path).config() for path in (run, plain))
    assert mine["tracker"] != theirs["tracker"]
    assert identity(mine) == identity(theirs)


def test_one_that_raises_is_switched_off(run: Path, at_home: Path, vae_run: Run) -> None:
    words = (*MINE, *PLAN, "trainer.epochs=3", "tracker.fails_at=10", "hydra.run.dir=failing")
    finished = vae_run(*words, cwd=at_home)
    assert finished.code == 0, finished.said
    failing = at_home / "failing"
    said = finished.said.replace("\n", " ")
    assert said.count("warning: JsonLines") == 1
    assert "JsonLines: RuntimeError: the server said no. Nothing more is sent to it" in said
    assert json.loads((failing / "status.json").read_text())["state"] == "completed"
    assert (metrics(failing), curves(failing)) == (metrics(run), curves(run))
    assert sent(failing, "close") == []
    assert all(one["step"] < 10 for one in sent(failing, "pictures"))
    assert max(step for points in scalars(failing).values() for step, _ in points) < 10
    # Everything that the other run was sent from there on: numbers, pictures, codes.
    late = [one for one in sent(run, "scalars") if one["step"] >= 10]
    others = [one for kind in ("histogram", "embedding") for one in sent(run, kind)]
    pictures = sum(len(one["shapes"]) for one in sent(run, "pictures") if one["step"] >= 10)
    count = sum(len(one["values"]) for one in late) + len(others) + pictures + 1  # and the report
    assert f"JsonLines: {count} records were not sent" in said


def test_a_resumed_run_sends_to_it_again(run: Path, at_home: Path, vae_run: Run) -> None:
    part = at_home / "part"
    words = (*MINE, *PLAN, "trainer.epochs=1", f"hydra.run.dir={part}")
    assert vae_run(*words, cwd=at_home).code == 0
    resume = ("task=resume", f"run={part}", "trainer.epochs=3")
    refused = vae_run(*resume, cwd=at_home)
    assert refused.code == 1
    assert "trust=[sending]" in refused.said
    finished = vae_run(*resume, "trust=[sending]", cwd=at_home)
    assert finished.code == 0, finished.said
    step = len(scalars(part)["val/elbo"]) and scalars(part)["val/elbo"][0][0]
    assert [one["resumed_step"] for one in sent(part, "start")] == [None, step]
    assert_as_tensorboard(part)
    assert scalars(part)["val/elbo"] == scalars(run)["val/elbo"]
    assert rows_of(part) == rows_of(run)


def test_a_resumed_run_can_do_without_it(run: Path, vae_run: Run, tmp_path: Path) -> None:
    """Without its package, and without trust in it."""
    copied = Path(shutil.copytree(run, tmp_path / "run"))
    before = (copied / "sent.jsonl").read_bytes()
    words = ("task=resume", f"run={copied}", "trainer.epochs=4", "tracker=none")
    finished = vae_run(*words)
    assert finished.code == 0, finished.said
    assert len(rows_of(copied)) == 4
    assert (copied / "sent.jsonl").read_bytes() == before


def test_a_new_metric_of_a_run_is_sent_to_it(run: Path, at_home: Path, vae_run: Run) -> None:
    copied = Path(shutil.copytree(run, at_home / "measured"))
    words = ("evaluation.metrics=[objective,posterior_scale]", "evaluation.figures=[]")
    finished = vae_run("task=evaluate", f"run={copied}", "trust=[sending]", *words, cwd=at_home)
    assert finished.code == 0, finished.said
    new = sent(copied, "scalars")[len(sent(run, "scalars")) :]
    tags = {tag for one in new for tag in one["values"]}
    assert "test/posterior_scale" in tags
    assert not tags & scalars(run).keys(), "what the run had is not sent twice"
    assert_as_tensorboard(copied)


def test_a_model_loads_without_its_tracker(run: Path) -> None:
    """A model is not trained when it is loaded: nothing of `sending` is imported."""
    import sys

    sys.modules.pop("sending", None)
    assert load(run).sample(2).shape == (2, 1, 8, 8)
    assert "sending" not in sys.modules


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("+tracker.fils=x",), "tracker.fils: there is no such key. Did you mean tracker.file"),
        (("tracker.fails_at=soon",), "tracker.fails_at: found 'soon'"),
        (("tracker=null",), "tracker: found null, expected one of its options: mine, mlflow, none"),
    ],
)
def test_a_wrong_option_is_refused(
    words: tuple[str, ...], told: str, at_home: Path, vae_run: Run
) -> None:
    finished = vae_run(*MINE, *words, "hydra.run.dir=wrong", cwd=at_home)
    assert finished.code == 1
    assert told in finished.said.replace("\n", " ")
    assert not (at_home / "wrong").exists()


@pytest.mark.scale
def test_several_get_the_same(run: Path, at_home: Path, vae_run: Run) -> None:
    """Two of the user's own, whose files Hydra alone would merge; and both again when resumed."""
    other = at_home / "myconf" / "tracker" / "other.yaml"
    other.write_text("_target_: others.Second\nfile: second.jsonl\nfails_at: null\n")
    (at_home / "others.py").write_text(
        "import sending\n\n\nclass Second(sending.JsonLines):\n    pass\n"
    )
    both = ("--config-dir", "myconf", "tracker=[mine,other]", "tracker.other.file=more.jsonl")
    words = (*both, *PLAN, "trainer.epochs=3", "hydra.run.dir=both")
    finished = vae_run(*words, cwd=at_home)
    assert finished.code == 0, finished.said
    assert_as_tensorboard(at_home / "both")
    first, second = ((at_home / "both" / name).read_text() for name in ("sent.jsonl", "more.jsonl"))
    assert first == second
    (hparams,) = sent(at_home / "both", "hparams")
    (before,) = sent(run, "hparams")
    assert hparams == before, "trackers are no hyperparameters"
    resume = ("task=resume", "run=both", "trainer.epochs=4")
    assert "trust=[sending]" in vae_run(*resume, cwd=at_home).said
    finished = vae_run(*resume, "trust=[sending,others]", cwd=at_home)
    assert finished.code == 0, finished.said
    assert_as_tensorboard(at_home / "both")
    wrong = vae_run(*both, "tracker.other.fils=x", "hydra.run.dir=wrong", cwd=at_home)
    assert (wrong.code, "tracker.other.fils" in wrong.said) == (1, True)


class Recorder(Tracker):
    """Remembers what was called; raises where it is told to."""

    def __init__(self, fails_in: str = "") -> None:
        self.called: list[str] = []
        self.fails_in = fails_in

    def start(self, run: Path, resumed_step: int | None) -> None:
        self._call("start")

    def scalars(self, split: str, values: Any, step: int) -> None:
        self._call("scalars")

    def flush(self) -> None:
        self._call("flush")

    def close(self) -> None:
        self._call("close")

    def _call(self, name: str) -> None:
        self.called.append(name)
        if name == self.fails_in:
            raise OSError(28, "No space left on device")


@pytest.mark.parametrize("name", ["start", "scalars", "flush", "close"])
def test_the_others_go_on(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Wherever one fails; a tracker of the same class is not taken for it."""
    caplog.set_level("INFO", "vae_run")
    broken, whole = Recorder(name), Recorder()
    both = FanOut([broken, whole])
    both.start(tmp_path, None)
    both.scalars("val", {"loss": 1.0, "kl": 2.0}, 1)
    both.flush()
    both.scalars("val", {"loss": 1.0}, 2)
    both.close()
    order = ["start", "scalars", "flush", "scalars", "close"]
    assert whole.called == order
    assert broken.called == order[: order.index(name) + 1]
    (warning,) = [one.message for one in caplog.records if one.levelname == "WARNING"]
    assert warning.startswith("Recorder: No space left on device. Free some space")
    missed = {"start": 3, "scalars": 3, "flush": 1, "close": 0}[name]
    said = [
        found[1] for one in caplog.records if (found := re.search(r"(\d+) records", one.message))
    ]
    assert said == ([str(missed)] if missed else [])
