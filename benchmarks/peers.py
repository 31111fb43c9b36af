"""Other programs than vae-run: the same VAE 784-400-20-400-784 on MNIST, trained with each.

    python benchmarks/peers.py pythae|lightning|jax|plain|tutorial|by_hand ROOT EPOCHS
    python benchmarks/peers.py jax ROOT EPOCHS bfloat16

prints one line of JSON: images per second of the training alone, seconds from the start of the
process to the end of training, and the loss on the 10,000 test images (negative ELBO in nats, one
sample of the posterior per image). All train on the same 54,000 grey images with Adam at 1e-3 in
batches of 128; all except the tutorial have them in memory. Each program is one function, whatever
its length, so that it reads like a script of its own.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import time
import warnings
from typing import Any

import torch
from plain_recipe import fit, images, test_loss
from torch import Tensor, nn
from tutorial import VAE, negative_elbo

Result = tuple[float, float, float]
"""Images per second, seconds until training ended (of the clock), loss on test."""

BATCH = 128


def plain(root: str, epochs: int) -> Result:
    """A loop of ten lines over a tensor in memory."""
    train, test = images(root)
    model, speed = fit(train, 0, epochs)
    return speed, time.time(), test_loss(model, test)


def by_hand(root: str, epochs: int) -> Result:
    """No model at all: the arithmetic of a step, its backward pass written out."""
    import by_hand as loop

    train, test = images(root)
    model, speed = loop.fit(train, 0, epochs)
    return speed, time.time(), test_loss(model, test)


def tutorial(root: str, epochs: int) -> Result:
    """torchvision and DataLoader, as in most tutorials; `epochs=0` is 400 steps."""
    import tutorial as loop

    test = images(root)[1]
    models: list[nn.Module] = []
    steps = 400 if epochs == 0 else epochs * 469
    speed = loop.train(root, steps, keep=models)
    return speed, time.time(), test_loss(models[0], test)


class Networks(VAE):
    """The tutorial's VAE in two halves."""

    def halves(self) -> tuple[Any, Any]:
        def encode(x: Tensor) -> tuple[Tensor, Tensor]:
            h = self.hidden(x.flatten(1)).relu()
            return self.mean(h), self.log_variance(h)

        def decode(z: Tensor) -> Tensor:
            return self.logits(self.decoder_hidden(z).relu())

        return encode, decode


def pythae(root: str, epochs: int) -> Result:
    """pythae's BaseTrainer with its own VAE, and networks of our shapes."""
    from pythae import models
    from pythae.data.datasets import BaseDataset
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    logging.disable(logging.INFO)
    train, test = images(root)
    torch.manual_seed(0)
    ours = Networks()
    halves = ours.halves()

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleList([ours.hidden, ours.mean, ours.log_variance])

        def forward(self, x: Tensor) -> ModelOutput:
            mean, log_variance = halves[0](x)
            return ModelOutput(embedding=mean, log_covariance=log_variance)

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleList([ours.decoder_hidden, ours.logits])

        def forward(self, z: Tensor) -> ModelOutput:
            pixels = halves[1](z).sigmoid()
            return ModelOutput(reconstruction=pixels.unflatten(-1, (1, 28, 28)))

    class Clock(TrainingCallback):
        began = ended = 0.0

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.time()

        def on_epoch_end(self, *_: Any, **__: Any) -> None:
            self.ended = time.time()

    config = models.VAEConfig(input_dim=(1, 28, 28), latent_dim=20, reconstruction_loss="bce")
    model, clock = models.VAE(config, encoder=Encoder(), decoder=Decoder()), Clock()
    with tempfile.TemporaryDirectory() as folder:
        how = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=epochs,
            per_device_train_batch_size=BATCH,
            learning_rate=1e-3,
            no_cuda=True,
        )
        data = BaseDataset(train.view(-1, 1, 28, 28), torch.zeros(len(train)))
        BaseTrainer(model, data, training_config=how, callbacks=[clock]).train()
    speed = epochs * len(train) / (clock.ended - clock.began)
    return speed, clock.ended, test_loss(ours, test)


