"""Searches: real jobs that diverge, are killed, given up on or asked for twice."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from omegaconf import OmegaConf
from parts import composed

from vae_run.api import sweeping
from vae_run.config.check import check
from vae_run.errors import CheckpointError, ConfigError, JobsFailedError
from vae_run.sweeps.ledger import Entry, Ledger
from vae_run.sweeps.same_data import fingerprint_of
from vae_run.sweeps.search.settings import SearchSettings
from vae_run.sweeps.settings import checked

optuna = pytest.importorskip("optuna")

from vae_run.sweeps.search.plan import JOURNAL, Plan  # noqa: E402
from vae_run.sweeps.search.results import conclude, refuse_another  # noqa: E402
from vae_run.sweeps.search.space import Choice, Numbers, check_ends  # noqa: E402
from vae_run.sweeps.search.study import Study  # noqa: E402
from vae_run.sweeps.search.trials import Trials  # noqa: E402

SEARCH = (
    *("-m", "hydra/sweeper=optuna", "device=cpu", "network.widths=[8]", "evaluation.figures=[]"),
    *("hydra.launcher.jobs=2", "hydra.launcher.threads=1", "trainer.log_every=5", "sweep.dir=s"),
)
SHORT = (*SEARCH, "trainer.epochs=2")
LR = "optimizer.lr=tag(log,interval(1e-3,1e-1))"


def trials(folder=Path("s")):
    """The trials as Optuna itself reads them from the storage."""
    backend = optuna.storages.journal.JournalFileBackend(str(folder / JOURNAL))
    storage = optuna.storages.JournalStorage(backend)
    (study,) = optuna.get_all_study_summaries(storage)
    return optuna.load_study(study_name=study.study_name, storage=storage).trials


def ledger(folder=Path("s")):
    return json.loads((folder / "ledger.json").read_text(encoding="utf-8"))


def states(folder=Path("s")):
    return {job["directory"]: job["state"] for job in ledger(folder)["jobs"].values()}


def figures(directory, folder=Path("s")):
    return json.loads((folder / directory / "metrics.json").read_text(encoding="utf-8"))["val"]


def stamps(folder=Path("s")):
    return {path: path.stat().st_mtime_ns for path in folder.glob("0*/**/*")}


def test_it_finds_the_best_and_the_same_command_again_does_nothing(vae_run):
    command = (*SHORT, LR, "latent_dim=interval(2,9)", "hydra.sweeper.trials=3")
    first = vae_run(*command)
    assert first.code == 0, first.said
    told = trials()
    assert [trial.state.name for trial in told] == ["COMPLETE"] * 3
    by_directory = {name: figures(name)["elbo"] for name in states()}
    best = max(by_directory, key=by_directory.get)
    (line,) = (line for line in first.out.splitlines() if line.startswith("best"))
    assert line.endswith(best)
    assert ledger()["about"]["search"]["best"] == [
        {"directory": best, "values": [by_directory[best]]}
    ]
    for trial in told:
        config = OmegaConf.load(Path("s") / trial.user_attrs["directory"] / ".hydra/config.yaml")
        assert trial.value == by_directory[trial.user_attrs["directory"]]
        assert isinstance(trial.params["latent_dim"], int)
        assert config.latent_dim == trial.params["latent_dim"]
        assert config.optimizer.lr == pytest.approx(trial.params["optimizer.lr"], rel=1e-3)
    with Path("s/sweep.csv").open(encoding="utf-8", newline="") as file:
        assert [row["run"] for row in csv.DictReader(file)] == list(by_directory)

    before = stamps()
    again = vae_run(*command)
    assert again.code == 0, again.said
    assert "3 done before" in again.out
    assert line in again.out
    assert (stamps(), len(trials())) == (before, 3)
    for word, message in (
        ("trainer.epochs=3", "trainer.epochs: found 3, but the search in s was begun with 2"),
        ("hydra.sweeper.objective=val/mse", "but the search in sweep.dir is of val/elbo"),
        ("latent_dim=2,3", "latent_dim: the search in sweep.dir was begun with other choices"),
        ("latent_dim=4", "latent_dim: the search in sweep.dir searches it"),
    ):
        refused = vae_run(*command, word)
        assert refused.code == 1, word
        assert message in refused.err
    assert (stamps(), len(trials())) == (before, 3)

    more = vae_run(*command, "hydra.sweeper.trials=4", "trainer.log_every=9")
    assert more.code == 0, more.said
    assert {path: stamps()[path] for path in before} == before
    assert [trial.state.name for trial in trials()] == ["COMPLETE"] * 4


def test_trials_that_diverge_do_not_end_it_and_twins_train_once(vae_run):
    finished = vae_run(*SHORT, "optimizer=sgd", "likelihood=mse", "optimizer.lr=1e10,1e-3",
                       "hydra.sweeper.sampler=random", "hydra.sweeper.trials=8")  # fmt: skip
    assert finished.code == 0, finished.said
    assert sorted(states().values()) == ["completed", "diverged"]
    (good,) = (name for name, state in states().items() if state == "completed")
    told = trials()
    assert len(told) == 8
    for trial in told:
        diverges = trial.params["optimizer.lr"] == "10000000000.0"
        assert trial.state.name == ("FAIL" if diverges else "COMPLETE")
        assert trial.value == (None if diverges else figures(good)["elbo"])
    assert {trial.state.name for trial in told} == {"FAIL", "COMPLETE"}
    assert finished.out.count(", and takes its result") == 6


def test_a_bad_trial_is_given_up_early(vae_run):
    finished = vae_run(*SEARCH, "trainer.epochs=60", "trainer.batch_size=32",
                       "dataset.classes=[0,1]", "optimizer.lr=1e-2,1e-9",
                       "hydra.sweeper.sampler=random", "hydra.sweeper.seed=3",
                       "hydra.sweeper.startup=1",
                       "hydra.sweeper.trials=2", "hydra.launcher.jobs=1")  # fmt: skip
    assert finished.code == 0, finished.said
    good, bad = trials()
    assert (good.params["optimizer.lr"], good.state.name) == ("0.01", "COMPLETE")
    assert (bad.params["optimizer.lr"], bad.state.name) == ("1e-09", "PRUNED")
    assert list(states().values()) == ["completed", "pruned"]
    assert max(good.intermediate_values) == 60, "every epoch is told, the last ones too"
    best = figures(good.user_attrs["directory"])["elbo"]
    assert max(good.intermediate_values.values()) == pytest.approx(best)
    rows = Path("s", bad.user_attrs["directory"], "history.csv").read_text().splitlines()
    assert len(rows) < 50
    assert "given up at epoch" in finished.out


@pytest.mark.scale
def test_one_killed_half_way_goes_on(tmp_path, python_environment):
    command = [sys.executable, "-m", "vae_run", *SEARCH, LR, "trainer.epochs=10",
               "trainer.checkpoint_seconds=0", "hydra.sweeper.trials=3",
               "hydra.sweeper.pruner=none"]  # fmt: skip
    folder = tmp_path / "s"

    def status(number):
        try:
            (file,) = folder.glob(f"{number:03d}-*/status.json")
            return json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            return {}

    with subprocess.Popen(command, cwd=tmp_path, env=python_environment, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:  # fmt: skip
        end = time.monotonic() + 200
        while not (status(0).get("state") == "completed" and status(2).get("step", 0) > 0):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.02)
        pids = {status(number)["pid"] for number in (1, 2)}
        os.kill(process.pid, signal.SIGKILL)
    while any(Path(f"/proc/{pid}/cmdline").exists() for pid in pids):
        assert time.monotonic() < end
        time.sleep(0.02)
    completed = [number for number in range(3) if status(number)["state"] == "completed"]
    before = {path: stamp for path, stamp in stamps(folder).items()
              if int(path.relative_to(folder).parts[0][:3]) in completed}  # fmt: skip
    asked = [trial.params for trial in trials(folder)]
    assert len(completed) in (1, 2)

    again = subprocess.run(command, cwd=tmp_path, env=python_environment, text=True,
                           capture_output=True, timeout=200, check=False)  # fmt: skip
    assert again.returncode == 0, again.stdout + again.stderr
    told = trials(folder)
    assert [trial.state.name for trial in told] == ["COMPLETE"] * 3
    assert [trial.params for trial in told] == asked
    for trial in told:
        assert trial.value == figures(trial.user_attrs["directory"], folder)["elbo"]
    assert list(states(folder).values()) == ["completed"] * 3
    assert {path: path.stat().st_mtime_ns for path in before} == before
    for name in states(folder):
        log = (folder / name / "train.log").read_text(encoding="utf-8")
        assert ("goes on at epoch" in log) == (int(name[:3]) not in completed)


@pytest.mark.scale
def test_of_two_objectives_the_pareto_front(vae_run):
    objective = "hydra.sweeper.objective=[val/reconstruction,val/kl]"
    finished = vae_run(*SHORT, "objective.beta=interval(0.1,20)", objective,
                       "hydra.sweeper.trials=4")  # fmt: skip
    assert finished.code == 0, finished.said
    values = {name: (figures(name)["reconstruction"], figures(name)["kl"]) for name in states()}
    front = {
        name
        for name, (a, b) in values.items()
        if not any(c <= a and d <= b and (c, d) != (a, b) for c, d in values.values())
    }
    found = ledger()["about"]["search"]
    assert found["direction"] == ["minimize", "minimize"]
    assert {one["directory"] for one in found["best"]} == front
    lines = [line for line in finished.out.splitlines() if line.startswith("best")]
    assert {line.rsplit("/", 1)[1] for line in lines} == front


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["hydra.sweeper.objective=test/elbo"], "hydra.sweeper.objective: found test/elbo, but"),
        (["hydra.sweeper.objective=[val/mse,test/mse]"], "found test/mse, but"),
        (["hydra.sweeper.objective=elbo"], "expected val/NAME"),
        (["hydra.sweeper.objective=val/elbbo"], "did you mean val/elbo?"),
        (["hydra.sweeper.objective=val/active_units"], "Say minimize or maximize."),
        (["hydra.sweeper.direction=up"], "hydra.sweeper.direction: found 'up'"),
        (["hydra.sweeper.trials=0"], "hydra.sweeper.trials: found 0"),
        (["hydra.sweeper.n_trials=3"], "hydra.sweeper.n_trials: there is no such key"),
        (["+hydra.sweeper.trial=3"], "Did you mean hydra.sweeper.trials?"),
        (
            ["hydra.sweeper.objective=[val/mse,val/kl]", "hydra.sweeper.pruner=median"],
            "hydra.sweeper.pruner: found median, but with several objectives",
        ),
        (
            ["hydra/launcher=basic", "hydra.sweeper.pruner=hyperband"],
            "this launcher cannot stop a job on the way",
        ),
        ([LR.replace("tag", "tog")], "tog"),
        (["optimizer.lr=tag(log,interval(0,1))"], "optimizer.lr: found optimizer.lr=tag(log"),
        (["optimizer.lr=tag(ln,interval(1,2))"], "found the tag ln"),
        (["latent_dim=range(5,5)"], "latent_dim: found range(5,5,1), which holds nothing"),
        (["latent_dim=interval(0,64)"], "latent_dim: found 0"),
        (["model=ae,vaee"], "vaee"),
        (["trainer.epochs=1,0"], "trainer.epochs: found 0"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else "",
)
def test_wrong_searches_are_refused_before_anything_runs(vae_run, words, message):
    dropped = [key.split("=")[0] for key in words]
    command = [word for word in SHORT if word.split("=")[0] not in dropped]
    if "basic" in words[0]:
        command = [word for word in command if "launcher" not in word]
    finished = vae_run(*command, "seed=1,2", *words)
    assert finished.code == 1
    assert message in finished.err.replace("\n", " "), finished.err
    assert "Traceback" not in finished.said
    assert not Path("s").exists()


def test_nothing_to_search_is_refused(vae_run):
    finished = vae_run(*SHORT, "seed=3")
    assert finished.code == 1
    assert "there is nothing to search" in finished.err


@pytest.mark.scale
def test_an_objective_that_runs_lack_ends_it_with_their_figures(vae_run):
    finished = vae_run(*SHORT, LR, "model=ae", "hydra.sweeper.trials=20")
    assert finished.code == 1
    assert "has no val/elbo; it has val/loss" in finished.err
    assert len(trials()) <= 4, "it ends with the first, and those that ran beside it"


def test_other_launchers_get_batches(vae_run):
    command = [word for word in SHORT if "launcher" not in word]
    finished = vae_run(*command, "hydra/launcher=basic", LR, "hydra.sweeper.trials=2",
                       "hydra.sweeper.batch=1", "trainer.epochs=1")  # fmt: skip
    assert finished.code == 0, finished.said
    assert [trial.state.name for trial in trials()] == ["COMPLETE"] * 2


# The study alone, with values instead of trainings.

AXES = {"a": Numbers(1e-4, 1.0, log=True), "b": Numbers(2, 9), "c": Choice(("x", "y"))}


def value(point):
    return -abs(point["a"] - 0.1) - abs(point["b"] - 4) - (point["c"] == "x")


@pytest.mark.parametrize("sampler", ["tpe", "random", "nsga2"])
def test_what_is_gone_on_with_asks_for_what_it_would_have_asked_for(tmp_path, sampler):
    plan = Plan(("val/elbo",), ("maximize",), sampler, seed=7, startup=4)
    points = []
    for folder, pause in ((tmp_path / "whole", 99), (tmp_path / "broken", 5)):
        study, points_here = Study(folder, plan, AXES), []
        for number in range(12):
            if number == pause:
                study = Study(folder, plan, AXES)
            trial = study.ask()
            points_here.append(trial.point)
            study.complete(trial, [value(trial.point)])
        points.append(points_here)
    assert points[0] == points[1]
    assert len({tuple(point.values()) for point in points[0]}) > 8
    other = Study(tmp_path / "other", Plan(("val/elbo",), ("maximize",), sampler, seed=8), AXES)
    assert other.ask().point != points[0][0]


def test_nsga2_learns_within_the_default_number_of_trials(tmp_path):
    points = {}
    for sampler in ("nsga2", "random"):
        study = Study(tmp_path / sampler, Plan(("val/elbo",), ("maximize",), sampler), AXES)
        points[sampler] = []
        for _ in range(20):
            trial = study.ask()
            points[sampler].append(trial.point)
            study.complete(trial, [value(trial.point)])
    assert points["nsga2"][:10] == points["random"][:10]  # the first generation
    assert all(a != b for a, b in zip(*(points[s][10:] for s in points), strict=True))


def test_trials_that_were_running_are_found_again_and_half_a_line_is_nothing(tmp_path):
    plan = Plan(("val/elbo",), ("maximize",), pruner="median")
    study = Study(tmp_path, plan, AXES)
    first, second = study.ask(), study.ask()
    study.report(second, {1: -3.0, 2: -2.0})
    study.complete(first, [-1.0])
    with (tmp_path / JOURNAL).open("ab") as file:
        file.write(b'{"op_code":6,"trial')
    study = Study(tmp_path, plan, AXES)
    (found,) = study.unfinished()
    assert (found.number, found.point, found.reported) == (1, second.point, {1, 2})
    study.report(found, {1: -3.0, 2: -2.0, 3: -1.5})
    study.prune(found)
    study = Study(tmp_path, plan, AXES)
    assert (study.asked, study.count("PRUNED"), study.unfinished()) == (2, 1, [])
    assert trials(tmp_path)[1].intermediate_values == {1: -3.0, 2: -2.0, 3: -1.5}


BAD = {1: -9.0, 2: -9.0, 3: 5.0, 4: -9.0}
"""Values by epoch of a trial that is below the median of 0 until its third epoch."""


@pytest.mark.parametrize("state", ["completed", "diverged", "pruned"])
@pytest.mark.parametrize("parts", [[4], [1, 2, 4], [3, 4], []])
def test_the_verdict_on_a_trial_does_not_depend_on_how_often_it_is_looked_at(
    tmp_path, state, parts
):
    """`parts` are the last epochs that the history has whenever it is read of the running job."""
    plan = Plan(("val/elbo",), ("maximize",), pruner="median", startup=1, warmup=2)
    study = Study(tmp_path, plan, AXES)
    first = study.ask()
    study.report(first, dict.fromkeys(BAD, 0.0))
    study.complete(first, [0.0])
    jobs = [Entry("001", []), Entry("001", [], state)]
    search = Trials(study, tmp_path, lambda point: jobs.pop(0), limit=6)
    entries = search.entries()
    entry = next(entries)
    stops = []
    running = SimpleNamespace(stop=None, ask_to_stop=lambda cause, why: stops.append(why))

    def write(last):
        (tmp_path / "001").mkdir(exist_ok=True)
        rows = [f"{epoch},{value}" for epoch, value in BAD.items() if epoch <= last]
        text = "\n".join(["epoch,val/elbo", *rows, ""])
        (tmp_path / "001" / "history.csv").write_text(text, encoding="utf-8")

    for last in parts:
        write(last)
        running.stop = stops[0] if stops else None
        search.tick({"001": running})
    write(4)
    entry.state = state
    search.ended(entry)
    for _ in range(3):  # beside these it would not have been given up
        low = study.ask()
        study.report(low, dict.fromkeys(BAD, -20.0))
        study.complete(low, [-20.0])
    assert next(entries, None) is None, "the last trial is as the second, and takes its result"
    told = trials(tmp_path)
    for trial in (told[1], told[-1]):
        assert trial.state.name == "PRUNED"
        assert trial.intermediate_values == {1: -9.0, 2: -9.0}, "up to the verdict"
    assert stops == (["given up at epoch 2"] if parts else [])


def test_a_damaged_journal_or_a_strange_storage_is_named(tmp_path):
    plan = Plan(("val/elbo",), ("maximize",))
    study = Study(tmp_path, plan, AXES)
    study.complete(study.ask(), [-1.0])
    journal = tmp_path / JOURNAL
    journal.write_bytes(journal.read_bytes().replace(b'"op_code"', b'"op_co', 1))
    with pytest.raises(CheckpointError, match=r"search\.journal: Optuna cannot read"):
        Study(tmp_path, plan, AXES)
    for storage in ("what://x", "sqlite:////none/such.db"):
        strange = Plan(("val/elbo",), ("maximize",), storage=storage)
        with pytest.raises(CheckpointError, match=f"{storage}: Optuna cannot read"):
            Study(tmp_path, strange, AXES)


def test_other_storages_hold_several_searches(tmp_path):
    for storage in (f"sqlite:///{tmp_path / 'all.db'}", str(tmp_path / "all.journal")):
        plan = Plan(("val/elbo",), ("maximize",), storage=storage)
        for name, count in (("a", 2), ("b", 1)):
            study = Study(tmp_path / name, plan, AXES)
            for _ in range(count):
                study.complete(study.ask(), [-1.0])
        assert Study(tmp_path / "a", plan, AXES).count("COMPLETE") == 2
        assert Study(tmp_path / "b", plan, AXES).count("COMPLETE") == 1


def test_the_same_folder_name_in_other_working_directories_is_another_search(tmp_path, monkeypatch):
    plan = Plan(("val/elbo",), ("maximize",), storage=str(tmp_path / "all.journal"))
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        monkeypatch.chdir(tmp_path / place)
        study = Study(Path("s"), plan, AXES)
        assert study.asked == 0, place
        study.complete(study.ask(), [1.0])
        assert Study(Path("s"), plan, AXES).asked == 1
        assert Study(Path("s").absolute(), plan, AXES).asked == 1, "however the folder is typed"


def test_a_search_that_an_earlier_version_named_by_its_relative_folder_goes_on(
    tmp_path, monkeypatch
):
    plan = Plan(("val/elbo",), ("maximize",), storage=str(tmp_path / "all.journal"))
    monkeypatch.setattr(Plan, "study_name", Plan.earlier_name)
    study = Study(Path("s"), plan, AXES)
    trial = study.ask()
    study.note(trial, "000-a=1")
    study.complete(trial, [1.0])
    monkeypatch.undo()
    for place, known in (("here", 1), ("there", 0)):
        monkeypatch.chdir(tmp_path)
        Path(place, "s", *(["000-a=1"] if known else [])).mkdir(parents=True)
        monkeypatch.chdir(place)
        assert Study(Path("s"), plan, AXES).asked == known, place


@pytest.mark.parametrize("ends", [("COMPLETE",), ("PRUNED",), ("FAIL",), ()])
def test_a_search_goes_on_with_its_own_keys_alone(tmp_path, ends):
    plan = Plan(("val/elbo",), ("maximize",))
    study = Study(tmp_path, plan, AXES)
    for state in ends:
        values = [1.0] if state == "COMPLETE" else None
        study._study.tell(study.ask().number, values, state=optuna.trial.TrialState[state])
    with pytest.raises(ConfigError, match=r"^d: is given a range or choices, but the search in"):
        Study(tmp_path, plan, {**AXES, "d": Numbers(1, 2)})
    with pytest.raises(ConfigError, match=r"^c: the search in sweep\.dir searches it, but"):
        Study(tmp_path, plan, {key: AXES[key] for key in "ab"})
    assert Study(tmp_path, plan, AXES).asked == len(ends)


def test_the_keys_of_a_search_of_an_earlier_version_are_those_of_its_trials(tmp_path, monkeypatch):
    plan = Plan(("val/elbo",), ("maximize",))
    stored = optuna.study.Study.set_user_attr
    monkeypatch.setattr(
        optuna.study.Study,
        "set_user_attr",
        lambda self, key, value: None if key == "axes" else stored(self, key, value),
    )
    study = Study(tmp_path, plan, AXES)
    study._study.ask({"a": study._axes["a"]})  # killed there
    assert Study(tmp_path, plan, AXES).asked == 0, "one that lacks keys proves nothing"
    study.complete(study.ask(), [1.0])
    with pytest.raises(ConfigError, match=r"^d: is given a range or choices"):
        Study(tmp_path, plan, {**AXES, "d": Numbers(1, 2)})
    assert Study(tmp_path, plan, AXES).asked == 1


def begun(folder, config, fingerprint="none"):
    """A run directory as a job leaves it that has begun."""
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "config.yaml").write_text(json.dumps(config))
    (folder / "environment.json").write_text(json.dumps({"dataset_fingerprint": fingerprint}))


def test_the_first_job_with_a_directory_guards_a_search_against_other_settings(tmp_path):
    begun(tmp_path / "001", composed("seed=1"))
    found, trials = Ledger(tmp_path), [("000", {"seed": 0}), ("001", {"seed": 1})]
    refuse_another(found, trials, lambda point: check(composed(f"seed={point['seed']}")))
    with pytest.raises(ConfigError, match=r"^latent_dim: found 3, .* was begun with 16"):
        refuse_another(
            found, trials, lambda point: check(composed(f"seed={point['seed']}", "latent_dim=3"))
        )
    refuse_another(found, trials[:1], lambda point: pytest.fail("nothing has begun"))


def test_a_search_knows_its_own_data_where_they_lie_now(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (30, 3, 3), dtype=np.uint8)
    for name, held in (("a", images), ("b", images), ("c", images[::-1])):
        np.savez(tmp_path / f"{name}.npz", train=held)

    def job(name, *words):
        return check(composed("dataset=arrays", f"dataset.path={tmp_path / name}.npz", *words))

    begun(tmp_path / "000", job("a").raw, fingerprint_of(job("a")))
    found = Ledger(tmp_path)
    refuse_another(found, [("000", {})], lambda point: job("b"))
    with pytest.raises(ConfigError, match=r"^dataset\.path: found .*c\.npz, but"):
        refuse_another(found, [("000", {})], lambda point: job("c"))
    with pytest.raises(ConfigError, match=r"^latent_dim: found 3, but"):
        refuse_another(found, [("000", {})], lambda point: job("b", "latent_dim=3"))
    with pytest.raises(ConfigError, match=r"^dataset\.path: found .*gone\.npz, but"):
        refuse_another(found, [("000", {})], lambda point: job("gone"))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("failed", "1 of the search's jobs failed"),
        ("interrupted", "1 of the search's jobs were stopped"),
        ("diverged", "no trial has a value"),
    ],
)
def test_a_search_whose_jobs_have_no_result_leaves_a_sweep_to_python(tmp_path, state, message):
    study = Study(tmp_path, Plan(("val/elbo",), ("maximize",)), AXES)
    trial = study.ask()
    study.note(trial, "000-a=1")
    study.fail(trial, state)
    found = Ledger(tmp_path, {"one": Entry("000-a=1", ["a=1"], state)})
    with pytest.raises(JobsFailedError, match=message) as raised:
        conclude(found, study)
    assert raised.value.exit_code == 1
    told = {"kind": type(raised.value).__name__, "message": message, "code": 1}
    assert sweeping._raise(told) is None, "vae_run.sweep returns the sweep"


def test_one_that_was_killed_while_it_was_asked_for_does_not_count(tmp_path):
    plan = Plan(("val/elbo",), ("maximize",))
    study = Study(tmp_path, plan, AXES)
    study._study.ask({"a": study._axes["a"]})
    assert (study.unfinished(), study.asked) == ([], 0)


def test_numbers_have_as_few_digits_as_tell_them_apart():
    assert Numbers(1e-4, 1e-1, log=True).text(0.004043878009515107) == "0.004044"
    assert Numbers(0.0, 1.0).text(0.123456789) == "0.1235"
    assert Numbers(0.999, 0.9999).text(0.99923456789) == "0.9992346"
    assert Numbers(0.0, 1.0, step=0.1).text(0.1 + 0.2) == "0.3"
    assert Numbers(2, 64).text(37) == "37"
    assert float(Numbers(0.12345678, 1.0).text(0.12345678)) >= 0.12345678


def test_ends_count_as_possible_where_any_point_has_them():
    axes = {"posterior": Choice(("normal", "delta")), "objective": Choice(("elbo", "plain")),
            "d": Numbers(1, 5)}  # fmt: skip
    tried = []

    def check(point):
        tried.append(dict(point))
        if (point["posterior"] == "delta") != (point["objective"] == "plain"):
            raise ConfigError("objective: they exclude each other")
        if point["d"] > most:
            raise ConfigError(f"d: found {point['d']}")

    most = 5
    check_ends(axes, check)
    assert len(tried) <= 4
    most = 4
    with pytest.raises(ConfigError, match="d: found 5"):
        check_ends(axes, check)
    with pytest.raises(ConfigError, match="exclude"):
        check_ends({**axes, "objective": Choice(("elbo",))}, check)


def test_which_way_is_better_follows_from_the_name():
    def ways(objective, direction=None):
        keys = {"objective": objective, "direction": direction}
        return checked(keys, SearchSettings, "hydra.sweeper").directions()

    assert ways("val/elbo") == ("maximize",)
    assert ways("val/bits_per_dim") == ("minimize",)
    assert ways(["val/reconstruction", "val/kl"]) == ("minimize", "minimize")
    assert ways("val/mine", "maximize") == ("maximize",)
    with pytest.raises(ConfigError, match="found 1, expected 2"):
        ways(["val/mse", "val/kl"], ["minimize"])
