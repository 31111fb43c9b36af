"""Perceptual distances: MS-SSIM's values, LPIPS's formula and weights, and what is refused."""

from __future__ import annotations

import pytest
import torch
from parts import experiment

from vae_run.data.batches import evaluation_batches
from vae_run.errors import ConfigError, DataError
from vae_run.models.similarity import EXPONENTS, least_side, multiscale_similarity, similarity
from vae_run.objectives import perceptual
from vae_run.objectives.perceptual import LPIPS, check_images, lpips


def images(side, channels=3, n=2):
    torch.manual_seed(0)
    coarse = torch.rand(n, channels, 6, 6)
    return torch.nn.functional.interpolate(coarse, side, mode="bilinear").clamp(0, 1)


def test_the_least_side_is_where_the_window_fits_at_the_coarsest_scale():
    assert [least_side(scales) for scales in range(1, 6)] == [11, 21, 41, 81, 161]
    x = images(161)
    assert multiscale_similarity(x, x).tolist() == pytest.approx([1.0, 1.0])
    with pytest.raises(RuntimeError):
        multiscale_similarity(images(160), images(160))


def test_one_scale_is_ssim():
    x = images(30)
    y = (x + 0.1 * torch.randn_like(x)).clamp(0, 1)
    torch.testing.assert_close(multiscale_similarity(x, y, 1), similarity(x, y))


def test_two_scales_are_weighed_by_their_exponents():
    """Images that differ by their brightness alone: structure is 1, luminance counts once."""
    x = torch.full((1, 1, 24, 24), 0.5).double()
    y = torch.full((1, 1, 24, 24), 0.3).double()
    luminance = (2 * 0.15 + 1e-4) / (0.25 + 0.09 + 1e-4)
    first, second = EXPONENTS[:2]
    expected = luminance ** (second / (first + second))
    assert float(multiscale_similarity(x, y, 2)) == pytest.approx(expected, rel=1e-5)


def test_the_distance_is_in_nats_per_image():
    """perceptual_weight times the number of values times 1 - MS-SSIM, added to the loss."""
    words = ("objective.perceptual=msssim", "objective.perceptual_scales=1")
    weight = "objective.perceptual_weight=0.5"
    made = experiment("model=kl_autoencoder", *words, weight, shape=(1, 12, 13))
    noise = (1, made.settings.fixed.latent_dim)
    batch = next(evaluation_batches(made.splits.val, made.corruption, batch_size=9, noise=noise))
    terms = made.objective(made.model, batch, 0.0)
    z = made.model.posterior.sample(made.model.encode(batch.input), batch.noise[0])
    distance = 1 - similarity(made.model.decode(z).mean, batch.target)
    torch.testing.assert_close(terms["perceptual"], 0.5 * 12 * 13 * distance)
    total = terms["reconstruction"] + 1e-6 * terms["kl"] + terms["perceptual"]
    torch.testing.assert_close(terms["loss"], total)
    slopes = torch.autograd.grad(terms["perceptual"].mean(), made.model.encoder.parameters())
    assert all(slope.isfinite().all() for slope in slopes)


@pytest.mark.parametrize(
    ("kind", "shape", "said"),
    [
        ("msssim", (3, 160, 200), "is 160 pixels, and 5 scales need at least 161"),
        ("msssim", (1, 28, 28), "Use objective.perceptual_scales=2 or"),
        (
            "msssim",
            (1, 8, 8),
            "8 pixels, and 5 scales need at least 161. Use objective.perceptual=none",
        ),
        ("msssim", (7,), "vectors of shape"),
        ("lpips", (3, 8, 8), "at least 16 pixels"),
        ("lpips", (4, 32, 32), "images of 4 channels"),
    ],
)
def test_images_that_a_distance_cannot_compare_are_refused_by_name(kind, shape, said):
    with pytest.raises(ConfigError) as refused:
        check_images(kind, shape, 5)
    assert str(refused.value).startswith(f"objective.perceptual={kind}:")
    assert said in str(refused.value)