def lightning(root: str, epochs: int) -> Result:
    """A LightningModule with everything that costs time switched off, whole batches indexed."""
    import lightning as pl
    from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.vae = VAE()

        def training_step(self, batch: list[Tensor], index: int) -> Tensor:
            (x,) = batch
            return negative_elbo(x, *self.vae(x)) / len(x)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=1e-3)

    train, test = images(root)
    torch.manual_seed(0)
    data = TensorDataset(train)
    sampler = BatchSampler(RandomSampler(data), BATCH, drop_last=False)
    loader = DataLoader(data, batch_size=None, sampler=sampler)
    trainer = pl.Trainer(accelerator="cpu", max_epochs=epochs, barebones=True)
    module = Module()
    started = time.time()
    trainer.fit(module, loader)
    ended = time.time()
    return epochs * len(train) / (ended - started), ended, test_loss(module.vae, test)


def jax(root: str, epochs: int, precision: str = "float32") -> Result:
    """Its best practice: one jitted scan an epoch, compiled before the clock, its state donated.

    Under bfloat16 the weights are kept in float32, and the factors of the products rounded.
    """
    import jax as j
    import jax.numpy as np

    train, test = (np.asarray(x.numpy()) for x in images(root))
    sizes = {"hidden": (784, 400), "mean": (400, 20), "log_variance": (400, 20)}
    sizes |= {"decoder_hidden": (20, 400), "logits": (400, 784)}
    steps = len(train) // BATCH

    def layer(key: Any, shape: tuple[int, int]) -> tuple[Any, Any]:
        bound = shape[0] ** -0.5
        return tuple(
            j.random.uniform(k, s, minval=-bound, maxval=bound)
            for k, s in zip(j.random.split(key), (shape, shape[1:]), strict=True)
        )

    def loss(w: Any, x: Any, key: Any) -> Any:
        def linear(name: str, x: Any) -> Any:
            weight, bias = w[name]
            factors = (x.astype(precision), weight.astype(precision))
            return np.matmul(*factors, preferred_element_type="float32") + bias

        h = j.nn.relu(linear("hidden", x))
        mean, log_variance = linear("mean", h), linear("log_variance", h)
        z = mean + np.exp(0.5 * log_variance) * j.random.normal(key, mean.shape)
        logits = linear("logits", j.nn.relu(linear("decoder_hidden", z)))
        cross_entropy = np.sum(j.nn.softplus(logits) - x * logits)
        kl = 0.5 * np.sum(mean**2 + np.exp(log_variance) - log_variance - 1)
        return (cross_entropy + kl) / len(x)

    def step(state: Any, index: Any) -> tuple[Any, None]:
        w, m, v, t, key = state
        key, noise = j.random.split(key)
        g = j.grad(loss)(w, train[index], noise)
        m = j.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = j.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        t = t + 1
        a, b = 1 - 0.9**t, 1 - 0.999**t
        w = j.tree.map(lambda w, m, v: w - 1e-3 * (m / a) / (np.sqrt(v / b) + 1e-8), w, m, v)
        return (w, m, v, t, key), None

    def an_epoch(state: Any) -> Any:
        *rest, key = state
        key, order = j.random.split(key)
        index = j.random.permutation(order, len(train))[: steps * BATCH].reshape(steps, BATCH)
        return j.lax.scan(step, (*rest, key), index)[0]

    keys = j.random.split(j.random.key(0), len(sizes))
    w = {name: layer(key, sizes[name]) for name, key in zip(sizes, keys, strict=True)}
    zeros = [j.tree.map(np.zeros_like, w) for _ in range(2)]
    state = (w, *zeros, np.float32(0), j.random.key(1))
    epoch = j.jit(an_epoch, donate_argnums=0).lower(state).compile()
    started = time.time()
    for _ in range(epochs):
        state = epoch(state)
    j.block_until_ready(state)
    ended = time.time()
    return (
        epochs * steps * BATCH / (ended - started),
        ended,
        float(j.jit(loss)(state[0], test, j.random.key(2))),
    )


PEERS = {f.__name__: f for f in (plain, by_hand, tutorial, pythae, lightning, jax)}


def main() -> None:
    name, root, epochs, *further = sys.argv[1], sys.argv[2], int(sys.argv[3]), *sys.argv[4:]
    standard, sys.stdout = sys.stdout, sys.stderr  # peers talk
    speed, ended, loss = PEERS[name](root, epochs, *further)
    sys.stdout = standard
    elapsed = ended - float(os.environ.get("STARTED", "nan"))
    found = {"examples_per_second": speed, "seconds_to_the_end": elapsed, "test_loss": loss}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
