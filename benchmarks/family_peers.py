"""Families of models in other programs: `families.py` compares vae-run with them.

    python benchmarks/family_peers.py vq_vae|factor_vae|topk|fsq ROOT EPOCHS SEED

prints one line of JSON: the training images per second of processor time, and the squared error of
a pixel of the reconstructions of the 10,000 test images. Each is the other package's own model in
its own trainer, on the same 54,000 MNIST images, with layers of the sizes of vae-run's, Adam at
1e-3 and batches of 128. pythae is 0.1.2, and `autoencoders` 0.6.8.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from plain_recipe import images
from torch import Tensor, nn

Result = tuple[float, float]
"""Training images per second of processor time; squared error of a pixel on test."""

BATCH = 128
WIDTHS = (512, 256)
POSITIONS, SIZE = 16, 3
"""Of a quantised code: 16 vectors of 3 numbers."""
LATENT, GAMMA = 16, 10.0
UNITS, ACTIVE = 256, 16


def layers(*sizes: int, activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers of these sizes, with activations between them."""
    parts: list[nn.Module] = []
    for before, after in pairwise(sizes):
        parts += [nn.Linear(before, after), activation()]
    return nn.Sequential(*parts[:-1])


@torch.no_grad()
def error(reconstruct: Callable[[Tensor], Tensor], test: Tensor) -> float:
    """The mean squared error of a pixel over the test images [N, 784]."""
    parts = [(reconstruct(x) - x).square().sum() for x in test.split(1000)]
    return float(sum(parts)) / test.numel()


def in_pythae(model: Any, train: Tensor, epochs: int, adversarial: bool) -> float:
    """Train with pythae's trainer; images per second of processor time."""
    from pythae import trainers
    from pythae.data.datasets import BaseDataset
    from pythae.trainers.training_callbacks import TrainingCallback

    logging.disable(logging.INFO)

    class Clock(TrainingCallback):
        began = ended = 0.0

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.process_time()

        def on_epoch_end(self, *_: Any, **__: Any) -> None:
            self.ended = time.process_time()

    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        how = {"output_dir": folder, "num_epochs": epochs, "no_cuda": True}
        how["seed"] = torch.initial_seed()
        how["per_device_train_batch_size"] = BATCH
        if adversarial:
            rates = {"autoencoder_learning_rate": 1e-3, "discriminator_learning_rate": 1e-3}
            config = trainers.AdversarialTrainerConfig(**how, **rates)
            kind = trainers.AdversarialTrainer
        else:
            config = trainers.BaseTrainerConfig(**how, learning_rate=1e-3)
            kind = trainers.BaseTrainer
        data = BaseDataset(train.view(-1, 1, 28, 28), torch.zeros(len(train)))
        kind(model, data, training_config=config, callbacks=[clock]).train()
    return epochs * len(train) / (clock.ended - clock.began)


def vq_vae(train: Tensor, test: Tensor, epochs: int) -> Result:
    """pythae's VQVAE with moving averages, 512 codewords for 16 vectors of 3 numbers."""
    from pythae.models import VQVAE, VQVAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = layers(784, *WIDTHS, POSITIONS * SIZE)

        def forward(self, x: Tensor) -> ModelOutput:
            z = self.layers(x.flatten(1)).view(-1, POSITIONS, SIZE)
            return ModelOutput(embedding=z.transpose(1, 2)[..., None])

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = layers(POSITIONS * SIZE, *WIDTHS[::-1], 784)

        def forward(self, z: Tensor) -> ModelOutput:
            pixels = self.layers(z[..., 0].transpose(1, 2).flatten(1))
            return ModelOutput(reconstruction=pixels.unflatten(-1, (1, 28, 28)))

    config = VQVAEConfig(input_dim=(1, 28, 28), latent_dim=SIZE, num_embeddings=512, use_ema=True)
    model = VQVAE(config, encoder=Encoder(), decoder=Decoder())
    speed = in_pythae(model, train, epochs, adversarial=False)
    model.eval()
    return speed, error(lambda x: model({"data": x.view(-1, 1, 28, 28)}).recon_x.flatten(1), test)


