"""docs/coming_from.md: the losses of other libraries on our weights, by the rows of its tables.

Each peer is run as its users run it, with our encoder and decoder as its networks. The extra
`bench` installs them; without it, those tests are skipped.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from parts import composed
from torch import Tensor
from torch.nn import functional as F

from vae_run.config.check import check
from vae_run.models.build import build_model
from vae_run.models.distributions.kl import kl
from vae_run.models.latent_variable_model import LatentVariableModel

PIXELS = 784
LATENT = 5


def model_with(*words: str) -> LatentVariableModel:
    """A small model of MNIST's shape, its weights random but large enough to matter."""
    torch.manual_seed(0)
    made = build_model(
        check(composed(f"latent_dim={LATENT}", "network.widths=[32]", *words)), (1, 28, 28)
    )
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(0.05 * torch.randn(weight.shape))
    return made.eval()


@pytest.fixture(autouse=True)
def _without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand((6, 1, 28, 28), generator=torch.Generator().manual_seed(1))


def ours(model: LatentVariableModel, x: Tensor, z: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """-log p(x|z) and KL, each [B], in nats an image; z is the mean of q unless it is given."""
    q = model.encode(x)
    z = q.mean if z is None else z
    return -model.decode(z).log_prob(x), kl(q, model.latent_prior(), z)


def pythae_model(kind: str, model: LatentVariableModel, **options: Any) -> Any:
    """pythae's model of this kind, whose encoder and decoder are those of `model`."""
    models = pytest.importorskip("pythae.models")
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    class Encoder(BaseEncoder):  # type: ignore[misc]
        def forward(self, x: Tensor) -> Any:
            q = model.encode(x.reshape(-1, 1, 28, 28))
            mean = q.mean
            if kind == "AE" or "WAE" in kind or "RAE" in kind:
                return ModelOutput(embedding=mean)
            return ModelOutput(embedding=mean, log_covariance=q.stddev.log() * 2)

    class Decoder(BaseDecoder):  # type: ignore[misc]
        def forward(self, z: Tensor) -> Any:
            return ModelOutput(reconstruction=model.decode(z).mean)

    name = {"WAE_MMD": "WAE_MMD_Config"}.get(kind, f"{kind}Config")
    config = getattr(models, name)(input_dim=(1, 28, 28), latent_dim=LATENT, **options)
    return getattr(models, kind)(config, encoder=Encoder(), decoder=Decoder()).eval()


def data(x: Tensor) -> Any:
    from pythae.data.datasets import BaseDataset

    return BaseDataset(x, torch.zeros(len(x)))[:]


@pytest.mark.parametrize(("kind", "beta"), [("VAE", 1.0), ("BetaVAE", 4.0)])
@pytest.mark.parametrize(
    ("loss", "likelihood", "constant"),
    [
        (
            "mse",
            ("likelihood=gaussian", "likelihood.sigma=1.0"),
            PIXELS / 2 * math.log(2 * math.pi),
        ),
        ("bce", ("likelihood=bernoulli",), 0.0),
    ],
)
def test_pythae_vae(
    kind: str, beta: float, loss: str, likelihood: tuple[str, ...], constant: float, images: Tensor
) -> None:
    model = model_with(*likelihood)
    options = {} if kind == "VAE" else {"beta": beta}
    theirs = pythae_model(kind, model, reconstruction_loss=loss, **options)
    found = theirs(data(images))
    reconstruction, divergence = ours(model, images, found.z)
    assert float(found.recon_loss) + constant == pytest.approx(
        float(reconstruction.mean()), rel=1e-5
    )
    assert float(found.reg_loss) == pytest.approx(float(divergence.mean()), rel=1e-5)
    total = (reconstruction + beta * divergence).mean()
    assert float(found.loss) + constant == pytest.approx(float(total), rel=1e-5)


def test_pythae_ae(images: Tensor) -> None:
    model = model_with("model=ae", "likelihood=mse")
    found = pythae_model("AE", model)(data(images))
    reconstruction = -model.decode(model.encode(images).mean).log_prob(images)
    constant = PIXELS / 2 * math.log(math.pi)
    assert float(found.loss) + constant == pytest.approx(float(reconstruction.mean()), rel=1e-5)


def test_pythae_nll_takes_whole_passes(images: Tensor) -> None:
    """250 samples in passes of 100 are 200, and one sample is 100; it returns log p, not -log p."""
    model = model_with("likelihood=gaussian", "likelihood.sigma=1.0")
    theirs = pythae_model("VAE", model, reconstruction_loss="mse")
    drawn: list[int] = []
    theirs.decoder.register_forward_pre_hook(lambda module, inputs: drawn.append(len(inputs[0])))
    value = theirs.get_nll(images[:1], n_samples=250, batch_size=100)
    assert drawn == [100, 100]
    drawn.clear()
    theirs.get_nll(images[:1], n_samples=1, batch_size=100)
    assert drawn == [100]
    reconstruction, divergence = ours(model, images[:1])
    assert value < 0
    assert value == pytest.approx(-float(reconstruction + divergence), rel=0.02)


def test_pythae_mmd_of_one_image_is_nan(images: Tensor) -> None:
    model = model_with("model=wae", "likelihood=mse")
    theirs = pythae_model("WAE_MMD", model)
    assert math.isnan(float(theirs(data(images[:1])).loss))
    assert math.isfinite(float(theirs(data(images)).loss))


def test_pythae_shuffles_when_it_evaluates() -> None:
    pytest.importorskip("pythae")
    from pythae.data.datasets import BaseDataset
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    model = pythae_model("AE", model_with("model=ae", "likelihood=mse"))
    rows = BaseDataset(torch.rand(50, 1, 28, 28), torch.arange(50))
    config = BaseTrainerConfig(output_dir=None, per_device_eval_batch_size=50, no_cuda=True)
    trainer = BaseTrainer(model, rows, rows, training_config=config)
    (batch,) = list(trainer.eval_loader)
    assert batch["labels"].tolist() != list(range(50))


def test_a_loss_with_a_mean_over_pixels(images: Tensor) -> None:
    """PyTorch-VAE's: mean((x - y)^2) + kld_weight KL, of images in [-1, 1] (its vanilla_vae.py)."""
    model, weight = model_with("likelihood=mse"), 0.01
    output = model.decode(model.encode(images).mean).mean
    reconstruction, divergence = ours(model, images)
    theirs = F.mse_loss(2 * output - 1, 2 * images - 1) + weight * divergence.mean()
    square = reconstruction - PIXELS / 2 * math.log(math.pi)
    beta = weight * PIXELS / 4
    expected = 4 / PIXELS * (square + beta * divergence).mean()
    assert float(theirs) == pytest.approx(float(expected), rel=1e-5)


def test_autoencoders_free_bits_and_weight(images: Tensor) -> None:
    """`autoencoders`: a mean over pixels, and .02 nats of KL a dimension at least."""
    peer = pytest.importorskip("autoencoders")
    theirs = peer.VariationalAutoencoderModel(
        config=peer.VariationalAutoencoderConfig(latent_dim=16),
        sample_spec=importlib.import_module("autoencoders.data.base").TensorSpec((PIXELS,)),
    )
    collapsed = torch.zeros(6, 16)
    assert float(theirs.compute_kl_loss(collapsed, collapsed)) == 0
    assert float(theirs.compute_free_bits_kl_loss(collapsed, collapsed)) == pytest.approx(0.32)

    model = model_with("likelihood=gaussian", "likelihood.sigma=1.0")
    q = model.encode(images)
    reconstruction, divergence = ours(model, images)
    loss = theirs.compute_loss(model.decode(q.mean).mean.flatten(1), images.flatten(1))
    found = theirs.compute_total_loss(loss, divergence.mean())
    half_square = reconstruction - PIXELS / 2 * math.log(2 * math.pi)
    expected = (half_square + PIXELS / 2 * divergence).mean() / (PIXELS / 2)
    assert float(found) == pytest.approx(float(expected), rel=1e-5)
