"""`vae_run.sklearn.Autoencoder`: scikit-learn's own checks, and known answers."""

from __future__ import annotations

import pickle
import re
import tempfile
import warnings
from pathlib import Path
from typing import Any
from unittest import SkipTest

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

import vae_run as api
from vae_run.config.options import CONF
from vae_run.errors import ConfigError
from vae_run.sklearn import Autoencoder
from vae_run.sklearn.keys import OWN_LIKELIHOOD

EXPECTED = {
    "check_methods_subset_invariance": "float32: in batches of another size a score can differ in "
    "its last bit, 1e-7 of it, and the check demands 1e-7",
}
"""{check: why it may fail}."""


PAGE = Path(__file__).parents[2] / "docs" / "sklearn.md"


def tiny(**changes: Any) -> Autoencoder:
    """Trains in a fraction of a second."""
    given = {"latent_dim": 2, "epochs": 2, "keys": {"network.widths": [8]}, "device": "cpu"}
    return Autoencoder(**{**given, **changes})


@pytest.fixture(scope="module", name="X")
def rows() -> Any:
    """80 rows of 5 correlated numbers of different units."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(80, 3)) @ rng.normal(size=(3, 5)) * [1, 10, 1, 0.1, 5] + 100.0


@pytest.fixture(scope="module")
def fitted(X: Any) -> Autoencoder:
    return tiny().fit(X)


@pytest.mark.scale
def test_scikit_learns_own_checks() -> None:
    failed, count = dict[str, str](), 0
    for one, check in estimator_checks_generator(tiny(epochs=1)):
        name, count = getattr(check, "func", check).__name__, count + 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                check(one)
            except SkipTest:
                continue
            except Exception as error:
                failed[name] = f"{type(error).__name__}: {error}"
    assert count > 40
    assert set(failed) <= set(EXPECTED), failed
    for name in EXPECTED:
        assert name in PAGE.read_text(encoding="utf-8")


def test_pca_is_that_of_scikit_learn_up_to_sign(X: Any) -> None:
    own, theirs = Autoencoder("pca", latent_dim=3, device="cpu").fit(X), PCA(3).fit(X)
    codes, expected = own.transform(X), theirs.transform(X)
    signs = np.sign((codes * expected).sum(0))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(codes * signs, expected, atol=1e-4 * scale)
    back = theirs.inverse_transform(expected)
    np.testing.assert_allclose(own.inverse_transform(codes), back, rtol=1e-5)
    two, expected_two = Autoencoder("pca", latent_dim=2, device="cpu").fit(X), PCA(2).fit(X)
    error = np.square(expected_two.inverse_transform(expected_two.transform(X)) - X).mean(1)
    np.testing.assert_allclose(two.score_samples(X), -error, rtol=1e-3, atol=1e-3)
    assert two.get_feature_names_out().tolist() == ["autoencoder0", "autoencoder1"]


def test_a_pickle_needs_no_run(fitted: Autoencoder, X: Any, tmp_path: Path) -> None:
    assert api.sklearn.Autoencoder is Autoencoder
    assert fitted.run_path_ is None
    joblib.dump(fitted, tmp_path / "own.joblib")
    for again in (pickle.loads(pickle.dumps(fitted)), joblib.load(tmp_path / "own.joblib")):
        np.testing.assert_array_equal(again.transform(X), fitted.transform(X))
        np.testing.assert_array_equal(again.score_samples(X), fitted.score_samples(X))
        codes = fitted.transform(X)
        np.testing.assert_array_equal(
            again.inverse_transform(codes), fitted.inverse_transform(codes)
        )
        assert again.history_ == fitted.history_
    with pytest.raises(ValueError, match="5 features"):
        again.transform(X[:, :3])


def test_codes_and_scores_are_those_of_the_tasks(vae_run: Any, X: Any, tmp_path: Path) -> None:
    vae = tiny(directory=tmp_path / "runs").fit(X)
    ae = tiny(model="ae", directory=tmp_path / "runs").fit(X)
    np.savez("own.npz", images=X.astype(np.float32))
    tables = []
    for name, one in (("vae", vae), ("ae", ae)):
        words = (f"run={one.run_path_}", "input=own.npz", f"output={name}.npz")
        done = vae_run("task=score", "sheet=none", *words)
        assert done.code == 0, done.said
        tables.append(np.load(f"{name}.npz"))
    order = np.argsort(tables[1]["index"])
    np.testing.assert_allclose(-tables[1]["score"][order], ae.score_samples(X), rtol=1e-5)
    order = np.argsort(tables[0]["index"])
    theirs = -tables[0]["score"][order]
    assert theirs[0] == pytest.approx(vae.score_samples(X)[0], rel=1e-5)
    assert theirs.mean() == pytest.approx(vae.score(X), abs=0.5)
    done = vae_run("task=encode", f"run={vae.run_path_}", "input=own.npz", "output=codes.npz")
    assert done.code == 0, done.said
    np.testing.assert_allclose(np.load("codes.npz")["mean"], vae.transform(X), rtol=1e-5, atol=1e-6)


def test_a_score_does_not_depend_on_other_rows(fitted: Autoencoder, X: Any) -> None:
    whole = fitted.score_samples(X)
    np.testing.assert_allclose(fitted.score_samples(X[::-1])[::-1], whole, rtol=1e-5)
    np.testing.assert_allclose(fitted.score_samples(X[7:8]), whole[7:8], rtol=1e-5)
    far = fitted.score_samples(X + 50 * X.std(0))
    assert (far < whole).all(), "higher is more normal"


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 3), (4, 6, 1)])
@pytest.mark.parametrize("kind", ["uint8", "float64"])
def test_images_come_back_in_their_own_shape_and_range(shape: Any, kind: str) -> None:
    values = np.random.default_rng(0).integers(0, 256, (30, *shape), dtype=np.uint8)
    images = values if kind == "uint8" else values / 255
    one = tiny(model="ae", epochs=1).fit(images)
    codes = one.transform(images)
    back = one.inverse_transform(codes)
    assert (codes.shape, back.shape) == ((30, 2), images.shape)
    assert one.n_features_in_ == np.prod(shape)
    x = torch.from_numpy(values / 255).float()
    x = x[:, None] if len(shape) == 2 else x.permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = one.model_.reconstruct(x)
    expected = expected[:, 0] if len(shape) == 2 else expected.permute(0, 2, 3, 1)
    most = 255 if kind == "uint8" else 1
    np.testing.assert_allclose(back, expected.numpy() * most, rtol=1e-4)
    with pytest.raises(ValueError, match="was fitted to rows of"):
        one.transform(images / 1.0 if kind == "uint8" else values)
    if kind == "float64":
        with pytest.raises(ValueError, match=r"pixels in \[0, 1\]"):
            one.transform(images * 2)


def test_parameters_are_keys(X: Any) -> None:
    one = tiny(lr=0.5, batch_size=16, random_state=7, keys={"network.widths": [4], "seed": 9})
    config = one.fit(X).config_
    assert config["optimizer"]["lr"] == 0.5
    assert config["trainer"]["batch_size"] == 16
    assert config["trainer"]["epochs"] == 2
    assert (config["seed"], config["latent_dim"]) == (9, 2), "keys come last"
    assert config["dataset"]["scale"] == "standard"
    assert len(one.history_) == 2
    with pytest.raises(ConfigError, match=r"optimizer\.lr"):
        tiny(keys={"optimizer.lr": "fast"}).fit(X)
    with pytest.raises(ConfigError, match="metric: found elbo, but model=ae has none"):
        tiny(model="ae", metric="elbo").fit(X).score_samples(X)
    refused = {"condition": "label", "network.skip": True, "dataset.binarize": "static"}
    for key, value in refused.items():
        with pytest.raises(ConfigError, match=rf"^{key}: .*use vae_run\.fit"):
            tiny(keys={key: value}).fit(X)


def test_rows_outside_of_the_training_range_are_refused_by_a_likelihood_of_pixels() -> None:
    X = np.random.default_rng(0).beta(4, 1, size=(64, 6)) * 10
    m = tiny(scale="unit", likelihood="bernoulli").fit(X)
    assert np.isfinite(m.score_samples(X)).all()
    assert np.isfinite(m.score_samples(X * (1 + 1e-8))).all(), "rounding is no other range"
    for value in (40.0, -5.0):
        with pytest.raises(ValueError, match="outside of the training range, which scale='unit'"):
            m.score_samples(np.full((1, 6), value))
    with pytest.raises(ValueError, match=r"X has values in \[2, 2\], but the likelihood"):
        tiny(scale="none", likelihood="bernoulli").fit(X / 10).score_samples(np.full((1, 6), 2.0))


def test_the_white_of_the_run_is_that_of_every_method() -> None:
    X = load_digits().images[:60].astype(np.uint8)
    keys = {"dataset.white": 16, "network.widths": [8], "dataset.binarize": "none"}
    one = tiny(model="ae", keys=keys, metric="mse").fit(X)
    for m in (one, pickle.loads(pickle.dumps(one))):
        assert -m.score(X) == pytest.approx(m.metrics_["test"]["mse"], rel=1e-5)
        assert m.inverse_transform(m.transform(X)).max() <= 16
        with pytest.raises(ValueError, match="value 17, but that of fit had pixels from 0 to 16"):
            m.transform(X + np.uint8(1))


def test_rows_of_float64_are_scaled_before_they_are_rounded() -> None:
    rng = np.random.default_rng(0)
    X = 1.7e9 + 60 * rng.normal(size=(64, 1)) * [1.0, -1.0]
    one = tiny(model="ae", latent_dim=1, metric="mse").fit(X)
    codes = one.transform(X)
    assert len(np.unique(codes)) > 60, "float32 tells three values apart"
    assert -one.score(X) == pytest.approx(one.metrics_["test"]["mse"], rel=1e-5)
    assert np.abs(one.inverse_transform(codes.astype(np.float64)) - 1.7e9).max() < 600


def test_presets_with_a_likelihood_of_their_own() -> None:
    files = (CONF / "model").glob("*.yaml")
    own = {f.stem for f in files if re.search(r"/likelihood:", f.read_text(encoding="utf-8"))}
    assert set(OWN_LIKELIHOOD) == own


def test_the_random_state_decides(X: Any) -> None:
    codes = [tiny(random_state=state).fit_transform(X) for state in (1, 1, 2)]
    np.testing.assert_array_equal(codes[0], codes[1])
    assert np.abs(codes[0] - codes[2]).max() > 1e-3
    np.random.seed(0)
    drawn = tiny(random_state=None).fit(X).config_["seed"]
    np.random.seed(0)
    assert tiny(random_state=None).fit(X).config_["seed"] == drawn


@pytest.mark.scale
def test_in_a_pipeline_a_better_code_classifies_better() -> None:
    images, labels = load_digits(return_X_y=True)
    scores = {}
    for epochs in (1, 40):
        coder = Autoencoder("ae", latent_dim=8, epochs=epochs, lr=3e-3, device="cpu")
        pipe = make_pipeline(coder, StandardScaler(), LogisticRegression(max_iter=500))
        scores[epochs] = pipe.fit(images[:1200], labels[:1200]).score(images[1200:], labels[1200:])
    assert scores[40] > 0.85
    assert scores[40] > scores[1] + 0.05


@pytest.mark.scale
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_grid_search_finds_the_dimensions_of_the_data(n_jobs: int) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 3)) @ rng.normal(size=(3, 8))
    grid = {"latent_dim": [1, 3], "keys": [None, {"dataset.scale": "none"}]}
    search = GridSearchCV(
        Autoencoder("pca", metric="mse", device="cpu"), grid, cv=2, n_jobs=n_jobs,
        error_score="raise",
    ).fit(X)  # fmt: skip
    assert search.best_params_["latent_dim"] == 3
    assert search.best_score_ > -1e-6
    assert clone(search.best_estimator_).get_params()["latent_dim"] == 3


def test_data_frames_keep_their_names(X: Any) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcde"))
    one = tiny(epochs=1).set_output(transform="pandas").fit(frame)
    assert one.feature_names_in_.tolist() == list("abcde")
    assert list(one.transform(frame).columns) == ["autoencoder0", "autoencoder1"]


def test_nothing_is_said_and_runs_are_kept_where_they_should(
    X: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (scratch := tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kept = tiny(directory=tmp_path / "runs").fit(X)
        tiny(directory=tmp_path / "runs").fit(X).score(X)
        assert not hasattr(tiny(), "model_")
        assert tiny().fit(X).run_path_ is None
    assert capfd.readouterr() == ("", "")
    assert len(list((tmp_path / "runs").iterdir())) == 2
    run = api.Run(str(kept.run_path_))
    assert run.status == "completed"
    assert run.metrics == kept.metrics_
    assert sorted(p.name for p in tmp_path.iterdir()) == ["runs", "scratch"]
    assert not list(scratch.iterdir()), "a run without directory= is removed"


@pytest.mark.scale
@pytest.mark.filterwarnings("error")
def test_the_blocks_of_the_page_run() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert len(blocks) == 3
    scope: dict[str, Any] = {"__name__": "page"}
    exec(compile("\n".join(blocks), "sklearn.md", "exec"), scope)
    assert scope["codes"].shape == (297, 8)
    assert scope["again"].shape == (297, 64)
    assert scope["search"].best_params_["autoencoder__latent_dim"] == 16