def factor_vae(train: Tensor, test: Tensor, epochs: int) -> Result:
    """pythae's FactorVAE, with a discriminator of the sizes of vae-run's critic."""
    from pythae.models import FactorVAE, FactorVAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseDiscriminator, BaseEncoder

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = layers(784, *WIDTHS, 2 * LATENT)

        def forward(self, x: Tensor) -> ModelOutput:
            mean, log_variance = self.layers(x.flatten(1)).chunk(2, -1)
            return ModelOutput(embedding=mean, log_covariance=log_variance)

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = layers(LATENT, *WIDTHS[::-1], 784)

        def forward(self, z: Tensor) -> ModelOutput:
            pixels = self.layers(z).sigmoid()
            return ModelOutput(reconstruction=pixels.unflatten(-1, (1, 28, 28)))

    class Discriminator(BaseDiscriminator):
        def __init__(self) -> None:
            super().__init__()
            self.layers = layers(LATENT, 256, 256, 256, 2, activation=partial(nn.LeakyReLU, 0.2))

        def forward(self, z: Tensor) -> Tensor:
            return self.layers(z)

    size = {"input_dim": (1, 28, 28), "latent_dim": LATENT}
    config = FactorVAEConfig(**size, reconstruction_loss="bce", gamma=GAMMA)
    model = FactorVAE(config, encoder=Encoder(), decoder=Decoder())
    model.set_discriminator(Discriminator())
    speed = in_pythae(model, train, epochs, adversarial=True)
    model.eval()

    def reconstruct(x: Tensor) -> Tensor:
        mean = model.encoder(x).embedding
        return model.decoder(mean).reconstruction.flatten(1)

    return speed, error(reconstruct, test)


def in_autoencoders(model: Any, trainer: str, train: Tensor, epochs: int) -> float:
    """Train with a trainer of `autoencoders`; images per second of processor time."""
    from autoencoders import training
    from torch.utils.data import DataLoader

    with tempfile.TemporaryDirectory() as folder:
        how = {"output_dir": folder, "epochs": epochs, "batch_size": BATCH}
        how |= {"learning_rate": 1e-3, "device": "cpu", "seed": torch.initial_seed()}
        arguments = training.TrainingConfig(**how)
        fit = getattr(training, trainer)(model=model, args=arguments)
        loader = DataLoader(train, batch_size=BATCH, shuffle=True)
        fit.max_epochs = epochs
        fit.configure_optimizers_for_fit(total_train_batches=len(loader), max_epochs=epochs)
        started = time.process_time()
        for epoch in range(1, epochs + 1):
            fit.on_epoch_start(epoch)
            fit.train_epoch(loader)
        return epochs * len(train) / (time.process_time() - started)


def reconstructed(model: Any, test: Tensor) -> float:
    """The error of a model of `autoencoders`."""
    model.eval()
    return error(lambda x: model(inputs=x, return_dict=True).reconstruction, test)


def topk(train: Tensor, test: Tensor, epochs: int) -> Result:
    """TopKSAE: one linear layer to 256 units, of which the 16 largest are kept, and one back."""
    from autoencoders import TopKSparseAutoencoderConfig, TopKSparseAutoencoderModel
    from autoencoders.data.base import TensorSpec

    nothing = {"hidden_dims": []}  # its layers to the code and back are the model's own
    model = TopKSparseAutoencoderModel(
        config=TopKSparseAutoencoderConfig(topk=ACTIVE, latent_dim=UNITS),
        sample_spec=TensorSpec(shape=(784,)),
        encoder="mlp",
        encoder_config=nothing,
        decoder="mlp",
        decoder_config=nothing,
    )
    return in_autoencoders(model, "AETrainer", train, epochs), reconstructed(model, test)


def fsq(train: Tensor, test: Tensor, epochs: int) -> Result:
    """FSQ: 48 numbers of 8 levels each."""
    from autoencoders import (
        FiniteScalarQuantizedAutoencoderConfig,
        FiniteScalarQuantizedAutoencoderModel,
    )
    from autoencoders.data.base import TensorSpec

    model = FiniteScalarQuantizedAutoencoderModel(
        config=FiniteScalarQuantizedAutoencoderConfig(num_levels=8),
        sample_spec=TensorSpec(shape=(784,)),
        encoder="mlp",
        encoder_config={"hidden_dims": [*WIDTHS, POSITIONS * SIZE]},
        decoder="mlp",
        decoder_config={"hidden_dims": [*WIDTHS[::-1], 784]},
    )
    return in_autoencoders(model, "VQTrainer", train, epochs), reconstructed(model, test)


FAMILIES = {f.__name__: f for f in (vq_vae, factor_vae, topk, fsq)}


def main() -> None:
    name, root, epochs, seed = sys.argv[1:]
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    train, test = images(root)
    torch.manual_seed(int(seed))  # trainers read it as torch.initial_seed()
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        speed, mse = FAMILIES[name](train, test, int(epochs))
    print(json.dumps({"examples_per_second": speed, "mse": mse}))


if __name__ == "__main__":
    main()
