"""Importance sampling compared with the decoder's products alone, and with pythae's `get_nll`.

Each estimates log p(x) of the same N images with K samples per image, by a VAE 784-400-20-400-784
with the same weights; they alternate, and medians of the ratios within a round are reported.
pythae (0.1.2) is measured if it is installed: pip install pythae==0.1.2
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vae_run.config.check import check
from vae_run.corruptions import NoCorruption
from vae_run.data.splits import Split
from vae_run.evaluation.codes import evaluating
from vae_run.evaluation.metrics.log_likelihood import log_likelihood
from vae_run.evaluation.view import View
from vae_run.models.build import build_model
from vae_run.objectives import ELBO

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from parts import composed  # composes conf/ without Hydra

PIXELS, HIDDEN, LATENT = 784, 400, 20


def ours(model: Any, x: Tensor, samples: int) -> Callable[[], float]:
    """vae-run's metric."""
    view = View(model, ELBO(), NoCorruption(), Split(x), LATENT, importance_samples=samples)

    def run() -> float:
        with evaluating(model):
            return -log_likelihood(view)["log_likelihood"]

    return run


def products(model: Any, x: Tensor, samples: int) -> Callable[[], float]:
    """The decoder's two products of every code, 1000 codes at a time, and nothing else."""
    first, last = (layer.weight.detach().T for layer in layers(model.decoder, model.likelihood))
    codes, hidden = torch.randn(1000, LATENT), torch.randn(1000, HIDDEN)

    def run() -> float:
        with torch.inference_mode():
            for _ in range(len(x) * samples // 1000):
                codes @ first
                hidden @ last
        return float("nan")

    return run


def layers(*parts: nn.Module) -> list[nn.Linear]:
    return [m for part in parts for m in part.modules() if isinstance(m, nn.Linear)]


def pythae(model: Any, x: Tensor, samples: int) -> Callable[[], float]:
    """pythae's estimate, by a model of its own with our weights."""
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    into, head = layers(model.encoder, model.posterior)
    first, last = layers(model.decoder, model.likelihood)

    class Encoder(BaseEncoder):
        def forward(self, x: Tensor) -> ModelOutput:
            loc, log_variance = head(into(x.flatten(1)).relu()).chunk(2, -1)
            return ModelOutput(embedding=loc, log_covariance=log_variance)

    class Decoder(BaseDecoder):
        def forward(self, z: Tensor) -> ModelOutput:
            pixels = last(first(z).relu()).sigmoid()
            return ModelOutput(reconstruction=pixels.unflatten(-1, (1, 28, 28)))

    shape = (1, 28, 28)
    config = VAEConfig(input_dim=shape, latent_dim=LATENT, reconstruction_loss="bce")
    peer = VAE(config, encoder=Encoder(), decoder=Decoder()).eval()

    def run() -> float:
        with torch.no_grad():
            return -float(peer.get_nll(x, n_samples=samples, batch_size=min(samples, 1000)))

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100, help="N (100)")
    parser.add_argument("--samples", type=int, default=5000, help="K (5000)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print every single measurement")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    words = ("network.widths=[400]", f"latent_dim={LATENT}")
    model = build_model(check(composed(*words)), (1, 28, 28)).eval()
    x = (torch.rand(arguments.images, 1, 28, 28) < 0.13).float()
    contestants = {"products alone": products, "vae-run": ours}
    if importlib.util.find_spec("pythae"):
        contestants["pythae"] = pythae
    runs = {name: make(model, x, arguments.samples) for name, make in contestants.items()}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    found: dict[str, float] = {}
    for number in range(-1, arguments.rounds):  # the first is a warm-up
        for name, run in runs.items():
            started = time.perf_counter()
            found[name] = run()
            if number >= 0:
                seconds[name].append(time.perf_counter() - started)
    if arguments.json:
        told = {name: value for name, value in found.items() if math.isfinite(value)}
        print(json.dumps({"seconds": seconds, "estimates": told}))
        return
    print("| what | seconds | times the products | -log p(x), nats |")
    print("| --- | ---: | ---: | ---: |")
    for name, times in seconds.items():
        ratio = statistics.median(
            t / p for t, p in zip(times, seconds["products alone"], strict=True)
        )
        print(f"| {name} | {statistics.median(times):.2f} | {ratio:.2f} | {found[name]:.3f} |")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"\n{arguments.images} images, K = {arguments.samples}, peak memory {peak:,.0f} MB")


if __name__ == "__main__":
    main()
