"""The table of quantities: all that is recorded has a row, and what reads the table finds it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fitting import fitting
from parts import experiment, grey, options

from vae_run import plots
from vae_run.data.batches import TrainingBatches
from vae_run.errors import CheckpointError, ConfigError
from vae_run.evaluation import Place, Quantity, Section
from vae_run.evaluation.base import FunctionMetric
from vae_run.evaluation.codes import evaluating
from vae_run.evaluation.evaluation import Evaluation
from vae_run.evaluation.quantities import TABLE, quantities_of
from vae_run.evaluation.quantity import Declared, declared
from vae_run.evaluation.selection import METRIC, known

MEASURED = [name for name in known(METRIC) if name != "fid"]
"""All metrics but the one that needs a download."""
GRADIENT = [name for name in options("model") if name not in ("pca", "ppca")]


@pytest.mark.parametrize(
    "words",
    [
        ["corruption=gaussian"],
        ["model=dae"],
        ["model=hyperspherical_vae", "latent_dim=2"],
        ["posterior=flow", "likelihood=laplace"],
        ["model=hierarchical_vae"],
    ],
    ids=" ".join,
)
def test_whatever_a_metric_returns_has_a_row_with_a_sentence(words: list[str]) -> None:
    made = experiment(*words, shape=(1, 12, 12))
    view = made.view(made.splits.test)
    view = replace(view, train=made.splits.train, others=grey(29, (1, 12, 12), 9))
    if made.model.prior.fitted_to_codes:
        made.model.prior.fit(torch.randn(50, view.latent_dim))
    found = Evaluation(metrics=MEASURED).measure(view)
    assert {"loss", "mse", "pca_mse", "psnr", "mse_auroc"} <= found.keys()
    for name in found:
        assert TABLE.find(name) is not None, f"{name} has no row in evaluation/quantities.py"
        assert TABLE.of(name).text, name


@pytest.mark.parametrize("preset", GRADIENT)
def test_whatever_an_objective_returns_has_a_row(preset: str) -> None:
    made = experiment(f"model={preset}")
    noise = (made.objective.samples, made.settings.fixed.latent_dim)
    batches = TrainingBatches(
        made.splits.train, made.corruption, batch_size=32, noise=noise, seed=0
    )
    record = next(fitting(made, batches=batches))
    table = TABLE.with_declared(made.declared().quantities)
    for name in record.terms:
        assert table.of(name).text, f"{name} has neither a row in quantities.py nor a meaning"


def test_parts_say_what_their_own_terms_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    made = experiment("model=vae")
    monkeypatch.setattr(type(made.objective), "meanings", {"roughness": "of the decoder"})
    monkeypatch.setattr(type(made.model.posterior), "meanings", {"spread": "of the code"})
    rows = made.declared().quantities
    assert [(row.name, row.unit, row.text) for row in rows] == [
        ("roughness", "nats per image", "of the decoder"),
        ("spread", "nats per image", "of the code"),
    ]


def test_a_name_without_a_row_has_neither_unit_nor_sentence() -> None:
    assert TABLE.of("blur_of_mine") == Quantity("blur_of_mine")
    assert TABLE.units(["psnr", "knn_accuracy", "grad_norm", "kl", "blur_of_mine"]) == {
        "psnr": "dB",
        "knn_accuracy": "",
        "grad_norm": "",
        "kl": "nats per image",
        "blur_of_mine": "",
    }
    assert TABLE.of("pca_mse").unit == "per pixel"
    assert TABLE.of("log_likelihood_stderr").unit == "nats per image"
    assert TABLE.of("input_psnr_at_0.25").unit == "dB"


def test_each_panel_has_its_own_unit_and_an_unknown_one_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[str] = []
    keep = plots.curves.Sheet.text
    monkeypatch.setattr(
        plots.curves.Sheet,
        "text",
        lambda self, x, y, text, **how: (written.append(text), keep(self, x, y, text, **how))[1],
    )
    names = ["kl", "psnr", "blur_of_mine"]
    history = {f"val/{name}": [1.0, 2.0 + i] for i, name in enumerate(names)}
    plots.learning_curves(history, [1, 2], TABLE.units(names))
    after = {name: written[written.index(name.replace("_", " ")) + 1] for name in names}
    assert after["kl"] == "nats per image"
    assert after["psnr"] == "dB"
    assert after["blur_of_mine"].startswith("val "), "the legend follows at once"
    assert written.count("nats per image") == 1


def test_every_list_is_read_from_the_table_in_its_order() -> None:
    """No list that a reader shows is empty, and each names only rows."""
    order = list(TABLE.rows)
    for place in Place:
        shown = TABLE.shown(place)
        assert shown == sorted(shown, key=order.index)
        assert len(shown) > 1, place
    assert TABLE.shown(Place.RANKING) == ["elbo", "mse"]
    bounds = [name for name in TABLE.shown(Place.HEADLINE) if TABLE.of(name).bound]
    assert bounds == ["log_likelihood", "elbo", "loss"], "the tightest is the first"
    assert [row.name for row in TABLE.rows.values() if row.cost] == ["kl", "l0", "nonzero_weights"]
    assert {row.name for row in TABLE.rows.values() if row.nats} >= {"loss", "elbo", "kl"}


def test_no_source_keeps_a_list_of_quantities_beside_the_table() -> None:
    """Tuples of three names or more of the table, in any file but those that measure them."""
    source = Path(plots.__file__).parents[1]
    names = "|".join(name for name in TABLE.rows if "*" not in name)
    several = re.compile(rf"[(\[{{]\s*(?:\"(?:{names})\"[,:\s][^\"]*){{3,}}")
    kept = ("evaluation/metrics", "evaluation/evaluation.py", "objectives/")
    found = [
        file.relative_to(source).as_posix()
        for file in source.rglob("*.py")
        if several.search(file.read_text()) and not str(file.relative_to(source)).startswith(kept)
    ]
    assert found == []


BLUR = Quantity("blur", "pixels", "width of edges", section=Section.RECONSTRUCTION, better=-1)


def test_what_a_run_declares_is_known_to_its_readers(tmp_path: Path) -> None:
    assert declared(tmp_path) == Declared()
    Declared((BLUR,), {"edges": "Edges."}).write(tmp_path)
    Declared((Quantity("other"),)).write(tmp_path)
    assert declared(tmp_path).quantities == (BLUR, Quantity("other"))
    assert declared(tmp_path).captions == {"edges": "Edges."}
    table = quantities_of([tmp_path])
    assert table.of("blur") == BLUR
    assert table.of("elbo") == TABLE.of("elbo")
    assert TABLE.find("blur") is None


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"quantities": [{"name": 3}]}', '{"quantities": [{"name": "x", "better": 7}]}'],
)
def test_a_damaged_table_is_one_error_that_names_the_file(text: str, tmp_path: Path) -> None:
    (tmp_path / "quantities.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"quantities\.json"):
        declared(tmp_path)


def test_a_row_of_the_package_cannot_be_declared_again(tmp_path: Path) -> None:
    (tmp_path / "quantities.json").write_text(
        json.dumps({"quantities": [{"name": "elbo", "unit": "bananas", "better": -1}]})
    )
    assert quantities_of([tmp_path]).of("elbo") == TABLE.of("elbo")
    evaluation = Evaluation(metrics=["objective", f"{__name__}.redeclared"])
    with pytest.raises(ConfigError, match="redeclared declares 'mse'"):
        evaluation.prepare(trust=None)


redeclared = FunctionMetric(lambda view: {}, quantities=(Quantity("mse"),))


def test_a_function_is_a_metric_with_its_arguments_as_keys() -> None:
    entry = {"_target_": f"{__name__}.brightness", "times": 3.0}
    evaluation = Evaluation(metrics=["mse", entry, f"{__name__}.brightness"])
    evaluation.prepare(trust=[__name__])
    made = experiment()
    with evaluating(made.model):
        found = evaluation.measure(made.view(made.splits.test), [entry])
    assert found == {"brightness": pytest.approx(3 * float(made.splits.test.images.mean()))}
    with pytest.raises(ConfigError, match=r"trust=\[test_quantities\]"):
        Evaluation(metrics=[entry]).prepare()
    with pytest.raises(ConfigError, match=r"trust=\[test_quantities\]"):
        Evaluation(metrics=[entry]).measure(made.view(made.splits.test))


def brightness(view, times: float = 1.0):
    return {"brightness": times * float(view.split.images.mean())}