def test_the_refusal_comes_before_the_first_step():
    with pytest.raises(ConfigError, match="need at least 161"):
        experiment("model=kl_autoencoder", "objective.perceptual=msssim", shape=(1, 12, 12))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of random weights, by the names of the authors' package."""
    torch.manual_seed(0)
    state = LPIPS().state_dict()
    for name in state:
        if name.startswith("lin"):
            state[name] = state[name].abs()
    path = tmp_path_factory.mktemp("lpips") / "vgg.pt"
    torch.save(state, path)
    return path


def test_the_weights_have_the_names_of_the_authors_package():
    names = list(LPIPS().state_dict())
    assert names[0] == "net.slice1.0.weight"
    assert {"net.slice2.5.weight", "net.slice3.14.bias", "net.slice5.28.weight"} <= set(names)
    assert [n for n in names if n.startswith("lin")] == [f"lin{i}.model.1.weight" for i in range(5)]


def test_lpips_is_the_weighed_distance_of_unit_features(weights):
    network = lpips(str(weights), torch.device("cpu"))
    x = images(20)
    y = (x + 0.2 * torch.randn_like(x)).clamp(0, 1)
    found = network(x, y)
    assert found.shape == (2,)
    assert found.min() > 0
    assert network(x, x).tolist() == [0.0, 0.0]
    expected = torch.zeros(2)
    shift, scale = torch.tensor(perceptual.SHIFT), torch.tensor(perceptual.SCALE)
    a, b = (((2 * i - 1) - shift.view(3, 1, 1)) / scale.view(3, 1, 1) for i in (x, y))
    for part, number in zip(network.net.values(), range(5), strict=True):
        a, b = part(a), part(b)
        units = [features / features.norm(dim=1, keepdim=True) for features in (a, b)]
        head = network.get_submodule(f"lin{number}.model.1").weight[0, :, 0, 0]
        for i in range(2):
            squared = (units[0][i] - units[1][i]).square()
            expected[i] += sum(
                float(head @ squared[:, r, c])
                for r in range(squared.shape[1])
                for c in range(squared.shape[2])
            ) / (squared.shape[1] * squared.shape[2])
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)
    grey = x[:, :1]
    torch.testing.assert_close(
        network(grey, y[:, :1]), network(grey.expand(-1, 3, -1, -1), y[:, :1].expand(-1, 3, -1, -1))
    )


def test_lpips_is_trained_with_and_stays_out_of_the_checkpoint(weights):
    words = ("objective.perceptual=lpips", f"objective.perceptual_weights={weights}")
    made = experiment("model=kl_autoencoder", *words, "network.widths=[4]", n=8, shape=(1, 16, 16))
    noise = (1, made.settings.fixed.latent_dim)
    batch = next(evaluation_batches(made.splits.val, made.corruption, batch_size=2, noise=noise))
    terms = made.objective(made.model, batch, 0.0)
    slopes = torch.autograd.grad(terms["perceptual"].mean(), made.model.decoder.parameters())
    assert any(slope.any() for slope in slopes)
    assert not any("slice" in name for name in made.model.state_dict())


def test_a_file_that_holds_no_such_weights_is_refused(tmp_path):
    torch.save({"net.slice1.0.weight": torch.zeros(3)}, tmp_path / "other.pt")
    cpu = torch.device("cpu")
    with pytest.raises(DataError, match="does not hold the weights of LPIPS"):
        lpips(str(tmp_path / "other.pt"), cpu)
    with pytest.raises(DataError, match=r"objective\.perceptual_weights: .*cannot be read"):
        lpips(str(tmp_path / "missing.pt"), cpu)


def test_without_package_or_network_there_is_one_message(monkeypatch):
    monkeypatch.setattr(perceptual, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="torchmetrics, which is not installed") as refused:
        lpips.__wrapped__(None, torch.device("cpu"))
    assert "objective.perceptual_weights=FILE" in str(refused.value)
