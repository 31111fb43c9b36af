"""The training of `experiment=mnist_quick` as a script: vae-run must reach the same loss.

A VAE 784-400-20-400-784 with ReLU on grey MNIST, Adam at 1e-3, batches of 128, 10 epochs over the
54,000 training images; it uses vae-run only to read the data.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import torch
from torch import Tensor, nn
from tutorial import VAE, negative_elbo

from vae_run.data.datasets.mnist import MNIST


def images(root: str) -> tuple[Tensor, Tensor]:
    """Training images [54000, 784] and test images [10000, 784], float32 in [0, 1]."""
    splits = MNIST(root=root, download=False).load()
    train, test = splits.train.images, splits.test.images
    return train.view(-1, 784).float() / 255, test.view(-1, 784).float() / 255


def fit(train: Tensor, seed: int, epochs: int = 10) -> tuple[nn.Module, float]:
    """The trained model, and images per second over all epochs."""
    torch.manual_seed(seed)
    model = VAE()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    started = time.perf_counter()
    for _ in range(epochs):
        for index in torch.randperm(len(train)).split(128):
            x = train[index]
            optimizer.zero_grad()
            (negative_elbo(x, *model(x)) / len(x)).backward()
            optimizer.step()
    return model, epochs * len(train) / (time.perf_counter() - started)


@torch.no_grad()
def test_loss(model: nn.Module, test: Tensor) -> float:
    """Negative ELBO in nats per image, one posterior sample an image."""
    return sum(negative_elbo(x, *model(x)).item() for x in test.split(1000)) / len(test)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Test loss of the quick MNIST recipe, written plainly."
    )
    parser.add_argument("root", help="folder that holds MNIST/raw")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--threads", type=int, help="CPU threads (torch's own choice)")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    train, test = images(arguments.root)
    losses, speeds = [], []
    for seed in arguments.seeds:
        model, speed = fit(train, seed, arguments.epochs)
        losses.append(test_loss(model, test))
        speeds.append(speed)
    print(
        json.dumps(
            {
                "test_loss": dict(zip(map(str, arguments.seeds), losses, strict=True)),
                "test_loss_median": statistics.median(losses),
                "examples_per_second": statistics.median(speeds),
            }
        )
    )


if __name__ == "__main__":
    main()
