"""Reconstruction metrics against sums made by hand, SciPy's filters and scikit-learn's PCA."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from parts import composed, experiment, grey
from scipy.ndimage import gaussian_filter
from sklearn.decomposition import PCA

from vae_run.config.check import check
from vae_run.corruptions import GaussianNoise, NoCorruption
from vae_run.data.splits import Split
from vae_run.evaluation import principal_components
from vae_run.evaluation.codes import evaluating
from vae_run.evaluation.metrics.mse import mse
from vae_run.evaluation.metrics.pca import pca
from vae_run.evaluation.metrics.reconstruction import each_image, reconstruction, similarity
from vae_run.evaluation.principal_components import components, spectrum
from vae_run.training.experiment import assemble

BIG = (2, 14, 12)


def measured(metric, view):
    with evaluating(view.model):
        return metric(view)


# PSNR, MAE and SSIM


def test_errors_of_known_images():
    clean = torch.full((2, *BIG), 0.5)
    x = torch.stack([clean[0] + 0.1, clean[1] - 0.01])
    found = each_image(x, clean, unit=True)
    torch.testing.assert_close(found["mse"], torch.tensor([1e-2, 1e-4]).double(), rtol=1e-5, atol=0)
    torch.testing.assert_close(found["mae"], torch.tensor([0.1, 0.01]).double(), rtol=1e-5, atol=0)
    torch.testing.assert_close(found["psnr"], torch.tensor([20.0, 40]).double(), rtol=1e-5, atol=0)
    assert set(each_image(x, clean, unit=False)) == {"mse", "mae"}
    # Where neither image varies, only the luminance is left.
    a, b, c1 = 0.6, 0.5, 0.01**2
    expected = (2 * a * b + c1) / (a**2 + b**2 + c1)
    assert found["ssim"][0].item() == pytest.approx(expected, rel=1e-4)


def test_psnr_clips_what_no_screen_can_show_and_mae_does_not():
    clean, x = torch.ones(1, 1, 4, 4), torch.full((1, 1, 4, 4), 1.5)
    found = each_image(x, clean, unit=True)
    assert found["mae"].item() == pytest.approx(0.5)
    assert found["psnr"].item() == pytest.approx(20 * np.log10(255 * np.sqrt(12)), rel=1e-6)
    assert "ssim" not in found, "its window does not fit"
    assert "ssim" not in each_image(x.flatten(1), clean.flatten(1), unit=True)


def test_ssim_is_that_of_the_paper():
    """Written with SciPy's Gaussian filter, whose window of 3.5 sigma is 11 pixels too."""
    x, y = grey(3, BIG, 1).images, grey(3, BIG, 2).images
    y = 0.7 * x + 0.3 * y

    def mean(image):
        filtered = gaussian_filter(image, 1.5, truncate=3.5, axes=(2, 3))
        return filtered[..., 5:-5, 5:-5]

    a, b = x.double().numpy(), y.double().numpy()
    mu_a, mu_b = mean(a), mean(b)
    s_a, s_b, s_ab = mean(a * a) - mu_a**2, mean(b * b) - mu_b**2, mean(a * b) - mu_a * mu_b
    c1, c2 = 1e-4, 9e-4
    top = (2 * mu_a * mu_b + c1) * (2 * s_ab + c2)
    expected = (top / (mu_a**2 + mu_b**2 + c1) / (s_a + s_b + c2)).mean((1, 2, 3))
    assert 0.5 < expected.mean() < 0.99
    np.testing.assert_allclose(similarity(x, y).numpy(), expected, rtol=1e-4)
    torch.testing.assert_close(similarity(x, x), torch.ones(3))
    assert (similarity(x, 1 - x) < 0).all()


def test_restoration_is_judged_beside_its_input_and_beside_clean_images():
    made = experiment("model=dae", "corruption.level=0.2", "likelihood=mse", shape=BIG)
    view = made.view(grey(200, BIG))
    found = measured(reconstruction, view)
    clean = measured(reconstruction, replace(view, corruption=NoCorruption()))
    assert set(clean) == {"mae", "psnr", "ssim"}
    for name, value in clean.items():
        assert found[f"clean_{name}"] == pytest.approx(value, rel=1e-9)
        assert found[name] != found[f"clean_{name}"]
    assert found["clean_mse"] == pytest.approx(
        measured(mse, replace(view, corruption=NoCorruption()))["mse"], rel=1e-9
    )
    assert found["input_mse"] == pytest.approx(0.2**2, rel=0.01)
    assert found["input_mae"] == pytest.approx(0.2 * np.sqrt(2 / np.pi), rel=0.01)
    assert set(found) == {p + n for p in ("input_", "clean_") for n in ("mse", *clean)} | {*clean}


