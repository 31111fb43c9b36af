"""Anomaly detection: areas known by counting, PCA's scores beside scikit-learn's, and the cut."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from parts import composed
from sklearn.decomposition import PCA
from sklearn.metrics import average_precision_score, roc_auc_score

from vae_run.config.check import check
from vae_run.corruptions import NoCorruption
from vae_run.data.datasets.arrays import Arrays
from vae_run.data.datasets.digits import Digits
from vae_run.data.datasets.mnist import MNIST
from vae_run.errors import ConfigError
from vae_run.evaluation.codes import evaluating
from vae_run.evaluation.metrics.anomaly import anomaly, scores, separation
from vae_run.evaluation.metrics.log_likelihood import log_likelihood
from vae_run.evaluation.metrics.objective import objective
from vae_run.evaluation.principal_components import components
from vae_run.training.experiment import assemble


def made(*words):
    """An untrained experiment on the ones and twos of the digits."""
    words = ("latent_dim=3", "network.widths=[8]", *words)
    return assemble(check(composed("dataset.classes=[1,2]", *words)), torch.device("cpu"))


def measured(metric, view):
    with evaluating(view.model):
        return metric(view)


def test_areas_of_scores_that_can_be_counted():
    found = separation(torch.tensor([1.0, 2, 3]), torch.tensor([2.5, 4]))
    assert found["auroc"] == pytest.approx(5 / 6)  # of 6 pairs, 5 are in order
    assert found["average_precision"] == pytest.approx((1 / 1 + 2 / 3) / 2)
    apart = separation(torch.tensor([1.0, 2]), torch.tensor([3.0, 4, 5]))
    assert apart == {"auroc": 1.0, "average_precision": 1.0}
    tied = separation(torch.zeros(30), torch.zeros(10))
    assert tied == {"auroc": 0.5, "average_precision": 0.25}
    swapped = separation(torch.tensor([3.0]), torch.tensor([1.0]))
    assert swapped == {"auroc": 0.0, "average_precision": 0.5}


def test_what_is_not_a_number_is_strange():
    broken = separation(torch.tensor([1.0, 2]).double(), torch.tensor([torch.nan, torch.inf]))
    assert broken["auroc"] == 1.0


def test_scores_of_which_none_is_a_number_have_no_areas():
    nothing = torch.full((3,), torch.nan)
    assert separation(nothing, nothing) == {}
    assert separation(torch.tensor([1.0, 2]), nothing) == {}
    assert separation(nothing, torch.tensor([1.0, 2])) == {}


def test_scores_are_those_of_their_names():
    one = made("likelihood=gaussian", "corruption=gaussian", "evaluation.importance_samples=1")
    view = one.view(one.splits.test)
    found = measured(scores, view)
    assert set(found) == {"mse", "elbo", "log_likelihood", "pca", "pca_32"}
    x = one.splits.test.pixels(slice(None))
    with evaluating(one.model):
        # The corruption of training is left away.
        error = (one.model.reconstruct(x) - x).square().flatten(1).mean(1)
    torch.testing.assert_close(found["mse"], error.double())
    clean = replace(view, corruption=NoCorruption())
    bounds = measured(objective, clean) | measured(log_likelihood, clean)
    for name in ("elbo", "log_likelihood"):
        assert found[name].mean().item() == pytest.approx(-bounds[name], rel=1e-6)
    for name, d in (("pca", 3), ("pca_32", 32)):
        fitted = PCA(d, svd_solver="full").fit(one.splits.train.pixels(slice(None)).flatten(1))
        flat = x.flatten(1).double().numpy()
        expected = np.square(fitted.inverse_transform(fitted.transform(flat)) - flat).mean(1)
        np.testing.assert_allclose(found[name].numpy(), expected, rtol=1e-5, atol=1e-7)


def test_all_other_classes_of_the_test_set_are_the_anomalies():
    one = made("model=ae")
    found = measured(anomaly, one.view(one.splits.test))
    known = {f"{s}_{f}" for s in ("mse", "pca", "pca_32") for f in ("auroc", "average_precision")}
    assert set(found) == known
    view = one.view(one.splits.test)
    normal = measured(scores, view)["mse"]
    strange = measured(scores, replace(view, split=one.splits.others))["mse"]
    truth = np.r_[np.zeros(len(normal)), np.ones(len(strange))]
    both = np.r_[normal.numpy(), strange.numpy()]
    assert found["mse_auroc"] == pytest.approx(roc_auc_score(truth, both))
    precision = average_precision_score(truth, both)
    assert found["mse_average_precision"] == pytest.approx(precision)
    assert 0.9 < found["pca_32_auroc"] < 1
    assert measured(anomaly, one.view(one.splits.train)) == {}
    for batch_size in (7, 256):
        again = measured(anomaly, replace(view, batch_size=batch_size))
        assert again == pytest.approx(found, rel=1e-6)


def test_without_classes_left_out_there_are_no_anomalies():
    with pytest.raises(ConfigError, match=r"evaluation\.metrics: anomaly: .*dataset\.classes"):
        check(composed("evaluation=anomaly"))
    with pytest.raises(ConfigError, match=r"condition=label"):
        check(composed("evaluation=anomaly", "dataset.classes=[0]", "condition=label"))
    one = assemble(check(composed("evaluation=fast")), torch.device("cpu"))
    assert one.splits.others is None
    assert measured(anomaly, one.view(one.splits.test)) == {}


# What the data leave out


def test_a_test_set_cut_from_train_leaves_out_as_large_a_share():
    splits = Digits(classes=[4], binarize="dynamic").load()
    whole = Digits().load()
    others = splits.others
    assert 4 not in others.labels
    assert set(others.labels.tolist()) == set(range(10)) - {4}
    left = sum(int((part.labels != 4).sum()) for part in (whole.train, whole.val, whole.test))
    assert len(others) == round(0.2 * left)
    assert not others.resample
    assert others.images.unique().tolist() == [0, 1]
    again = Digits(classes=[4], binarize="dynamic").load().others
    assert torch.equal(others.images, again.images)
    other_cut = Digits(classes=[4], split_seed=1).load().others
    assert not torch.equal(Digits(classes=[4]).load().others.images, other_cut.images)


def test_a_test_set_of_its_own_is_left_out_whole(tmp_path):
    pixels = np.arange(10, dtype=np.float32).repeat(2).reshape(10, 1, 1, 2) / 10
    labels = np.array([0, 1] * 5)
    arrays = {"train": pixels, "train_labels": labels, "test": pixels, "test_labels": labels}
    np.savez(tmp_path / "a.npz", **arrays)
    splits = Arrays(path=str(tmp_path / "a.npz"), classes=[0], val_size=0).load()
    assert splits.others.labels.tolist() == [1] * 5
    np.testing.assert_array_equal(splits.others.images.numpy(), pixels[1::2])
    everything = Arrays(path=str(tmp_path / "a.npz"), classes=[0, 1], val_size=0).load()
    assert everything.others is None


def test_a_trained_run_is_asked_for_its_anomalies_afterwards(train, vae_run, tmp_path):
    run = train(tmp_path / "run", "model=ae", "dataset.classes=[0]", "latent_dim=3")
    asked = vae_run("task=evaluate", f"run={run}", "evaluation=anomaly")
    assert asked.code == 0, asked.said
    figures = json.loads((run / "metrics.json").read_text())
    assert {"mse_auroc", "pca_auroc", "pca_32_auroc", "mse"} <= figures["test"].keys()
    assert "mse_auroc" in figures["val"]
    run = train(tmp_path / "all", "model=ae")
    refused = vae_run("task=evaluate", f"run={run}", "evaluation=anomaly")
    assert refused.code == 1
    assert "dataset.classes" in refused.said


def areas_of_pca(root, digits):
    """AUROC of PCA-32 in percent, of each of the classes `digits`."""
    areas = []
    for digit in digits:
        splits = MNIST(root=root, download=False, val_size=0, classes=[digit]).load()
        assert len(splits.test) + len(splits.others) == 10_000
        found = components(splits.train, 32)
        errors = []
        for split in (splits.test, splits.others):
            x = split.pixels(slice(None))
            errors.append((found.reconstruct(x) - x).square().flatten(1).mean(1))
        areas.append(100 * separation(*errors)["auroc"])
    return areas


def test_pca_on_a_class_of_mnist(mnist_root):
    """As computed independently of this program: PCA-32 of all training images of one digit."""
    assert areas_of_pca(mnist_root, [1, 8]) == pytest.approx([99.9, 84.9], abs=0.051)


@pytest.mark.scale
def test_pca_on_each_class_of_mnist(mnist_root):
    areas = areas_of_pca(mnist_root, range(10))
    assert areas[4] == pytest.approx(94.3, abs=0.051)
    assert sum(areas) / 10 == pytest.approx(95.5, abs=0.051)


def test_val_has_anomalies_of_its_own_which_no_other_set_has():
    pixels = Digits().load()
    splits = Digits(classes=[4]).load()
    sets = (splits.train, splits.val, splits.test, splits.val_others, splits.others)
    places = [set(part.index.tolist()) for part in sets]
    assert sum(map(len, places)) == len(set.union(*places))
    assert set(splits.val_others.labels.tolist()) == set(range(10)) - {4}
    left = sum(int((p.labels != 4).sum()) for p in (pixels.train, pixels.val, pixels.test))
    assert len(splits.val_others) == round(0.1 * (left - len(splits.others)))
    assert Digits(classes=[4], val_size=0).load().val_others is None
    grown = Digits(classes=[4], binarize="static").load().val_others
    assert grown.images.unique().tolist() == [0, 1]


def test_a_run_can_be_chosen_on_val_by_its_anomalies():
    words = ("evaluation=anomaly", "dataset.classes=[0]", "model=pca", "latent_dim=8")
    one = assemble(check(composed(*words)), torch.device("cpu"))
    view = one.view(one.splits.val)
    assert view.others is one.splits.val_others
    assert 0.5 < measured(anomaly, view)["pca_auroc"] <= 1.0
    assert one.view(one.splits.train).others is None


def test_anomalies_that_a_likelihood_gives_no_probability_are_refused(vae_run, tmp_path):
    """A Bernoulli "log p" of a pixel of 3 rises with the code's confidence: its AUROC was 0."""
    rng = np.random.default_rng(0)
    images = rng.random((60, 4, 4), dtype=np.float32)
    labels = np.arange(60) % 2
    images[labels == 1] += 3
    np.savez(tmp_path / "own.npz", train=images, train_labels=labels)
    words = ("dataset=arrays", f"dataset.path={tmp_path / 'own.npz'}", "dataset.classes=[0]",
             "network.widths=[8]", "trainer.epochs=1", "device=cpu")  # fmt: skip
    refused = vae_run(*words, "evaluation=anomaly", f"hydra.run.dir={tmp_path / 'a'}")
    assert refused.code == 3
    assert "values" in refused.said
    assert "models pixels in [0, 1]" in refused.said
    binary = (*words, "dataset.binarize=static")
    refused = vae_run(*binary, f"hydra.run.dir={tmp_path / 'b'}")
    assert refused.code == 3
    assert "others has values from 3" in refused.said
    trained = vae_run(*words, "evaluation.figures=[]", f"hydra.run.dir={tmp_path / 'c'}")
    assert trained.code == 0, "nothing is measured of them"
    later = vae_run("task=evaluate", f"run={tmp_path / 'c'}", "evaluation=anomaly")
    assert later.code == 3
    assert "models pixels in [0, 1]" in later.said
    words = (*words, "evaluation=anomaly", "evaluation.figures=[]", "likelihood=gaussian")
    measured = vae_run(*words, f"hydra.run.dir={tmp_path / 'd'}")
    assert measured.code == 0, measured.said
    found = json.loads((tmp_path / "d" / "metrics.json").read_text())["test"]
    assert found["mse_auroc"] == found["elbo_auroc"] == 1
