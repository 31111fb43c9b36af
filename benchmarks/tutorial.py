"""The loop of the usual PyTorch tutorial, with which `speed.py` compares vae-run.

torchvision's MNIST, `ToTensor`, a shuffling `DataLoader` of 128 images a batch, an eager VAE
784-400-20-400-784 with ReLU, Adam at 1e-3, grey pixels as Bernoulli targets, `loss.item()` at every
step. Nothing is tuned: the loader runs in the main process, as by default.
"""

from __future__ import annotations

import argparse
import json
import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms


class VAE(nn.Module):
    """784-400-20-400-784 with ReLU; two heads give the mean and log-variance of the code."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(784, 400)
        self.mean = nn.Linear(400, 20)
        self.log_variance = nn.Linear(400, 20)
        self.decoder_hidden = nn.Linear(20, 400)
        self.logits = nn.Linear(400, 784)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pixel logits [B, 784] of one sample; the posterior's mean and log-variance [B, 20]."""
        h = F.relu(self.hidden(x))
        mean, log_variance = self.mean(h), self.log_variance(h)
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        return self.logits(F.relu(self.decoder_hidden(z))), mean, log_variance


def negative_elbo(x: Tensor, logits: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Cross-entropy plus KL(q(z|x) || N(0, I)), summed over pixels, latents and batch, in nats."""
    cross_entropy = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
    kl = 0.5 * torch.sum(mean.square() + log_variance.exp() - log_variance - 1)
    return cross_entropy + kl


def train(
    root: str,
    steps: int = 200,
    threads: int | None = None,
    warmup: int = 20,
    seed: int = 0,
    keep: list[nn.Module] | None = None,
) -> float:
    """Train for `warmup + steps` steps and return images per second over the last `steps` of them.

    Opening the data set, building the model and the first `warmup` steps stay outside the clock.
    The trained model is appended to `keep`.
    """
    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(seed)
    images = datasets.MNIST(root, train=True, transform=transforms.ToTensor())
    loader = DataLoader(images, batch_size=128, shuffle=True)
    model = VAE()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    step, seen, running, started = 0, 0, 0.0, time.perf_counter()
    while step < warmup + steps:
        for x, _label in loader:
            if step == warmup:
                seen, started = 0, time.perf_counter()
            x = x.view(-1, 784)
            optimizer.zero_grad()
            loss = negative_elbo(x, *model(x))
            loss.backward()
            optimizer.step()
            running += loss.item()
            seen += len(x)
            step += 1
            if step == warmup + steps:
                break
    speed = seen / (time.perf_counter() - started)
    if keep is not None:
        keep.append(model)
    return speed


def main() -> None:
    parser = argparse.ArgumentParser(description="Images per second of the usual tutorial loop.")
    parser.add_argument("root", help="folder that holds MNIST/raw")
    parser.add_argument("--steps", type=int, default=200, help="timed steps of 128 images (200)")
    parser.add_argument("--threads", type=int, help="CPU threads (torch's own choice)")
    arguments = parser.parse_args()
    speed = train(arguments.root, arguments.steps, arguments.threads)
    print(json.dumps({"examples_per_second": speed}))


if __name__ == "__main__":
    main()