def test_data_beyond_the_unit_interval_have_no_decibels():
    made = experiment("model=ae", "likelihood=mse", shape=BIG)
    split = grey(50, BIG)
    wide = replace(split, images=2 * split.images)
    assert set(measured(reconstruction, made.view(wide))) == {"mae"}


# PCA


@pytest.fixture(scope="module")
def digits():
    """A PCA of the digits with 5 dimensions, untrained."""
    return assemble(check(composed("model=pca", "latent_dim=5")), torch.device("cpu"))


def test_the_error_of_pca_is_scikit_learns(digits):
    fitted = PCA(5, svd_solver="full").fit(digits.splits.train.pixels(slice(None)).flatten(1))
    for split in (digits.splits.val, digits.splits.test):
        x = split.pixels(slice(None)).flatten(1).double().numpy()
        expected = np.square(fitted.inverse_transform(fitted.transform(x)) - x).mean()
        assert measured(pca, digits.view(split)) == {"pca_mse": pytest.approx(expected, rel=1e-6)}


def test_pca_denoises_what_it_is_given(digits):
    noisy = replace(digits.view(digits.splits.test), corruption=GaussianNoise(level=0.4))
    found, clean = measured(pca, noisy), measured(pca, digits.view(digits.splits.test))
    # Of the noise 5 directions of 64 pass.
    assert found["pca_mse"] == pytest.approx(clean["pca_mse"] + 0.4**2 * 5 / 64, rel=0.03)


def test_pca_needs_a_train_split_and_has_no_more_components_than_pixels(digits):
    view = digits.view(digits.splits.test)
    assert measured(pca, replace(view, train=None)) == {}
    assert measured(pca, replace(view, latent_dim=100))["pca_mse"] < 1e-12


def test_components_are_found_once_for_a_split(digits, monkeypatch):
    train = digits.splits.train
    ten = components(train, 10)
    monkeypatch.setattr(principal_components, "spectrum", None)
    assert torch.equal(components(train, 4).basis, ten.basis[:, :4])
    with pytest.raises(TypeError, match="not callable"):
        components(replace(train), 4)


def test_components_of_large_images_are_searched_for(digits, monkeypatch):
    train = digits.splits.train
    x = train.pixels(slice(None))
    exact = {d: components(train, d) for d in (1, 3, 10)}
    monkeypatch.setattr(principal_components, "MOST_PIXELS", 10)
    for d, best in exact.items():
        found = components(replace(train), d)
        least = (best.reconstruct(x) - x).square().mean().item()
        assert (found.reconstruct(x) - x).square().mean().item() == pytest.approx(least, rel=1e-3)
        torch.testing.assert_close(found.basis.T @ found.basis, torch.eye(d).double())
        assert torch.equal(found.basis, components(replace(train), d).basis)


def test_drawn_pixels_have_the_covariance_of_the_draws(monkeypatch):
    """Cov(x) = E[x x^T] - E[x] E[x]^T over images and draws; of a binary pixel E[x^2] = p."""
    split = replace(grey(40, (1, 1, 3)), resample=True)
    p = split.images.flatten(1).double()
    second = p.T @ p / len(p)
    second.fill_diagonal_(0)
    covariance = second + p.mean(0).diag() - torch.outer(p.mean(0), p.mean(0))
    expected = torch.linalg.eigvalsh(covariance).flip(0)
    torch.testing.assert_close(spectrum(split).values, expected)
    monkeypatch.setattr(principal_components, "MOST_PIXELS", 2)
    basis = components(split, 1).basis
    assert (basis.T @ covariance @ basis).item() == pytest.approx(expected[0].item(), rel=1e-5)


def test_the_batch_size_does_not_change_a_figure():
    made = experiment("model=dae", "likelihood=mse", shape=BIG)
    view = made.view(grey(300, BIG))
    whole = measured(reconstruction, replace(view, batch_size=300)) | measured(pca, view)
    for batch_size in (7, 256, 1000):
        cut = replace(view, batch_size=batch_size)
        found = measured(reconstruction, cut) | measured(pca, cut)
        assert found == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize(
    ("d", "expected"), [(2, 0.05567), (10, 0.03407), (32, 0.01683), (128, 0.00421)]
)
def test_the_error_of_pca_on_mnist(d, expected, mnist):
    """As computed independently of this program, on 60,000 training images."""
    x = mnist.test.pixels(slice(None))
    found = (components(mnist.train, 128).first(d).reconstruct(x) - x).square().mean().item()
    assert found == pytest.approx(expected, abs=5.1e-6)


def test_a_split_of_floats_beyond_the_unit_interval_is_told():
    from vae_run.evaluation.metrics.reconstruction import in_unit_interval

    assert in_unit_interval(grey(5))
    assert in_unit_interval(Split(torch.tensor([[0, 255]], dtype=torch.uint8), scale=255.0))
    assert not in_unit_interval(Split(torch.tensor([[-0.1, 0.5]])))
