"""Several conditions: numbers and classes of arrays and tables, as one vector beside x and z."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
import torch
from parts import composed
from pyarrow import parquet
from test_conditional import CPU, conditional, train
from torch.distributions import MultivariateNormal

from vae_run import load
from vae_run.config.check import check
from vae_run.data.conditions import Conditions, conditioned
from vae_run.data.datasets.arrays import Arrays
from vae_run.data.datasets.table import Table
from vae_run.errors import ConfigError, DataError
from vae_run.evaluation.codes import evaluating
from vae_run.evaluation.evaluation import Evaluation
from vae_run.evaluation.selection import own_pictures
from vae_run.training.experiment import Experiment, assemble

if TYPE_CHECKING:
    from conftest import Run, Train

SIGMA, PIXELS = 0.2, 20
NAMES = ("label", "age", "sex")


def rows(n: int, seed: int) -> dict[str, np.ndarray]:
    """n images that a class, a number and one factor determine, up to a little noise."""
    random = np.random.default_rng(seed)
    age, sex = 50 + 10 * random.normal(size=n), random.choice(["f", "m"], n)
    x = means(age, sex) + random.normal(size=(n, 1)) * directions()[0]
    x = x + SIGMA * random.normal(size=(n, PIXELS))
    return {"": x.astype(np.float32), "_age": age, "_sex": sex, "_labels": random.choice([3, 9], n)}


def directions() -> np.ndarray:
    """Of the factor, the class and the number, [3, PIXELS]."""
    return 0.1 * np.random.default_rng(7).normal(size=(3, PIXELS))


def means(age: np.ndarray, sex: np.ndarray) -> np.ndarray:
    """E[x | age, sex]."""
    _, of_sex, of_age = directions()
    return 0.5 + (sex == "m")[:, None] * 3 * of_sex + (age[:, None] - 50) / 10 * of_age


def saved(folder: Path, n: int = 60, **changed: np.ndarray | None) -> str:
    """An archive of train, val and test; `changed` replaces or, by None, leaves out arrays."""
    sizes = {"train": n, "val": 30, "test": 300}
    arrays = {
        f"{split}{name}": values
        for seed, (split, count) in enumerate(sizes.items())
        for name, values in rows(count, seed).items()
    }
    kept = {name: values for name, values in (arrays | changed).items() if values is not None}
    np.savez(folder / "data.npz", **kept)
    return str(folder / "data.npz")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> str:
    return saved(tmp_path_factory.mktemp("data"))


def made(path: str, *words: str) -> Experiment:
    """A small experiment on the archive `path`, given label, age and sex."""
    small = ("latent_dim=2", "network.widths=[8]", "likelihood=gaussian")
    typed = {word.split("=", 1)[0]: word for word in (*small, *words)}
    typed.setdefault("condition", f"condition=[{','.join(NAMES)}]")
    config = composed(*typed.values())
    config["dataset"] = {"_target_": "vae_run.data.datasets.arrays.Arrays", "path": path}
    return assemble(check(config), CPU)


# from arrays to vectors


def test_numbers_are_standardised_and_classes_one_hot_by_the_training_rows(archive: str) -> None:
    found, held = made(archive), np.load(archive)
    age = held["train_age"]
    for split, name in ((found.splits.train, "train"), (found.splits.test, "test")):
        expected = np.stack(
            [
                held[f"{name}_labels"] == 3,
                held[f"{name}_labels"] == 9,
                (held[f"{name}_age"] - age.mean()) / age.std(),
                held[f"{name}_sex"] == "f",
                held[f"{name}_sex"] == "m",
            ],
            1,
        )
        assert split.conditions is not None
        np.testing.assert_allclose(split.conditions.numpy(), expected, atol=1e-6)
    assert not [note for note in found.splits.notes if "not read" in note]
    examples = {tuple(row) for row in found.model.examples.tolist()}
    assert examples == {tuple(row) for row in found.splits.train.conditions.tolist()}


def test_conditions_are_not_fitted_to_what_has_been_conditioned(archive: str) -> None:
    found = made(archive)
    for again in (Conditions.of_training, partial(conditioned, conditions=found.model.conditions)):
        with pytest.raises(AssertionError, match="only once"):
            again(found.splits)
    assert found.loaded.fingerprint() == Arrays(path=archive).load(NAMES).fingerprint()


def test_rows_keep_their_conditions_when_sets_are_cut(tmp_path: Path) -> None:
    x = np.arange(40, dtype=np.float32)[:, None] * np.ones(3, np.float32)
    np.savez(tmp_path / "one.npz", images=x, height=2 * x[:, 0], kind=np.arange(40) % 3 == 0)
    splits = Arrays(path=str(tmp_path / "one.npz")).load(["height", "kind"])
    for split in (splits.train, splits.val, splits.test):
        assert split.conditions is not None
        torch.testing.assert_close(split.conditions[:, 0].float(), 2 * split.images[:, 0])
        wanted = (split.images[:, 0] % 3 == 0).double()
        torch.testing.assert_close(split.conditions[:, 2], wanted)
    assert [c.categories for c in splits.conditions.columns] == [None, ("false", "true")]
    assert splits.fingerprint() != Arrays(path=str(tmp_path / "one.npz")).load().fingerprint()


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("val_sex", np.array(["x"] + ["f"] * 29), r"val has images whose sex is 'x'"),
        ("test_age", np.full(300, np.nan), r"age: found nan, expected a finite number"),
        ("val_age", None, r"has no array `val_age`"),
        ("val_age", np.arange(30), r"age is float64, int64, float64; expected floats, or"),
        ("train_sex", np.array(["f"]), r"one value for each of the 60 vectors"),
        ("test_labels", None, r"the test images have no labels"),
    ],
)
def test_values_that_cannot_be_given_are_refused_by_name(
    name: str, values: np.ndarray | None, said: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=said):
        made(saved(tmp_path, **{name: values}))


def test_columns_of_a_table_are_conditions_in_place_of_features(tmp_path: Path) -> None:
    a, age = np.arange(50.0), 20 + np.arange(50.0) % 7
    columns = {"a": a, "age": age, "sex": ["f", "m"] * 25, "b": a % 2, "kind": ["k", "l"] * 25}
    parquet.write_table(pa.table(columns), tmp_path / "t.parquet")
    table = Table(path=str(tmp_path / "t.parquet"), label="kind")
    splits = table.load(["sex", "label", "age"])
    assert splits.columns == ("a", "b")
    conditions = Conditions.of_training(splits)
    assert conditions.names == ("label", "age", "sex")
    train = conditioned(splits, conditions).train
    rows_of = splits.train.index.numpy()
    own = age[rows_of]
    torch.testing.assert_close(
        train.conditions[:, 2].double(), torch.tensor((own - own.mean()) / own.std())
    )
    assert torch.equal(train.conditions[:, 0], (train.labels == 0).float())
    with pytest.raises(DataError, match="no column height"):
        table.load(["height"])


def test_datasets_without_arrays_are_refused_before_they_are_read() -> None:
    with pytest.raises(
        ConfigError, match=r"^condition: Digits has no arrays or columns, such as age"
    ):
        check(composed("condition=[label,age]"))
    with pytest.raises(ConfigError, match=r"^condition: .*different names"):
        check(composed("condition=[label,label]"))


# the model


def test_the_label_in_a_list_is_the_label_bit_for_bit() -> None:
    one, listed = (train(conditional(f"condition={c}"), 3) for c in ("label", "[label]"))
    assert one.model.state_dict().keys() == listed.model.state_dict().keys()
    for name, tensor in one.model.state_dict().items():
        assert torch.equal(tensor, listed.model.state_dict()[name]), name
    assert one.about() == listed.about()


def test_values_by_name_are_the_vectors_of_the_data(archive: str) -> None:
    found, held = made(archive), np.load(archive)
    model, x = found.model, found.splits.test.images[:6]
    own = {
        "label": held["test_labels"][:6],
        "age": held["test_age"][:6],
        "sex": held["test_sex"][:6],
    }
    q = model.given(found.splits.test.conditions[:6]).encode(x).mean
    torch.testing.assert_close(model.encode(x, own).mean, q)
    z = torch.randn(4, 6, 2)
    p = model.decode(z, own).mean
    assert (model.decode(z, {**own, "age": 70.0}).mean - p).abs().max() > 1e-3
    torch.testing.assert_close(
        model.decode(z[:, :1], {n: v[0] for n, v in own.items()}).mean, p[:, :1]
    )
    torch.manual_seed(0)
    z = torch.randn(7, 2)
    torch.manual_seed(0)
    torch.testing.assert_close(model.sample(7), model.decode(z, model.examples[:7]).mean)
    for wrong, said in (
        ({"label": 3, "age": 1.0, "sex": "x"}, "sex: found x; its classes are 'f', 'm'"),
        ({"label": 3, "age": float("inf"), "sex": "f"}, "age: found inf"),
        ({"label": 3, "age": 1.0}, "a value of sex is lacking"),
        (3, "has the conditions label, age, sex"),
    ):
        with pytest.raises(ConfigError, match=said):
            model.encode(x, wrong)
    with pytest.raises(ConfigError, match="needs the images' label, age, sex"):
        model.encode(x)


def test_every_picture_is_drawn(archive: str) -> None:
    found = made(archive)
    with evaluating(found.model):
        drawn = Evaluation(figures=list(own_pictures())).draw(found.view(found.splits.val))
    assert {"reconstructions", "samples"} <= drawn.keys()


def test_conditions_are_worth_the_nats_that_they_hold(tmp_path: Path) -> None:
    """p(x | age, sex) is normal, and linear maps of x, z and the conditions reach it.

    A model that knows the class alone can at best reach log p(x | sex).
    """
    path = saved(tmp_path, 900)
    held = np.load(path)
    x = torch.from_numpy(held["test"]).double()
    age, sex = held["test_age"], held["test_sex"]
    factor, _, of_age = torch.from_numpy(directions())
    noise = factor[:, None] * factor + SIGMA**2 * torch.eye(PIXELS, dtype=torch.double)
    mean, blind = torch.from_numpy(means(age, sex)), torch.from_numpy(means(0 * age + 50, sex))
    exact = float(MultivariateNormal(mean, noise).log_prob(x).mean())
    wide = MultivariateNormal(blind, noise + of_age[:, None] * of_age)
    of_sex_alone = float(wide.log_prob(x).mean())
    assert exact - of_sex_alone > 0.6
    words = ("network=linear", "network.widths=[]", "latent_dim=1", f"likelihood.sigma={SIGMA}")
    found = train(made(path, "condition=[age,sex]", *words), 400, rate=0.02)
    train(found, 200, rate=2e-3)
    elbo = found.evaluation.measure(found.view(found.splits.test))["elbo"]
    assert elbo == pytest.approx(exact, abs=0.2)
    assert elbo > of_sex_alone + 0.4


# a run and the tasks on it


@pytest.fixture(scope="module")
def run(archive: str, train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    words = ("dataset=arrays", f"dataset.path={archive}", f"condition=[{','.join(NAMES)}]")
    train(
        path,
        *words,
        "likelihood=gaussian",
        "latent_dim=2",
        "network.widths=[8]",
        "trainer.epochs=1",
    )
    return path


def test_own_files_and_keys_give_the_conditions(
    run: Path, archive: str, vae_run: Run, tmp_path: Path
) -> None:
    held, model = np.load(archive), load(run)
    x = held["test"][:4]
    own = {
        "labels": held["test_labels"][:4],
        "age": held["test_age"][:4],
        "sex": held["test_sex"][:4],
    }
    np.savez(tmp_path / "own.npz", images=x, **own)
    np.savez(tmp_path / "bare.npz", images=x)

    def codes(*words: str) -> np.ndarray:
        done = vae_run(
            "task=encode", f"run={run}", "output=out.npz", "device=cpu", *words, cwd=tmp_path
        )
        assert done.code == 0, done.said
        with np.load(tmp_path / "out.npz") as out:
            return out["mean"]

    file = codes("input=own.npz")
    np.testing.assert_allclose(codes("input=test")[:4], file, atol=1e-6)
    values = {"label": own["labels"], "age": own["age"], "sex": own["sex"]}
    with torch.inference_mode():
        np.testing.assert_allclose(file, model.encode(torch.from_numpy(x), values).mean, atol=1e-6)
        typed = model.encode(torch.from_numpy(x), {**values, "age": 40}).mean
        alone = model.encode(torch.from_numpy(x), {"label": 9, "age": 40, "sex": "m"}).mean
    np.testing.assert_allclose(codes("input=own.npz", "given={age: 40}"), typed, atol=1e-6)
    given = ("label=9", "given={age: 40, sex: m}")
    np.testing.assert_allclose(codes("input=bare.npz", *given), alone, atol=1e-6)


def test_samples_have_the_given_conditions_and_say_the_others(
    run: Path, vae_run: Run, tmp_path: Path
) -> None:
    words = (f"run={run}", "output=s.npz", "n=5", "label=9", "given={age: 61.7}", "device=cpu")
    done = vae_run("task=sample", *words, cwd=tmp_path)
    assert done.code == 0, done.said
    found, model = np.load(tmp_path / "s.npz"), load(run)
    assert found["age"].tolist() == [61.7] * 5
    assert found["labels"].tolist() == [9] * 5
    assert found["sex"].tolist() == ["m" if row[4] else "f" for row in model.examples[:5]]
    values = {"label": found["labels"], "age": found["age"], "sex": found["sex"]}
    with torch.inference_mode():
        expected = model.decode(torch.from_numpy(found["z"]), values).mean
    np.testing.assert_allclose(found["images"], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["label=9", "given={age: 40}"], 3, r"bare.npz has no `sex`.*'given={sex: VALUE}'"),
        (["given={age: 40, sex: m}"], 3, "bare.npz has no labels of the run's classes"),
        (
            ["label=4", "given={age: 40, sex: m}"],
            1,
            "label: found 4, but the run's model knows 3, 9",
        ),
        (["label=9", "given={age: old, sex: m}"], 1, "given: age: found old, expected a finite"),
        (["label=9", "given={height: 2}"], 1, "given: height is no condition of the run"),
    ],
)
def test_what_is_lacking_or_unknown_is_refused_with_what_to_do(
    words: list[str], code: int, said: str, run: Path, vae_run: Run, tmp_path: Path
) -> None:
    np.savez(tmp_path / "bare.npz", images=np.zeros((2, PIXELS), np.float32))
    typed = ("task=encode", f"run={run}", "input=bare.npz", "output=o.npz", "device=cpu")
    done = vae_run(*typed, *words, cwd=tmp_path)
    assert done.code == code
    assert re.search(said, done.said), done.said


def test_evaluation_gives_the_runs_own_metrics_again(run: Path, vae_run: Run) -> None:
    before = json.loads((run / "metrics.json").read_text())
    done = vae_run("task=evaluate", f"run={run}", "device=cpu", "evaluation.figures=[]")
    assert done.code == 0, done.said
    after = json.loads((run / "metrics.json").read_text())
    assert after["test"]["elbo"] == before["test"]["elbo"]
