"""A lower bound: the matrix products of a training step alone, at the benchmark's shapes.

There are no activations, loss, optimizer or data: any program that computes these layers in float32
on this machine is slower.
"""

from __future__ import annotations

import argparse
import json
import time

import torch

BATCH = 128
LAYERS = ((784, 400), (400, 40), (20, 400), (400, 784))  # the heads are one product


def images_per_second(steps: int = 469, warmup: int = 50) -> float:
    """Product, weight gradient and (but for the first layer) input gradient of every layer."""
    layers = [(torch.randn(BATCH, i), torch.randn(i, o), torch.randn(BATCH, o)) for i, o in LAYERS]
    started = time.perf_counter()
    for step in range(-warmup, steps):
        if step == 0:
            started = time.perf_counter()
        for number, (x, weight, gradient) in enumerate(layers):
            torch.mm(x, weight)
            torch.mm(x.t(), gradient)
            if number:
                torch.mm(gradient, weight.t())
    return steps * BATCH / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Images per second of the matrix products alone, float32."
    )
    parser.add_argument("--threads", type=int, help="CPU threads (torch's own choice)")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    print(json.dumps({"examples_per_second": images_per_second()}))


if __name__ == "__main__":
    main()
